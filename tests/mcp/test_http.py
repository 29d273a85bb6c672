"""The server over HTTP: only with a token, never from a page, within the bounds of settings."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from httpx2 import AsyncClient
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from prometheus_client import CollectorRegistry

from segops.brokers.network import reserve_ports
from segops.core.errors import UserError
from segops.mcp.access import load_tokens
from segops.mcp.service import McpService
from segops.metrics import Metrics

from .helpers import VIP, publish, settings_of

TOKEN, OTHER = "tok-5d1c0f9b7e2a4c68b0aa", "tok-0aa9b7e2a4c685d1c0fb"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


class Running:
    """A server, and what asks it."""

    def __init__(self, port: int, session: ClientSession, metrics: Metrics) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.session = session
        self.registry = metrics.registry

    async def post(self, body: Any = CALL, **headers: str) -> tuple[int, str]:
        async with self.session.post(self.url, json=body, headers={**HEADERS, **headers}) as answer:
            return answer.status, await answer.text()

    def denied(self, reason: str) -> float:
        return self.registry.get_sample_value("segops_mcp_requests_denied_total", {"reason": reason}) or 0


def serve(steps: Callable[[Running], Awaitable[None]], **mcp: Any) -> None:
    async def run() -> None:
        with reserve_ports(1) as reserved:
            metrics, stop = Metrics(CollectorRegistry()), asyncio.Event()
            [port] = reserved
            service = McpService(settings_of(tokens=f"desk={TOKEN},lab={OTHER}", port=port, **mcp), metrics)
            running = asyncio.ensure_future(service.run(stop))
            await _listening(port, running)
            try:
                async with ClientSession() as session:
                    await steps(Running(port, session, metrics))
            finally:
                stop.set()
                await running

    asyncio.run(run())


async def _listening(port: int, running: asyncio.Future[None]) -> None:
    while not running.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return
    running.result()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_assistant_with_a_token_is_answered_under_its_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    publish(monkeypatch, VIP)
    caplog.set_level(logging.INFO, "segops.mcp.audit")

    async def steps(running: Running) -> None:
        async with AsyncClient(headers={"Authorization": f"Bearer {OTHER}"}) as http:
            transport = streamable_http_client(running.url, http_client=http)
            async with Client(transport, mode=mode) as client:
                found = await client.call_tool("read_segment", {"key": "vip"})
                assert found.structured_content["name"] == "VIP"

    serve(steps)
    [line] = [json.loads(each.getMessage()) for each in caplog.records if each.name == "segops.mcp.audit"]
    assert (line["caller"], line["tool"], line["result"]) == ("lab", "read_segment", "answered")
    assert OTHER not in caplog.text


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({}, 401, "token"),
        ({"Authorization": "Bearer tok-5d1c0f9b7e2a4c68b0ab"}, 401, "token"),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401, "token"),
        ({"Authorization": "Bearer "}, 401, "token"),
        ({"Authorization": f"Basic {TOKEN}"}, 401, "token"),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://localhost:3000"}, 403, "origin"),
        ({"Origin": "https://evil.example"}, 403, "origin"),
    ],
)
def test_others_are_denied(headers: dict[str, str], status: int, reason: str) -> None:
    async def steps(running: Running) -> None:
        found, text = await running.post(**headers)
        assert found == status
        assert TOKEN not in text and "list_segments" not in text
        assert running.denied(reason) == 1

    serve(steps)


@pytest.mark.parametrize(
    ("host", "foreign", "status"), [("127.0.0.1", "evil.example", 421), ("0.0.0.0", "proxy.example", 200)]
)
def test_on_loopback_only_its_own_names_are_answered(host: str, foreign: str, status: int) -> None:
    async def steps(running: Running) -> None:
        authorized = {"Authorization": f"Bearer {TOKEN}"}
        assert (await running.post(**authorized))[0] == 200
        assert (await running.post(**authorized, Host=foreign))[0] == status

    serve(steps, host=host)


def test_a_large_request_is_refused() -> None:
    async def steps(running: Running) -> None:
        body = io.BytesIO(json.dumps({**CALL, "params": {"text": "x" * (1 << 20)}}).encode())
        headers = {**HEADERS, "Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        async with running.session.post(running.url, data=body, headers=headers) as answer:
            assert answer.status == 413

    serve(steps)


def test_a_taken_port_is_named() -> None:
    async def steps(running: Running) -> None:
        port = int(running.url.split(":")[2].removesuffix("/mcp"))
        service = McpService(settings_of(tokens=f"desk={TOKEN}", port=port), Metrics(CollectorRegistry()))
        with pytest.raises(UserError, match=r"port \d+ on 127.0.0.1 is in use \(SEGOPS_MCP_PORT\)"):
            await service.run(asyncio.Event())

    serve(steps)


# -- tokens ----------------------------------------------------------------------------------------------


def test_tokens_are_read_from_the_setting_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the laboratory\nlab={OTHER}\n")
    found = load_tokens(settings_of(tokens=f"desk={TOKEN}", tokens_file=file).mcp)
    assert found == {TOKEN: "desk", OTHER: "lab"}


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (None, "no tokens: set SEGOPS_MCP_TOKENS to assistant=token pairs"),
        ("desk=tok-short-secret", "SEGOPS_MCP_TOKENS: desk: expected a token of at least 20 characters"),
        (TOKEN, "SEGOPS_MCP_TOKENS: pair 1: expected assistant=key"),
        (f"desk={TOKEN},lab={TOKEN}", "SEGOPS_MCP_TOKENS: pair 2: duplicate token"),
    ],
)
def test_wrong_tokens_are_refused_and_not_shown(tokens: str | None, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        load_tokens(settings_of(tokens=tokens).mcp)
    assert str(caught.value).startswith(reason)
    assert "tok-" not in str(caught.value)
