"""The HTTP server over raw sockets: everything that a client can send or hold open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from aiohttp.web import ServerRunner, TCPSite

from segops.api.access import Access
from segops.api.health import Page
from segops.api.profiles import Elsewhere, ProfilePages
from segops.api.scans import ScanPages
from segops.api.server import Pages, PageServer
from segops.core.views.profile import ProfileView

BIG = b"x" * (32 << 20)  # more than fits in the socket buffers
ALL = "GET /healthz HTTP/1.1\r\nHost: h\r\n"
END = "\r\n"


def look(identifier: str) -> ProfileView | Elsewhere | None:
    if identifier == "user_id:bug":
        raise RuntimeError("a bug")
    return Elsewhere(identifier, "http://there") if identifier.startswith("far:") else None


class Host:
    """A server on its own port."""

    def __init__(self, server: PageServer, port: int) -> None:
        self.server = server
        self.port = port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: str | bytes) -> bytes:
        """Return all bytes that the server sends for ``request`` until it closes the connection."""
        reader, writer = await self.open()
        writer.write(request.encode("latin-1") if isinstance(request, str) else request)
        answer = await reader.read()
        writer.close()
        return answer

    async def status(self, request: str | bytes) -> int:
        answer = await self.ask(request)
        return int(answer.split(b" ", 2)[1])


def serve(
    steps: Callable[[Host], Awaitable[None]],
    *,
    timeout_s: float = 30.0,
    connections: int = 100,
    scans: ScanPages | None = None,
) -> None:
    async def run() -> None:
        profiles = ProfilePages(look, Access(token="sécret", local=False))
        pages = Pages(
            {"/healthz": lambda: Page(200, b"ok\n"), "/big": lambda: Page(200, BIG)},
            profiles,
            slow=() if scans is None else (scans,),
        )
        server = PageServer(pages, timeout_s=timeout_s, connections=connections)
        runner = ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with asyncio.timeout(20):
                await steps(Host(server, runner.addresses[0][1]))
        finally:
            await runner.cleanup()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def get(path: str, *headers: str, method: str = "GET") -> str:
    lines = [f"{method} {path} HTTP/1.1", "Host: h", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""])


def utf8(text: str) -> str:
    return text.encode().decode("latin-1")


RIGHT = utf8("Authorization: Bearer sécret")
PROFILE = "/profiles/user_id%3Aann"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/healthz"), 200),
        (get("/healthz?x=1"), 200),
        (get("http://h/healthz"), 200),
        (get("/healthz", method="HEAD"), 200),
        (get("/healthz", "Upgrade: h2c", "Connection: Upgrade"), 200),
        (get("/healthz", "Expect: 100-continue", "Content-Length: 5"), 200),
        (get("/healthz", "Content-Length: 0"), 200),
        (get("/healthz/"), 404),
        (get("//healthz"), 404),
        (get("/"), 404),
        (get("/profiles/"), 404),
        (get("/profiles/a/b"), 404),
        (get("/profiles/../healthz"), 404),
        (get("/%68ealthz"), 404),
        (get("/" + "\xff" * 10), 400),
        (get("/table/profiles/"), 404),
        (get("/nothing", method="POST"), 404),
        (get("/healthz", method="POST"), 405),
        (get("/healthz", "Content-Length: 999999", method="POST"), 405),
        (get("/healthz", method="OPTIONS"), 405),
        (get("/healthz", method="TRACE"), 405),
        (get("/healthz", method="PROPFIND"), 405),
        (get(PROFILE, RIGHT, method="DELETE"), 405),
        (get("*", method="OPTIONS"), 404),
        (get(PROFILE, RIGHT), 404),
        (get("/profiles/ann", RIGHT), 400),
        (get("/profiles/user_id%3A%ff", RIGHT), 400),
        (get("/profiles/user_id:\xff", RIGHT), 400),
        (get("/profiles/user_id%3A%ed%a0%80", RIGHT), 400),
        (get("/profiles/user_id%3A%00%zz%", RIGHT), 404),
        (get("/profiles/user_id%3Abug", RIGHT), 500),
        (get("/profiles/far%3A%0d%0aX:%20y", RIGHT), 307),
        (get(PROFILE), 401),
        (get(PROFILE, utf8("Authorization: sécret")), 401),
        (get(PROFILE, utf8("Authorization: Basic sécret")), 401),
        (get(PROFILE, utf8("Authorization: Bearersécret")), 401),
        (get(PROFILE, utf8("Authorization: Bearer sécret x")), 401),
        (get(PROFILE, "Authorization: Bearer"), 401),
        (get(PROFILE, "Authorization:"), 401),
        (get(PROFILE, "Authorization: Bearer \xff\xfe\x80"), 401),
        (get(PROFILE, "Authorization: \xff"), 401),
        (get(PROFILE, "Authorization: Bearer s\xe9cret"), 401),
        (get(PROFILE, RIGHT, RIGHT), 401),
        (get(PROFILE, utf8("authorization: bearer  sécret ")), 404),
    ],
)
def test_status_of_each_request(request_: str, status: int) -> None:
    async def steps(host: Host) -> None:
        assert await host.status(request_) == status

    serve(steps)


MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"\x00\x00\x00\x10\x00\x12\x00\x03\x00\x00\x00\x00",  # Kafka
    b"GET\r\n\r\n",
    b"BREW /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\n\r\n",
    b"GET /heal thz HTTP/1.1\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer a\rb\r\n\r\n",
]


@pytest.mark.parametrize("request_", MALFORMED)
def test_invalid_request_is_rejected_in_one_line_and_not_logged(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(host: Host) -> None:
        with caplog.at_level(logging.DEBUG):
            head, _, body = (await host.ask(request_)).partition(b"\r\n\r\n")
        assert head.split(b" ")[1] in (b"400", b"405")
        assert body in (b"malformed\n", b"read only\n")

    serve(steps)
    assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == []


@pytest.mark.parametrize(
    "request_",
    [
        get("/" + "x" * 9_000),
        get("/healthz", "X: " + "x" * 9_000),
        get("/healthz", "X" * 9_000 + ": x"),
    ],
)
def test_oversized_request_is_rejected(request_: str) -> None:
    async def steps(host: Host) -> None:
        assert await host.status(request_) == 431

    serve(steps)


def test_too_many_headers_are_rejected() -> None:
    async def steps(host: Host) -> None:
        assert await host.status(get("/healthz", *(f"X{n}: x" for n in range(100)))) in (400, 431)

    serve(steps)


def test_failure_is_logged_without_the_requested_path(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(host: Host) -> None:
        assert (await host.ask(get("/profiles/user_id%3Abug", RIGHT))).endswith(b"failed\n")

    serve(steps)
    assert "cannot render a page" in caplog.text and "user_id" not in caplog.text


@pytest.mark.parametrize("request_", [get("/healthz"), get("/"), "nonsense\r\n\r\n", get("/x" * 9_000)])
def test_responses_do_not_reveal_the_server_software(request_: str) -> None:
    async def steps(host: Host) -> None:
        head = (await host.ask(request_)).partition(b"\r\n\r\n")[0].lower()
        assert b"server: segops\r\n" in head + b"\r\n"
        assert b"python" not in head and b"aiohttp" not in head

    serve(steps)


def test_head_has_length_without_body_and_405_lists_allowed_methods() -> None:
    async def steps(host: Host) -> None:
        head, _, body = (await host.ask(get("/healthz", method="HEAD"))).partition(b"\r\n\r\n")
        assert b"Content-Length: 3" in head and body == b""
        assert b"Allow: GET, HEAD\r\n" in await host.ask(get("/healthz", method="POST"))

    serve(steps)


@pytest.mark.parametrize("sent", ["", "GET /hea", ALL, "POST /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
def test_incomplete_request_times_out(sent: str) -> None:
    async def steps(host: Host) -> None:
        reader, writer = await host.open()
        writer.write(sent.encode())
        await reader.read()  # until the server closes the connection
        writer.close()

    serve(steps, timeout_s=0.2)


def test_slow_request_header_times_out() -> None:
    async def steps(host: Host) -> None:
        reader, writer = await host.open()
        writer.write(ALL.encode())
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            writer.write(b"X: x\r\n")
            await asyncio.wait([ended], timeout=0.02)
        writer.close()

    serve(steps, timeout_s=0.2)


def test_unread_response_times_out() -> None:
    async def steps(host: Host) -> None:
        reader, writer = await host.open()
        writer.write(get("/big").encode())
        while host.server.connections or not host.server.requests_count:
            await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionError):
            assert len(await reader.read()) < len(BIG)
        writer.close()

    serve(steps, timeout_s=0.2)


def test_connections_are_reused() -> None:
    async def steps(host: Host) -> None:
        reader, writer = await host.open()
        for _ in range(3):
            writer.write((ALL + END).encode())
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        writer.close()

    serve(steps)


def test_oldest_connection_closes_at_the_limit_and_probes_are_answered() -> None:
    async def steps(host: Host) -> None:
        held = [await host.open() for _ in range(30)]
        for _, writer in held:
            writer.write(b"GET /healthz HT")
        assert await host.status(get("/healthz")) == 200
        ended = await asyncio.gather(*(reader.read() for reader, _ in held[:21]), return_exceptions=True)
        assert all(isinstance(end, ConnectionError) or end == b"" for end in ended)
        assert not any(reader.at_eof() for reader, _ in held[-9:])
        held[-1][1].write(b"TP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert (await held[-1][0].read()).startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.close()

    serve(steps, connections=10)
