"""The process: its connections in bounded number, streams that live, and what it refuses to start with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp.web import AppRunner, Server
from prometheus_client import CollectorRegistry

from segops import config
from segops.console import service as console_service
from segops.console import streams
from segops.console.connections import Connections
from segops.console.page import Context, Stream
from segops.console.server import Tables
from segops.console.service import ConsoleService
from segops.core.errors import UserError
from segops.metrics import Metrics
from tests.command import run as run_command

from .helpers import Browser, serve


def service(**settings: object) -> ConsoleService:
    return ConsoleService(config.load(console=settings), Metrics(CollectorRegistry()))


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """Ask for a page on a connection; return the first line of the answer, empty if it is closed."""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await writer.drain()
        return await reader.readline()
    except ConnectionError:
        return b""


def test_too_many_connections_close_idle_ones_and_leave_streams() -> None:
    async def forever(_context: Context[Any], _last: str) -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    async def main() -> None:
        limit = 5
        found = service()
        console = found.console()
        console.tables = Tables(streams=(Stream("/live", forever),))
        console.connections = connections = Connections(limit)
        runner = AppRunner(console.application(), shutdown_timeout=0.1)
        await runner.setup()
        assert isinstance(runner.server, Server)
        accept = connections.accepting(runner.server)
        listening = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        try:
            stream = await asyncio.open_connection("127.0.0.1", port)
            opened = [stream]
            assert await ask(*stream, "/live") == b"HTTP/1.1 200 OK\r\n"
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * limit)]
            opened += idle
            assert await ask(*idle[-1], "/session.json") == b"HTTP/1.1 200 OK\r\n"
            assert await ask(*idle[0], "/session.json") == b""
            assert len(runner.server.connections) <= limit
            while b"data: 1" not in (line := await stream[0].readline()):
                assert line  # the stream is still open
            assert not stream[0].at_eof()
            for _, writer in opened:
                writer.close()
        finally:
            listening.close()
            await runner.cleanup()

    asyncio.run(main())


class Reading:
    """A read model that is read when a test says so."""

    reason = None

    def __init__(self) -> None:
        self.has_begun, self.is_read = asyncio.Event(), asyncio.Event()

    async def read(self) -> None:
        self.has_begun.set()
        await self.is_read.wait()

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()


@pytest.mark.parametrize("limit_s", [60.0, 0.0])
def test_no_page_is_shown_before_all_is_read_or_a_limit(
    monkeypatch: pytest.MonkeyPatch, limit_s: float
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    model = Reading()
    monkeypatch.setattr(console_service, "open_board", lambda _settings: model)
    monkeypatch.setattr(console_service, "_FIRST_READ_S", limit_s)

    async def main() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(service(port=port).run(stop))
        await model.has_begun.wait()
        if limit_s:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            model.is_read.set()
        while True:
            with suppress(ConnectionRefusedError):
                opened = await asyncio.open_connection("127.0.0.1", port)
                break
        assert await ask(*opened, "/session.json") == b"HTTP/1.1 200 OK\r\n"
        opened[1].close()
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_stream_shows_that_it_lives_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_BEAT_S", 0.001)
    go_on = asyncio.Event()

    async def quiet(_context: Context[Any], last: str) -> AsyncGenerator[bytes, None]:
        yield f"data: after {last}\n\n".encode()
        await go_on.wait()
        yield b"data: 2\n\n"

    async def steps(browser: Browser) -> None:
        headers = {"Last-Event-ID": "a.7"}
        async with browser.client.get("/live?last=b", headers=headers) as response:
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert response.headers["X-Accel-Buffering"] == "no"
            assert await response.content.readuntil(b"\n\n") == b"data: after a.7\n\n"
            assert await response.content.readuntil(b"\n\n") == b"event: beat\ndata: {}\n\n"
            go_on.set()
            assert (await response.content.read()).endswith(b"data: 2\n\n")
        assert (await browser.get("/live?last=b")).text.startswith("data: after b\n\n")

    serve(steps, tables=Tables(streams=(Stream("/live", quiet),)))


def test_a_stream_is_closed_when_its_browser_goes() -> None:
    closed = asyncio.Event()

    async def busy(_context: Context[Any], _last: str) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"data: 1\n\n"
                await asyncio.sleep(0)
        finally:
            closed.set()

    async def steps(browser: Browser) -> None:
        async with browser.client.get("/live") as response:
            await response.content.readuntil(b"\n\n")
            response.close()
        await closed.wait()
        gauge = browser.registry.get_sample_value
        while gauge("segops_console_streams") != 0:
            await asyncio.sleep(0)

    serve(steps, tables=Tables(streams=(Stream("/live", busy),)))


def test_a_console_without_a_login_starts_on_loopback_only() -> None:
    with pytest.raises(UserError, match=r"SEGOPS_CONSOLE_HOST=0\.0\.0\.0 is not a loopback address"):
        service(host="0.0.0.0")
    assert service(host="::1").waits_for == "the topics are not read yet"


def test_an_address_in_use_is_named() -> None:
    async def main() -> None:
        taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port = taken.sockets[0].getsockname()[1]
        async with taken:
            with pytest.raises(UserError, match="SEGOPS_CONSOLE_PORT"):
                await service(port=port).run(asyncio.Event())

    asyncio.run(main())


def test_the_process_serves_until_it_is_stopped(reserve: Any) -> None:
    async def main() -> None:
        (port,) = reserve(1)
        stop, found = asyncio.Event(), service(port=port)
        running = asyncio.create_task(found.run(stop))
        while True:
            try:
                connection = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionError:
                await asyncio.sleep(0)
        assert await ask(*connection, "/session.json") == b"HTTP/1.1 200 OK\r\n"
        connection[1].close()
        stop.set()
        await running

    asyncio.run(main())


def test_the_command_refuses_what_the_service_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_CONSOLE_HOST", "0.0.0.0")
    monkeypatch.setenv("SEGOPS_WEB_PORT", "0")
    result = run_command("console", "--web-port", "0")
    assert result.status == 2 and "a login is required" in result.err
