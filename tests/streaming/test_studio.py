"""Suggested segments in a running system: their sizes are those that its events make."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import yaml

from segops.brokers import LocalBroker
from segops.kafka import topics

from .conftest import require_transactions
from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, shop_events
from .test_catalogue import Catalogue

pytestmark = pytest.mark.broker
FINAL_MS = START_MS + DAY_MS + 20 * 60_000
USERS = 60
#: With these, profiles hold what `high-intent` and `first-order` read, but no revenue.
SEGMENTS = """
version: 1
segments:
  - {key: viewers, when: {did: Product Viewed, count: {gte: 3}, within: 2d}}
  - {key: idle, when: {did_not: Order Completed, within: 2d}}
  - key: fresh
    when: {all: [{first: Order Completed, is: {newer_than: 30d}}, {did: Order Completed, count: {eq: 1}}]}
"""
CATALOGUE = {
    "events": {"Product Viewed": {}, "Order Completed": {"total": "number"}, "Page Seen": {}},
    "rfm": ["champions", "promising", "potential_loyalists"],
}


def expected(sent: Iterable[Sent]) -> tuple[int, dict[str, int]]:
    """Return the number of people, and of those in some suggestions, from their events alone."""
    views: Counter[str] = Counter()
    spent: dict[str, list[int]] = defaultdict(list)
    people = set()
    for each in sent:
        event = json.loads(each.value)
        people.add(event["userId"])
        if event["event"] == "Product Viewed":
            views[event["userId"]] += 1
        elif event["event"] == "Order Completed":
            spent[event["userId"]].append(event["properties"]["total"])
    return len(people), {
        "high-intent": sum(number >= 3 and not spent[user] for user, number in views.items()),
        "first-order": sum(len(orders) == 1 for orders in spent.values()),
        "nearly-vip": sum(350 <= sum(orders) < 500 for orders in spent.values()),
    }


def suggested(stack: Stack, *options: str) -> dict[str, Mapping[str, Any]]:
    file = stack.folder / "catalogue.yaml"
    file.write_text(yaml.safe_dump(CATALOGUE))
    done = stack.segops("studio", "suggest", "--catalogue", str(file), "--format", "json", *options)
    assert done.exit_code == 0, done.output
    return {each["key"]: each for each in json.loads(done.stdout)["suggestions"]}


def test_sizes_are_those_that_the_events_make(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    sent = shop_events(300, users=USERS, partitions=3)
    stack.send(sent, final_ms=FINAL_MS)
    stack.start()
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    people, sizes = expected(sent)
    assert all(sizes.values())

    estimated = suggested(stack)
    for key in ("high-intent", "first-order"):
        assert (estimated[key]["size"], estimated[key]["notes"]) == (sizes[key], [])
        assert estimated[key]["share"] == round(sizes[key] / people, 6)
    assert "nearly-vip" not in estimated or estimated["nearly-vip"]["notes"]
    before = stack.segops("segments").stdout

    counted = suggested(stack, "--history")
    assert {key: counted[key]["size"] for key in sizes} == sizes
    assert counted["nearly-vip"]["rule"]["all"][0]["sum"] == "total"
    assert not any(each["notes"] for each in counted.values())
    assert stack.segops("segments").stdout == before

    table = stack.segops(
        "studio", "suggest", "--catalogue", str(stack.folder / "catalogue.yaml"), "--limit", "1"
    )
    assert table.exit_code == 0 and "1 of " in table.stdout


def test_a_request_is_read_with_what_occurs_in_the_running_system(stack: Stack, broker: LocalBroker) -> None:
    require_transactions(broker)
    asyncio.run(topics.create(stack.settings))
    empty = stack.segops("studio", "propose", "viewed a product")
    assert (empty.exit_code, "the catalogue is empty" in str(empty.exception)) == (1, True)
    catalogue = Catalogue(stack)
    catalogue.start()
    catalogue.send(300)
    catalogue.wait_for(300)
    done = stack.segops("studio", "propose", "Viewed a product in the Bags category in the last week")
    assert json.loads(done.stdout)["rule"] == {
        "did": "Product Viewed",
        "where": {"category": "Bags"},
        "within": "7d",
    }
