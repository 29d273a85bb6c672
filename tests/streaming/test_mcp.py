"""An assistant and a running system: its tools answer what workers publish, and change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mcp import Client
from prometheus_client import CollectorRegistry

from segops.config import Settings
from segops.mcp.metrics import McpMetrics
from segops.mcp.server import Assistants
from segops.mcp.toolbox import tools_of

from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker
FINAL_MS = START_MS + DAY_MS + 20 * 60_000
RULE = {"any": [{"in_segment": "buyers"}, {"in_segment": "spenders"}]}


def asked(settings: Settings, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """Return the answers of an assistant's calls, one after the other; a text is an error."""

    async def run() -> list[Any]:
        server = Assistants(settings, tools_of(settings), McpMetrics(CollectorRegistry())).server()
        async with Client(server) as client:
            found = [await client.call_tool(name, arguments) for name, arguments in calls]
        return [each.content[0].text if each.is_error else each.structured_content for each in found]

    return asyncio.run(run())


def members_of(stack: Stack, settings: Settings) -> dict[str, int]:
    [found] = asked(settings, ("segment_sizes", {}))
    return {} if isinstance(found, str) else {each["key"]: each["members"] for each in found["segments"]}


def test_an_assistant_reads_a_running_system(stack: Stack) -> None:
    stack.publish()
    sent = shop_events(600, users=40, partitions=3)
    stack.send(sent, final_ms=FINAL_MS)
    stack.start()
    expected = expected_changes(sent, stack.definitions, FINAL_MS)
    stack.wait_for_changes(expected)
    now: dict[str, set[str]] = {each.key: set() for each in stack.definitions}
    for change in sorted(expected.values(), key=lambda each: each["sequence"]):
        of = now[change["segment_key"]]
        (of.add if change["member"] else of.discard)(change["profile_id"])
    sizes = {key: len(members) for key, members in now.items()}
    settings = stack.settings
    wait_until(lambda: members_of(stack, settings) == sizes, "the sizes are published", stack.diagnosis)

    listed, read, estimate, forecast, checked, plans, audiences, refused = asked(
        settings,
        ("list_segments", {"limit": 2}),
        ("read_segment", {"key": "buyers"}),
        ("estimate_segment", {"rule": RULE}),
        ("forecast_segments", {"keys": ["buyers"]}),
        ("check_draft", {"rule": {"in_segment": "none"}}),
        ("list_plans", {}),
        ("list_audiences", {}),
        ("list_members", {"key": "buyers"}),
    )
    assert [(each["key"], each["members"]) for each in listed["segments"]] == [
        (key, sizes[key]) for key in ("buyers", "high-intent")
    ]
    assert read["rule"] == {"did": "Order Completed", "within": "6h"}
    assert estimate["members"]["estimate"] == len(now["buyers"] | now["spenders"])
    assert [each["holds"] for each in estimate["funnel"]][1:] == [sizes["buyers"], sizes["spenders"]]
    assert forecast["segments"][0]["next_24_hours"] == {"entered": 0, "left": sizes["buyers"]}
    assert [each["path"] for each in checked["errors"]] == ["rule"]
    assert (plans["plans"], audiences["audiences"]) == ([], [])
    assert refused.startswith("unknown tool 'list_members'")

    allowed = settings.model_copy(update={"mcp": settings.mcp.model_copy(update={"personal_data": True})})
    members, timeline = asked(
        allowed, ("list_members", {"key": "spenders"}), ("read_timeline", {"identifier": "user_id:u1"})
    )
    assert {each["profile_id"] for each in members["members"]} == now["spenders"]
    assert timeline["profile_id"] == "user_id:u1" and timeline["total"] > 0
    assert stack.changes() == expected
