"""Batches on their way from the fetches to the agents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from segops.streaming.faust.intake import BATCH_RECORDS, MAX_IN_FLIGHT, Intake

EVENTS, OTHERS = (TopicPartition("events", number) for number in range(2))
PROFILES = TopicPartition("profile-events", 0)


class Fetch:
    """Stands for what one fetch brought: numbers instead of records."""

    def __init__(self, count: int, begin: int = 0) -> None:
        self._records = range(begin, begin + count)

    def slices(self, size: int) -> Iterator[list[int]]:
        return iter(self._records[at : at + size] for at in range(0, len(self._records), size))  # type: ignore[misc]


@pytest.fixture
def intake() -> Intake:
    return Intake()


def add(intake: Intake, place: TopicPartition, count: int, begin: int = 0) -> None:
    intake.add(place, cast("Any", Fetch(count, begin)))


def handed(intake: Intake) -> list[tuple[TopicPartition, int, int]]:
    return [(place, cast("Any", records[0]), len(records)) for place, records in intake.hand_out()]


def test_of_a_topic_there_are_only_so_many_records_with_the_agent(intake: Intake) -> None:
    add(intake, PROFILES, 10 * BATCH_RECORDS)
    begins = [begin for _ in range(5) for _, begin, _ in handed(intake)]
    assert begins == list(range(0, MAX_IN_FLIGHT, BATCH_RECORDS))
    intake.finished(PROFILES, BATCH_RECORDS)
    assert handed(intake) == [(PROFILES, MAX_IN_FLIGHT, BATCH_RECORDS)]


def test_a_topic_whose_agent_has_enough_to_do_delays_no_other(intake: Intake) -> None:
    add(intake, PROFILES, 10 * BATCH_RECORDS)
    while handed(intake):
        pass
    add(intake, EVENTS, 3)
    assert handed(intake) == [(EVENTS, 0, 3)]
    assert intake.accepting([EVENTS, PROFILES]) == {EVENTS}


def test_partitions_take_turns_and_each_keeps_its_order(intake: Intake) -> None:
    add(intake, EVENTS, 2 * BATCH_RECORDS)
    add(intake, OTHERS, 2 * BATCH_RECORDS, begin=7)
    assert [(place, begin) for place, begin, _ in handed(intake)] == [(EVENTS, 0), (OTHERS, 7)]
    intake.finished(EVENTS, 2 * BATCH_RECORDS)
    again = [(EVENTS, BATCH_RECORDS), (OTHERS, 7 + BATCH_RECORDS)]
    assert [(place, begin) for place, begin, _ in handed(intake)] == again


def test_a_fetch_of_markers_only_leaves_nothing_to_wait_for(intake: Intake) -> None:
    add(intake, EVENTS, 0)
    assert handed(intake) == []
    assert not intake.busy("events")
    assert intake.accepting([EVENTS]) == {EVENTS}


def test_a_topic_is_busy_until_all_of_it_is_through(intake: Intake) -> None:
    add(intake, EVENTS, 1)
    assert intake.busy("events")
    assert not intake.busy("profile-events")
    assert handed(intake) == [(EVENTS, 0, 1)]
    assert intake.busy("events")
    intake.finished(EVENTS, 1)
    assert not intake.busy("events")


def test_a_partition_is_held_until_all_of_it_is_through_whatever_others_do(intake: Intake) -> None:
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


def test_after_a_rebalance_nothing_of_before_is_left(intake: Intake) -> None:
    add(intake, EVENTS, 2 * BATCH_RECORDS)
    handed(intake)
    intake.clear()
    assert not intake.busy("events")
    assert handed(intake) == []
