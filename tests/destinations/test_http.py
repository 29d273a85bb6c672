"""The client of destinations: secrets that a server repeats are not shown, and Retry-After in any case."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.destinations.http import Answer, HttpClient
from segops.destinations.kinds import open_adapter
from segops.destinations.model import Destination
from segops.destinations.port import Adapter, DestinationAway, Message, Person, Refused
from segops.metrics import Metrics

KEY = "key-with/a-slash??"
TOKEN = base64.b64encode(f"{KEY}:".encode()).decode()
SEGMENT = {"kind": "segment", "write_key": {"env": "DESTINATION_KEY"}}
KLAVIYO = {"kind": "klaviyo", "key": {"env": "DESTINATION_KEY"}}
MESSAGE = Message(
    "entered", "winback", "u1", Person("user_id:u1", "u1", email="a@b.example"), "c1", 1, "event", 5
)


async def repeating(status: int, work: Callable[[str], Awaitable[Any]], *, extra: str = "") -> Any:
    """Run a server during ``work`` that answers with the credentials it was sent, plain and as JSON."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = next((each for each in lines if each.lower().startswith("authorization")), "")
        body = f"{KEY} {found} {json.dumps(found).replace('/', chr(92) + '/')}".encode()
        head = f"HTTP/1.1 {status} X\r\n{extra}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        return await work(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("written", [SEGMENT, KLAVIYO], ids=["segment", "klaviyo"])
def test_credentials_that_a_server_repeats_are_shown_nowhere(
    written: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION_KEY", KEY)

    async def tell(url: str) -> list[str]:
        destination = Destination("d", written["kind"], {"name": "d", "url": url, **written})
        adapter = open_adapter(destination, load(), Metrics(CollectorRegistry()))
        try:
            return [await told(adapter), *(each.text for each in await adapter.check({}))]
        finally:
            await adapter.close()

    async def told(adapter: Adapter) -> str:
        try:
            (found,) = await adapter.send([MESSAGE], {"list": "L1"})
        except Exception as error:
            return str(error)
        assert isinstance(found, Refused)
        return found.reason

    for text in asyncio.run(repeating(status, tell)):
        assert f"status {status} [secret]" in text
        for form in (KEY, TOKEN):
            assert form not in text
            assert form.replace("/", r"\/") not in text


def test_a_secret_at_the_end_of_what_is_shown_is_not_cut_in_its_middle() -> None:
    for before in range(280, 310):
        answer = Answer(400, {}, f"{'.' * before}{KEY}".encode(), [KEY])
        assert KEY[:5] not in answer.detail
    assert KEY not in repr(Answer(400, {}, b"", [KEY]))


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_the_name_of_a_header_has_no_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(url: str) -> None:
        client = HttpClient("d", Metrics(CollectorRegistry()), timeout_s=5)
        try:
            found = await client.send("GET", url, headers={})
        finally:
            await client.close()
        assert found.headers[name] == "7"

    asyncio.run(repeating(400, send, extra="x-other: 1\r\nretry-after: 7\r\n"))
    with pytest.raises(DestinationAway) as away:
        asyncio.run(repeating(429, send, extra=f"{name}: 7\r\n"))
    assert away.value.retry_after_s == 7


def test_a_request_whose_connection_breaks_is_not_repeated_behind_the_callers_back() -> None:
    """A repetition would be within no rate; a connection that was kept is what the client would repeat on."""
    requests = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        for number in range(2):
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            if number == 0:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        client = HttpClient("d", Metrics(CollectorRegistry()), timeout_s=5)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            await client.send("GET", url, headers={})
            with pytest.raises(DestinationAway):
                await client.send("GET", url, headers={})
        finally:
            await client.close()
            server.close()

    asyncio.run(work())
    assert requests == 2
