"""The intake between fetches and agents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from segops.kafka.native_batches import READER
from segops.streaming.faust.intake import BATCH_RECORDS, MAX_IN_FLIGHT, NATIVE_TIMES, Intake

EVENTS, OTHERS = (TopicPartition("events", number) for number in range(2))
PROFILES = TopicPartition("profile-events", 0)


class Fetch:
    """The result of one fetch, with numbers in place of records."""

    def __init__(self, count: int, begin: int = 0) -> None:
        self._records = range(begin, begin + count)

    def slices(self, size: int) -> Iterator[list[int]]:
        return iter(self._records[at : at + size] for at in range(0, len(self._records), size))  # type: ignore[misc]


@pytest.fixture
def intake(monkeypatch: pytest.MonkeyPatch) -> Intake:
    monkeypatch.setattr(READER, "_native", None)
    return Intake()


def add(intake: Intake, tp: TopicPartition, count: int, begin: int = 0) -> None:
    intake.add(tp, cast("Any", Fetch(count, begin)))


def handed(intake: Intake) -> list[tuple[TopicPartition, int, int]]:
    return [(tp, cast("Any", records[0]), len(records)) for tp, records in intake.hand_out()]


def test_records_of_a_topic_at_the_agent_are_limited(intake: Intake) -> None:
    add(intake, PROFILES, 10 * BATCH_RECORDS)
    begins = [begin for _ in range(5) for _, begin, _ in handed(intake)]
    assert begins == list(range(0, MAX_IN_FLIGHT, BATCH_RECORDS))
    intake.finished(PROFILES, BATCH_RECORDS)
    assert handed(intake) == [(PROFILES, MAX_IN_FLIGHT, BATCH_RECORDS)]


def test_the_kernel_gets_larger_batches(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(READER, "_native", object())
    add(intake, PROFILES, 10 * NATIVE_TIMES * BATCH_RECORDS)
    sizes = [size for _ in range(9) for _, _, size in handed(intake)]
    assert sizes == [NATIVE_TIMES * BATCH_RECORDS] * (MAX_IN_FLIGHT // BATCH_RECORDS)


def test_busy_topic_does_not_delay_others(intake: Intake) -> None:
    add(intake, PROFILES, 10 * BATCH_RECORDS)
    while handed(intake):
        pass
    add(intake, EVENTS, 3)
    assert handed(intake) == [(EVENTS, 0, 3)]
    assert intake.accepting([EVENTS, PROFILES]) == {EVENTS}


def test_partitions_alternate_and_keep_their_order(intake: Intake) -> None:
    add(intake, EVENTS, 2 * BATCH_RECORDS)
    add(intake, OTHERS, 2 * BATCH_RECORDS, begin=7)
    assert [(tp, begin) for tp, begin, _ in handed(intake)] == [
        (EVENTS, 0),
        (OTHERS, 7),
    ]
    intake.finished(EVENTS, 2 * BATCH_RECORDS)
    again = [(EVENTS, BATCH_RECORDS), (OTHERS, 7 + BATCH_RECORDS)]
    assert [(tp, begin) for tp, begin, _ in handed(intake)] == again


def test_fetch_of_transaction_markers_only_is_complete_at_once(intake: Intake) -> None:
    add(intake, EVENTS, 0)
    assert handed(intake) == []
    assert not intake.busy("events")
    assert intake.accepting([EVENTS]) == {EVENTS}


def test_topic_is_busy_until_all_its_records_are_processed(intake: Intake) -> None:
    add(intake, EVENTS, 1)
    assert intake.busy("events")
    assert not intake.busy("profile-events")
    assert handed(intake) == [(EVENTS, 0, 1)]
    assert intake.busy("events")
    intake.finished(EVENTS, 1)
    assert not intake.busy("events")


def test_partition_is_busy_until_all_its_records_are_processed(intake: Intake) -> None:
    add(intake, EVENTS, BATCH_RECORDS + 1)
    add(intake, OTHERS, 1)
    assert intake.holds(EVENTS) and intake.holds(OTHERS)
    handed(intake)
    intake.finished(EVENTS, BATCH_RECORDS)
    assert intake.holds(EVENTS)
    handed(intake)
    intake.finished(EVENTS, 1)
    assert not intake.holds(EVENTS)
    assert intake.holds(OTHERS) and intake.busy("events")
    intake.clear()
    assert not intake.holds(OTHERS)


def test_rebalance_discards_queued_batches(intake: Intake) -> None:
    add(intake, EVENTS, 2 * BATCH_RECORDS)
    handed(intake)
    intake.clear()
    assert not intake.busy("events")
    assert handed(intake) == []
