"""An assistant in memory, by the SDK's own client, and a definitions topic that is a list of segments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from mcp import Client
from prometheus_client import CollectorRegistry

from segops.config import Settings, load
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.mcp import drafts, people, scans, segments
from segops.mcp.metrics import McpMetrics
from segops.mcp.server import Assistants
from segops.mcp.tool import Tool
from segops.mcp.toolbox import tools_of
from segops.schemas.segments import definition_to_record, inline

VIP = {"key": "vip", "name": "VIP", "when": {"did": "Order Completed", "count": {"gte": 3}, "within": "30d"}}
USER = {"key": "near-vip", "when": {"all": [{"in_segment": "vip"}, {"did_not": "page", "within": "7d"}]}}


def settings_of(**mcp: Any) -> Settings:
    return load(mcp=mcp)


def log_of(*written: Mapping[str, Any]) -> DefinitionLog:
    log = DefinitionLog()
    found: list[Definition] = inline([*written], "test", "segments")
    for each in found:
        log.apply(each.key.encode(), definition_to_record(each))
    return log


def publish(monkeypatch: pytest.MonkeyPatch, *written: Mapping[str, Any]) -> None:
    """Let tools find these segments published."""
    log = log_of(*written)

    async def read(_settings: Settings, **_options: Any) -> DefinitionLog:
        return log

    for module in (segments, drafts, scans, people):
        monkeypatch.setattr(module, "read", read)


class Assistant:
    """A connected client."""

    def __init__(self, client: Client, metrics: McpMetrics) -> None:
        self.client = client
        self.metrics = metrics

    async def answer(self, tool: str, **arguments: Any) -> Any:
        """Return the answer of a call that must not fail; its text and its structure are the same."""
        found = await self.client.call_tool(tool, arguments)
        assert not found.is_error, found.content[0].text
        assert json.loads(found.content[0].text) == found.structured_content
        return found.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """Return the text of a call that must fail."""
        found = await self.client.call_tool(tool, arguments)
        assert found.is_error
        assert found.structured_content is None
        return found.content[0].text

    def calls(self, tool: str, result: str) -> float:
        return self.metrics.calls.labels(tool, result)._value.get()


def assist(
    steps: Callable[[Assistant], Awaitable[None]],
    settings: Settings | None = None,
    tools: Mapping[str, Tool] | None = None,
    mode: str = "auto",
) -> None:
    """Run the steps of an assistant that is connected in memory."""
    settings = settings or settings_of()
    metrics = McpMetrics(CollectorRegistry())

    async def run() -> None:
        chosen = tools_of(settings) if tools is None else tools
        server = Assistants(settings, chosen, metrics).server()
        async with Client(server, mode=mode) as client:
            await steps(Assistant(client, metrics))

    asyncio.run(run())
