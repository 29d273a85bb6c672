"""Segments that are published while workers run: on Kafka, with kills in each phase of their backfill."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from segops.core.segments import SegmentSet
from segops.schemas.segments import load
from tests.rest import in_rest, rest

from .archives import Archives
from .helpers import START_MS, Sent, Stack, wait_until
from .test_archive import delete_before
from .test_backfill import AFTER, BEFORE, HOUR, crowd, replayed

pytestmark = pytest.mark.broker

COUNT = 600
END_MS = START_MS + 102 * HOUR


def linked_events(seed: int) -> list[Sent]:
    """Return events of persons whose identifiers are linked little by little, from one source."""
    return [Sent(0, line) for line in crowd(seed, COUNT)]


def wanted(stack: Stack, sent: list[Sent]) -> dict[str, set[str]]:
    """Return the members that there would be with the last definitions from the start."""
    file = stack.folder / "wanted.yaml"
    file.write_text(AFTER)
    return replayed(SegmentSet(load([file])), [one.value for one in sent], END_MS)


def found(stack: Stack) -> dict[str, set[str]]:
    """Return the members according to the changelog."""
    states: dict[str, Any] = stack.states()
    return {key: set(members) for key, (_, members) in states.items()}


def wait_for_members(stack: Stack, sent: list[Sent]) -> None:
    expected = wanted(stack, sent)
    assert len({key for members in expected.values() for key in members}) >= 6
    wait_until(lambda: found(stack) == expected, "members as if live from the start", stack.diagnosis)
    rows: dict[str, bool] = {}
    for record in stack.read(stack.settings.topics.membership_state):
        rows[record.key.decode()] = json.loads(record.value)["member"]
    published = {key for key, member in rows.items() if member}
    assert published == {f"{key}|{segment}" for key, members in expected.items() for segment in members}


def has_read(stack: Stack, least: int) -> bool:
    return len(stack.read(stack.settings.topics.profile_events)) > least


def test_new_segments_count_the_past(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish(BEFORE)
    sent = linked_events(1)
    stack.start()
    stack.send(sent[:400])
    wait_until(lambda: has_read(stack, 400), "half of the events", stack.diagnosis)
    stack.publish(AFTER)
    stack.send(sent[400:], final_ms=END_MS)
    wait_for_members(stack, sent)
    reasons = {change["reason"] for change in stack.changes().values() if change["segment_key"] == "spenders"}
    assert "backfill" in reasons


def is_applied(stack: Stack) -> bool:
    """Return whether the worker has applied all records of profile-events so far."""
    topic = re.escape(stack.settings.topics.profile_events)
    lags = re.findall(
        rf'segops_consumer_lag_records{{partition="\d+",topic="{topic}"}} (\S+)', stack.get("/metrics")[1]
    )
    return len(lags) == stack.partitions and all(float(lag) == 0 for lag in lags)


@rest
def test_what_the_topic_has_deleted_comes_from_the_archive(stack: Stack) -> None:
    archives, topic = Archives(stack), stack.settings.topics.profile_events
    stack.environment = {"SEGOPS_ARCHIVE_URL": f"file://{archives.folder}"}
    stack.publish(BEFORE)
    sent = linked_events(1)
    stack.start()
    stack.send(sent[:300])
    wait_until(lambda: has_read(stack, 300) and is_applied(stack), "half of the events", stack.diagnosis)
    assert archives.once() == 0
    for partition in range(stack.partitions):
        delete_before(stack, topic, partition, archives.end(topic, partition))
    stack.send(sent[300:400])
    wait_until(lambda: has_read(stack, 99) and is_applied(stack), "further events", stack.diagnosis)
    stack.publish(AFTER)
    stack.send(sent[400:], final_ms=END_MS)
    wait_for_members(stack, sent)


@pytest.mark.parametrize(
    "point", ["during_backfill_read:1", *map(in_rest, ["during_backfill:1", "during_backfill:3"])]
)
def test_kill_in_a_backfill_of_two_workers(
    stack: Stack, guarantee: str, several_workers: None, point: str
) -> None:
    stack.guarantee = guarantee
    stack.publish(BEFORE)
    sent = linked_events(2)
    stack.start(number=0)
    stack.start(number=1, crash_at=point)
    wait_until(lambda: stack.owned_partitions(1), "both ready", stack.diagnosis)
    stack.send(sent[:400])
    wait_until(lambda: has_read(stack, 400), "half of the events", stack.diagnosis)
    stack.publish(AFTER)
    assert stack.workers[1].wait(60) == 137
    stack.send(sent[400:], final_ms=END_MS)
    stack.start(number=1)
    wait_for_members(stack, sent)


@rest
def test_partition_on_another_disk_reads_its_history_again(
    stack: Stack, guarantee: str, tmp_path: Path
) -> None:
    stack.guarantee = guarantee
    stack.publish(BEFORE)
    sent = linked_events(3)
    worker = stack.start(crash_at="during_backfill_read:3")
    stack.send(sent[:400])
    wait_until(lambda: has_read(stack, 400), "half of the events", stack.diagnosis)
    stack.publish(AFTER)
    assert worker.wait(60) == 137
    stack.start(number=1)
    stack.send(sent[400:], final_ms=END_MS)
    wait_for_members(stack, sent)
