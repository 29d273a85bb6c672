"""SegmentSizes and trends folded from records, against a recount from the changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.analytics.sizes import BadRange, SegmentSizes
from segops.analytics.views import AsOf, Changes, TrendStep
from segops.schemas.sizes import PopulationFigures, PopulationRecord, Published
from tests.analytics.recount import (
    DAY,
    HOUR,
    MINUTE,
    START,
    Move,
    flow_in,
    interleaved,
    members_at,
    published,
    published_by,
    size,
    trend,
)
from tests.rest import examples


def folded(records: Iterable[Published], partitions: int = 2, **options: Any) -> SegmentSizes:
    sizes = SegmentSizes(partitions, **options)
    for record in records:
        sizes.apply(*published(record))
    return sizes


@st.composite
def histories(draw: Any) -> tuple[list[Move], int]:
    """Draw moves over 40 hours in time order, and the number of partitions; no segment is below 0."""
    partitions = draw(st.integers(1, 4))
    moves: list[Move] = []
    members: dict[tuple[str, int], int] = {}
    at_ms = START
    for _ in range(draw(st.integers(1, 40))):
        at_ms += draw(st.sampled_from([0, 1, 20_000, MINUTE, 7 * MINUTE, HOUR, 5 * HOUR]))
        if at_ms - START > 40 * HOUR:
            break
        where = draw(st.sampled_from(["a", "b"])), draw(st.integers(0, partitions - 1))
        least = -members.get(where, 0)
        number = draw(st.integers(least, least + 5).filter(bool))
        members[where] = members.get(where, 0) + number
        moves.append(Move(*where, at_ms, number, draw(st.sampled_from(["event", "time"]))))
    return moves, partitions


@examples(30, of=100)
@given(histories(), st.integers(0, 10))
def test_sizes_equal_a_recount_in_any_order_of_partitions(history: tuple[list[Move], int], seed: int) -> None:
    moves, partitions = history
    sizes = folded(interleaved(published_by(moves, partitions), seed), partitions)
    now_ms = max((move.at_ms for move in moves), default=START)
    minute_ms = now_ms // MINUTE * MINUTE
    end_ms = minute_ms + MINUTE
    for key in {move.segment for move in moves}:
        view = sizes.segment(key)
        assert view is not None
        assert view.members == members_at(moves, key, end_ms)
        assert view.reported == len({move.partition for move in moves if move.segment == key})
        for changes, from_ms in (
            (view.last_hour, minute_ms - HOUR),
            (view.last_day, minute_ms - DAY),
            (view.last_week, now_ms // HOUR * HOUR - 168 * HOUR),
        ):
            assert (changes.adds, changes.drops) == flow_in(moves, key, from_ms, end_ms)
            assert changes.net == changes.adds - changes.drops
        entered = flow_in([move for move in moves if move.reason == "time"], key, 0, end_ms)[0]
        assert view.entered.get("time", 0) == entered


@examples(30, of=100)
@given(
    histories(),
    st.integers(0, 10),
    st.sampled_from([MINUTE, 5 * MINUTE, 7 * MINUTE, HOUR, 90 * MINUTE, 3 * HOUR, DAY, 7 * DAY]),
)
def test_each_step_of_a_trend_equals_a_recount(
    history: tuple[list[Move], int], seed: int, step_ms: int
) -> None:
    moves, partitions = history
    sizes = folded(interleaved(published_by(moves, partitions), seed), partitions)
    now_ms = max(move.at_ms for move in moves)
    for key in {move.segment for move in moves}:
        from_ms = now_ms - (12 * HOUR if step_ms % HOUR else 3 * DAY)
        found = sizes.trend(key, step_ms, from_ms, None)
        assert found is not None
        assert found.steps[-1].members == members_at(moves, key, now_ms + 1)
        for step in found.steps:
            end_ms = step.start_ms + step_ms
            assert step.members == members_at(moves, key, end_ms)
            assert (step.adds, step.drops) == flow_in(moves, key, step.start_ms, end_ms)


@examples(30, of=100)
@given(histories(), st.integers(0, 10), st.data())
def test_records_repeated_since_the_last_checkpoint_change_nothing(
    history: tuple[list[Move], int], seed: int, data: Any
) -> None:
    moves, partitions = history
    streams = published_by(moves, partitions)
    repeated = []
    for stream in streams:
        begin = data.draw(st.integers(0, len(stream)))
        repeated.append([*stream, *stream[begin:]])
    once = folded(interleaved(streams, seed), partitions)
    twice = folded(interleaved(repeated, seed + 1), partitions)
    assert twice.segments() == once.segments()
    for key in once.keys:
        assert twice.trend(key, HOUR, None, None) == once.trend(key, HOUR, None, None)


@examples(30, of=100)
@given(histories(), st.integers(0, 10))
def test_a_compacted_topic_gives_the_same_figures(history: tuple[list[Move], int], seed: int) -> None:
    moves, partitions = history
    streams = published_by(moves, partitions)
    latest = [{published(record)[0]: record for record in stream}.values() for stream in streams]
    compacted = [
        [r for r in stream if any(r is kept for kept in left)]
        for stream, left in zip(streams, latest, strict=True)
    ]
    whole, rest = (
        folded(interleaved(streams, seed), partitions),
        folded(interleaved(compacted, seed), partitions),
    )
    assert rest.segments() == whole.segments()
    for key in whole.keys:
        assert rest.trend(key, HOUR, None, None) == whole.trend(key, HOUR, None, None)


def test_the_minute_in_progress_and_the_one_before_it_are_replaced() -> None:
    minutes = [START, START + 2 * MINUTE, START + 5 * MINUTE]
    first = [trend("a", 0, minutes[0], (5, 0), 5), trend("a", 0, minutes[1], (3, 1), 7)]
    again = [trend("a", 0, minutes[0], (4, 0), 4), trend("a", 0, minutes[1], (4, 1), 7)]
    between = [trend("a", 0, minutes[2], (1, 0), 8), trend("a", 0, minutes[2] - MINUTE, (0, 2), 5)]
    sizes = folded([size("a", 0, 6), *first, *again, *between])
    found = sizes.trend("a", MINUTE, START, None)
    assert found is not None
    flows = [(step.members, step.adds, step.drops) for step in found.steps]
    assert flows == [(4, 4, 0), (4, 0, 0), (7, 4, 1), (7, 0, 0), (5, 0, 2), (6, 1, 0)]


def test_a_gap_carries_the_members_forward_from_before_the_first_record() -> None:
    known = size("a", 1, 5, entered={"unknown": 6}, left={"unknown": 1})
    records = [size("a", 0, 10), known, trend("a", 0, START + 3 * HOUR, (3, 1), 10)]
    found = folded(records).trend("a", HOUR, START, None)
    assert found is not None
    assert [step.members for step in found.steps] == [13, 13, 13, 15]


@pytest.mark.parametrize(("truncated", "members"), [([], [0, 0, 7]), ([0], [7, 7, 7]), ([1], [0, 0, 7])])
def test_members_without_a_minute_entered_now_unless_their_minute_is_not_retained(
    truncated: list[int], members: list[int]
) -> None:
    found = folded([size("a", 0, 7, clock_ms=START + 2 * MINUTE)], truncated=truncated)
    trend_ = found.trend("a", MINUTE, START, None)
    assert trend_ is not None
    assert [step.members for step in trend_.steps] == members


def test_a_segment_says_which_partitions_have_not_reported() -> None:
    view = folded([size("a", 0, 3)]).segment("a")
    assert view is not None
    assert (view.members, view.complete, view.reported, view.partitions) == (3, False, 1, 2)
    view = folded([size("a", 0, 3), size("a", 1, 4)]).segment("a")
    assert view is not None
    assert (view.members, view.complete) == (7, True)


def test_a_size_is_as_of_the_clocks_of_the_partitions() -> None:
    sizes = folded([size("a", 0, 3), size("a", 1, 4), size("b", 1, 1, clock_ms=START + 5_000)])
    view = sizes.segment("a")
    assert view is not None
    assert view.as_of == AsOf(START, START + 5_000)


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (("live", "live"), "live"),
        (("live", "building"), "building"),
        (("paused", "live"), "paused"),
        (("retired", "live"), "live"),
        (("retired", "retired"), "retired"),
    ],
)
def test_state_of_a_segment_is_that_of_the_partition_that_is_behind(
    states: tuple[str, str], state: str
) -> None:
    view = folded([size("a", number, 1, state=each) for number, each in enumerate(states)]).segment("a")
    assert view is not None
    assert view.state == state


def test_progress_is_summed_and_ends_with_the_backfill() -> None:
    building = [
        size("a", 0, 0, state="building", progress={"read": 3, "total": 10}, complete_since_ms=5),
        size("a", 1, 0, state="building", progress={"read": 7, "total": 10}, complete_since_ms=9),
    ]
    sizes = folded(building)
    view = sizes.segment("a")
    assert view is not None and view.progress is not None
    assert (view.progress.read, view.progress.total, view.complete_since_ms) == (10, 20, 9)
    for number in (0, 1):
        sizes.apply(*published(size("a", number, 0)))
    view = sizes.segment("a")
    assert view is not None
    assert (view.progress, view.complete_since_ms) == (None, None)


def test_records_of_a_former_generation_or_another_number_of_partitions_do_not_count() -> None:
    sizes = folded([size("a", 0, 3), size("a", 0, 50, partitions=8), size("b", 1, 9)])
    assert [(view.key, view.members) for view in sizes.segments().segments] == [("a", 3), ("b", 9)]
    for record in (size("a", 1, 2, generation=7), size("a", 0, 4), trend("a", 0, START, (4, 0), 4)):
        sizes.apply(*published(record))
    assert [(view.key, view.members) for view in sizes.segments().segments] == [("a", 2)]
    found = sizes.trend("a", HOUR, None, None)
    assert found is not None
    assert found.steps[-1] == TrendStep(START, 2, 0, 0)


def test_tombstones_end_a_segment() -> None:
    records = [size("a", 0, 3), size("a", 1, 4)]
    sizes = folded(records)
    assert sizes.apply(b"a|0|0", None) == "a"
    view = sizes.segment("a")
    assert view is not None
    assert (view.members, view.complete, view.entered) == (4, False, {"event": 4})
    assert sizes.apply(b"a|0|1", None) == "a"
    assert (sizes.segment("a"), sizes.keys) == (None, [])
    assert sizes.apply(b"a|0|1", None) is None


def test_tombstones_of_trends_and_of_former_generations_change_nothing() -> None:
    sizes = folded([size("a", 0, 3, generation=2)])
    for key in (b"a|1760313600000|2|0", b"a|1|0", b"a|2|9", b"a|2|-1", b"b|2|0"):
        assert sizes.apply(key, None) is None
    assert sizes.keys == ["a"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"", b"{}"),
        (b"\xff|0|0", b"{}"),
        (b"a", b"{}"),
        (b"a|x|0", b"{}"),
        (b"a|0|0", b"{}"),
        (b"a|0|0", b""),
        (b"a|0|0", b"\xff"),
        (b"$population|0|0", b"{}"),
    ],
)
def test_unreadable_records_are_counted_and_change_nothing(key: bytes | None, value: bytes) -> None:
    sizes = SegmentSizes(2)
    assert sizes.apply(key, value) is None
    assert (sizes.unreadable, sizes.keys, sizes.as_of) == (1, [], AsOf(None, None))


def test_numbers_of_more_than_64_bits_are_unreadable() -> None:
    sizes = folded([size("a", 0, 3)])
    for record in (size("b", 0, 10**30), trend("b", 0, START, (10**30, 0), 5)):
        assert sizes.apply(*published(record)) is None
    assert sizes.unreadable == 2
    assert sizes.keys == ["a"]


def test_volatility_is_the_number_of_changes_per_member() -> None:
    records = [
        size("a", 0, 8),
        trend("a", 0, START, (10, 2), 8),
        size("b", 0, 0),
        trend("b", 0, START, (2, 2), 0),
    ]
    views = folded(records).segments().segments
    assert [view.last_hour for view in views] == [Changes(10, 2, 8, 1.5), Changes(2, 2, 0, None)]


def test_segments_are_listed_by_key_in_pages() -> None:
    sizes = folded(size(f"s{number}", 0, number) for number in range(5))
    first = sizes.segments(limit=2)
    assert ([view.key for view in first.segments], first.next) == (["s0", "s1"], "s1")
    rest = sizes.segments(after="s1", limit=3)
    assert ([view.key for view in rest.segments], rest.next) == (["s2", "s3", "s4"], None)
    assert sizes.segments(after="zz").segments == []


NOW = START + 40 * DAY + 90 * MINUTE


@pytest.mark.parametrize(
    ("step_ms", "from_ms", "to_ms", "reason"),
    [
        (90_000, None, None, "step: expected whole minutes, got 90s"),
        (HOUR, NOW, NOW, "to: expected an instant after"),
        (MINUTE, NOW - 2 * DAY, None, "from: expected an instant from 2025-11-21T01:00:00.000Z on"),
        (HOUR, START, None, "from: expected an instant from 2025-10-23T00:00:00.000Z on"),
        (HOUR, None, START, "to: expected an instant from 2025-10-23T00:00:00.000Z on"),
    ],
)
def test_ranges_that_are_not_kept_are_refused(
    step_ms: int, from_ms: int | None, to_ms: int | None, reason: str
) -> None:
    sizes = folded([size("a", 0, 1, clock_ms=NOW)])
    with pytest.raises(BadRange) as refused:
        sizes.trend("a", step_ms, from_ms, to_ms)
    assert str(refused.value).startswith(reason)


def test_a_trend_ends_in_the_present_and_begins_24_steps_before() -> None:
    sizes = folded([size("a", 0, 7, clock_ms=NOW)])
    found = sizes.trend("a", HOUR, None, NOW + 9 * DAY)
    assert found is not None
    assert [found.steps[0].start_ms, found.steps[-1].start_ms] == [
        NOW // HOUR * HOUR - 23 * HOUR,
        NOW // HOUR * HOUR,
    ]
    assert sizes.trend("b", HOUR, None, None) is None
    empty = sizes.trend("a", HOUR, NOW + 2 * DAY, None)
    assert empty is not None
    assert empty.steps == []


def test_steps_from_before_the_retained_minutes_are_unknown() -> None:
    records = [size("a", 0, 10), size("a", 1, 0), trend("a", 0, START + 2 * HOUR, (3, 1), 10)]
    known = folded(records).trend("a", HOUR, START, None)
    cut = folded(records, truncated=[0]).trend("a", HOUR, START, None)
    assert known is not None and cut is not None
    assert [step.members for step in known.steps] == [8, 8, 10]
    assert [step.members for step in cut.steps] == [None, None, 10]
    assert cut.known_since_ms == START + 2 * HOUR


def test_old_minutes_and_hours_are_dropped_and_the_size_stays() -> None:
    records = [trend("a", 0, START + day * DAY, (1, 0), day + 1) for day in range(60)]
    sizes = folded([size("a", 0, 60), size("a", 1, 0), *records])
    fold = sizes._segments["a"]._history
    assert (len(fold._minutes._chunks), len(fold._hours._chunks)) == (2, 31)
    found = sizes.trend("a", DAY, START + 30 * DAY, None)
    assert found is not None
    assert [step.members for step in found.steps] == list(range(31, 61))


def population(partition: int, day: int, **figures: int) -> PopulationRecord:
    names = ("known", "daily", "weekly", "monthly", "new", "returning", "resurrected", "dormant")
    values = {name: figures.get(name, 0) for name in names}
    found = PopulationFigures(day_ms=START + day * DAY, **values)
    return PopulationRecord(partition, 2, 0, START + day * DAY, found)


def test_population_is_summed_over_the_partitions() -> None:
    assert SegmentSizes(2).population() is None
    sizes = folded([population(0, 0, known=10, daily=1, monthly=4, dormant=6)])
    found = sizes.population()
    assert found is not None
    assert (found.known, found.stickiness, found.complete) == (10, 0.25, False)
    sizes.apply(*published(population(1, 1, known=5, daily=2, monthly=2, dormant=3)))
    found = sizes.population()
    assert found is not None
    assert (found.known, found.daily, found.monthly, found.stickiness) == (15, 3, 6, 0.5)
    assert (found.day_ms, found.complete) == (START + DAY, False)  # the other partition is a day behind
    sizes.apply(*published(population(0, 1, known=10)))
    found = sizes.population()
    assert found is not None
    assert (found.known, found.complete) == (15, True)
    assert sizes.keys == []
