"""Sizes, trends and population of running workers equal the state topic, the changes and the profiles."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter, defaultdict
from typing import Any

import pytest

from segops.core.activity import DAY_MS
from segops.operations import definitions
from segops.schemas.records import partition_of
from segops.schemas.sizes import (
    MINUTE_MS,
    POPULATION,
    PopulationRecord,
    Published,
    SizeRecord,
    TrendRecord,
    decode_published,
    parse_key,
)
from segops.schemas.state import decode_profile
from tests.rest import in_rest, rest

from .helpers import START_MS, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS
#: Sums of entries and exits by (partition, segment, whether entries).
Flows = dict[tuple[int, str, bool], Counter[str]]


@pytest.fixture
def stack(stack: Stack, guarantee: str) -> Stack:
    stack.guarantee = guarantee
    stack.environment = {"SEGOPS_FIGURES_INTERVAL": "100ms", "SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    return stack


def latest(stack: Stack, topic: str) -> list[Any]:
    """Return the latest record of each key, as compaction leaves them, without tombstones."""
    found = {record.key: record.value for record in stack.read(topic)}
    return [decode_published(parse_key(key), value) for key, value in found.items() if value is not None]


def only(kind: type[Published], records: list[Published]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def published_sizes(stack: Stack) -> dict[tuple[int, str], tuple[int, dict[str, int], dict[str, int]]]:
    sizes: list[SizeRecord] = only(SizeRecord, latest(stack, stack.settings.topics.sizes))
    return {(each.partition, each.segment_key): (each.members, each.entered, each.left) for each in sizes}


def expected_sizes(stack: Stack) -> dict[tuple[int, str], tuple[int, dict[str, int], dict[str, int]]]:
    """Return the members in the rows of the state topic, and the flows of the changes."""
    rows = {record.key: record.value for record in stack.read(stack.settings.topics.membership_state)}
    members: Counter[tuple[int, str]] = Counter()
    for key, value in rows.items():
        profile_id, _, segment_key = key.decode().rpartition("|")
        partition = partition_of(profile_id.encode(), stack.partitions)
        members[partition, segment_key] += value is not None and json.loads(value)["member"]
    flows = flows_of_changes(stack)
    return {
        (number, each.key): (
            members[number, each.key],
            dict(flows.get((number, each.key, True), {})),
            dict(flows.get((number, each.key, False), {})),
        )
        for number in range(stack.partitions)
        for each in stack.definitions
    }


def flows_of_changes(stack: Stack) -> Flows:
    flows: Flows = defaultdict(Counter)
    for change in stack.changes().values():
        partition = partition_of(change["profile_id"].encode(), stack.partitions)
        flows[partition, change["segment_key"], change["member"]][change["reason"]] += 1
    return flows


def flows_of_minutes(stack: Stack) -> Flows:
    flows: Flows = defaultdict(Counter)
    trends: list[TrendRecord] = only(TrendRecord, latest(stack, stack.settings.topics.trends))
    for record in trends:
        for member, side in ((True, record.entered), (False, record.left)):
            if side:
                flows[record.partition, record.segment_key, member].update(side)
    return flows


def populations(stack: Stack) -> dict[int, tuple[int, int, int]]:
    """Return the clock, the known and the daily active profiles of each partition, as published."""
    found: list[PopulationRecord] = only(PopulationRecord, latest(stack, stack.settings.topics.sizes))
    return {each.partition: (each.clock_ms, each.figures.known, each.figures.daily) for each in found}


def expected_populations(stack: Stack, clock_ms: int) -> dict[int, tuple[int, int, int]]:
    known: Counter[int] = Counter()
    daily: Counter[int] = Counter()
    records = stack.read(stack.settings.worker.changelog)
    for key, value in {record.key: record.value for record in records}.items():
        if not key.startswith(b"\0") and value is not None:
            number, profile = partition_of(key, stack.partitions), decode_profile(value)
            known[number] += profile.first_ms is not None
            daily[number] += profile.latest_ms // DAY_MS >= clock_ms // DAY_MS
    return {number: (clock_ms, known[number], daily[number]) for number in range(stack.partitions)}


def assert_figures(stack: Stack, clock_ms: int) -> None:
    wait_until(lambda: published_sizes(stack) == expected_sizes(stack), "the sizes", stack.diagnosis)
    wait_until(
        lambda: populations(stack) == expected_populations(stack, clock_ms), "population", stack.diagnosis
    )
    stack.send([], final_ms=clock_ms + 2 * MINUTE_MS)  # ends the last minute
    wait_until(
        lambda: (
            flows_of_minutes(stack) == {key: flow for key, flow in flows_of_changes(stack).items() if flow}
        ),
        "the minutes",
        stack.diagnosis,
    )


@pytest.mark.parametrize(
    "point",
    [
        "after_changelog_ack:3",
        *map(
            in_rest, ["after_batch:5", "after_output_ack:3", "after_store_write:2", "after_offset_commit:2"]
        ),
    ],
)
def test_figures_are_exact_after_a_death_and_a_lost_disk(stack: Stack, point: str) -> None:
    sent = shop_events(3_000, users=60, partitions=3)
    stack.send(sent, final_ms=FINAL_MS)
    assert stack.start(crash_at=point).wait(60) == 137
    stack.start()
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    assert_figures(stack, FINAL_MS)
    stack.stop()
    shutil.rmtree(stack.data_dir())
    later_ms = FINAL_MS + 2 * DAY_MS
    more = shop_events(500, users=40, partitions=3, seed=2, start_ms=FINAL_MS + DAY_MS)
    stack.send(more, final_ms=later_ms)
    stack.start()
    wait_until(lambda: populations(stack)[0][0] == later_ms, "the later clock", stack.diagnosis)
    assert_figures(stack, later_ms)


@rest
@pytest.mark.usefixtures("several_workers")
def test_figures_are_exact_after_a_rebalance(stack: Stack) -> None:
    sent = shop_events(3_000, users=60, partitions=3)
    stack.start(number=0)
    wait_until(lambda: len(stack.owned_partitions(0)) == 3, "all partitions", stack.diagnosis)
    stack.start(number=1)
    stack.send(sent[:1_500])
    wait_until(lambda: stack.owned_partitions(0) and stack.owned_partitions(1), "both", stack.diagnosis)
    stack.workers[0].kill()
    stack.send(sent[1_500:], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    assert_figures(stack, FINAL_MS)


def test_a_retired_segment_leaves_no_size(stack: Stack) -> None:
    sent = shop_events(400, users=60, partitions=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    wait_until(lambda: published_sizes(stack) == expected_sizes(stack), "the sizes", stack.diagnosis)
    asyncio.run(definitions.retire(stack.settings, ["spenders"]))
    wait_until(lambda: retired(stack), "retirement", stack.diagnosis)
    stack.send([], final_ms=FINAL_MS + 2 * MINUTE_MS)
    wait_until(
        lambda: segments_in(stack) == {"high-intent", "buyers", POPULATION}, "deletion", stack.diagnosis
    )


def retired(stack: Stack) -> bool:
    sizes: list[SizeRecord] = only(SizeRecord, latest(stack, stack.settings.topics.sizes))
    return all(each.state == "retired" for each in sizes if each.segment_key == "spenders")


def segments_in(stack: Stack) -> set[str]:
    found = {record.key: record.value for record in stack.read(stack.settings.topics.sizes)}
    return {parse_key(key).segment_key for key, value in found.items() if value is not None}
