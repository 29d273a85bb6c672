"""``segops tracking-plans test`` on a file of events, without Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from segops.cli.tracking_plans import _show
from segops.tracking.violations import ViolationRecord

Run = Callable[..., Any]

PLANS = """
version: 1
plans:
- source: website
  violations: reject
  events:
    Order Completed: {schema: {required: [revenue], properties: {revenue: {type: number}}}}
    Product Viewed: {violations: warn, schema: {properties: {sku: {type: string}}}}
"""


@pytest.fixture
def plans(tmp_path: Path) -> str:
    path = tmp_path / "plans.yaml"
    path.write_text(PLANS)
    return str(path)


def events_file(tmp_path: Path, *events: tuple[str, dict[str, object]]) -> str:
    path = tmp_path / "events.jsonl"
    lines = [
        {"type": "track", "event": name, "userId": "ann@shop.example", "properties": properties}
        for name, properties in events
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_past_events_are_compared_with_a_plan(segops: Run, tmp_path: Path, plans: str) -> None:
    events = events_file(
        tmp_path,
        ("Order Completed", {"revenue": 1}),
        ("Order Completed", {"revenue": "secret"}),
        ("Order Completed", {}),
        ("Product Viewed", {"sku": 5}),
    )
    done = segops("tracking-plans", "test", plans, events)
    assert done.status == 1
    assert done.err == "4 events: 1 conforming, 2 rejected, 1 warned\n"
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[2][:6] == ["1", "website", "Order", "Completed", "type", "properties.revenue"]
    assert "secret" not in done.out and "ann@" not in done.out


def test_violations_as_json_lines(segops: Run, tmp_path: Path, plans: str) -> None:
    events = events_file(tmp_path, ("Product Viewed", {"sku": 5}), ("Product Viewed", {"sku": 6}))
    done = segops("tracking-plans", "test", plans, events, "--format", "jsonl")
    assert done.status == 0
    (found,) = [json.loads(line) for line in done.out.splitlines()]
    assert (found["path"], found["expected"], found["got"], found["count"], found["action"]) == (
        "properties.sku",
        "string",
        "number",
        2,
        "warned",
    )


def test_source_is_named_where_there_are_several(segops: Run, tmp_path: Path, plans: str) -> None:
    Path(plans).write_text(PLANS + "- {source: app, unknown_events: reject}\n")
    events = events_file(tmp_path, ("Opened", {}))
    refused = segops("tracking-plans", "test", plans, events)
    assert (refused.status, refused.err) == (2, "--source: expected one of website, app, got none\n")
    assert segops("tracking-plans", "test", plans, events, "--source", "website").status == 0
    assert segops("tracking-plans", "test", plans, events, "--source", "app").status == 1


def test_mistakes_in_a_plan_are_all_named(segops: Run, tmp_path: Path, plans: str) -> None:
    Path(plans).write_text(
        PLANS.replace("type: number", "type: numbr").replace("violations: warn", "violations: no")
    )
    done = segops("tracking-plans", "test", plans, events_file(tmp_path, ("A", {})))
    assert done.status == 2
    assert [line.split(": ")[1] for line in done.err.splitlines()] == [
        "plans[0].events.Order Completed.schema.properties.revenue.type",
        "plans[0].events.Product Viewed.violations",
    ]


def test_violations_are_watched(capsys: pytest.CaptureFixture[str]) -> None:
    """The past is summed by kind; then each record is a line."""

    def record(source: str, count: int) -> ViolationRecord:
        return ViolationRecord(source, "A", "type", "properties.a", "number", "string", "warned", count, 0, 5)

    async def published() -> AsyncGenerator[list[ViolationRecord], None]:
        yield [record("website", 1), record("website", 2), record("app", 4)]
        yield [record("app", 8), record("website", 16)]

    with pytest.raises(StopAsyncIteration):
        asyncio.run(_show(published(), "website", "jsonl", watch=True))
    assert [json.loads(line)["count"] for line in capsys.readouterr().out.splitlines()] == [3, 16]
    asyncio.run(_show(published(), "nothing", "table", watch=False))
    assert capsys.readouterr().out == "no violations\n"
