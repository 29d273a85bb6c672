"""Alerts evaluated on the records of partitions, against a recount of every minute from the changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.analytics.alert_board import AlertBoard, Entry, encode_entry, withdrawals
from segops.analytics.alert_log import AlertLog
from segops.core.rules.alerts import Alert
from segops.schemas.alerts import EVALUATED_KEY, AlertRecord, Evaluated, alert_key
from segops.schemas.sizes import EndedRecord, PopulationFigures, PopulationRecord, Published
from tests.analytics.recount import HOUR, MINUTE, START, Move, interleaved, published, size, trend
from tests.schemas.test_alert_block import alerts

#: (key of the alert, state, since, at, number, former)
Announced = tuple[bytes, str, int, int, int, int | None]
FALL = Alert("size", HOUR, 3_000, "-", floor=10)
MANY = Alert("entries", HOUR, at_most=5)


@st.composite
def histories(draw: Any) -> tuple[list[Move], int]:
    """Draw moves of one segment over at most three days in time order, and the number of partitions."""
    partitions = draw(st.integers(1, 3))
    moves: list[Move] = []
    members = [0] * partitions
    at_ms = START
    for _ in range(draw(st.integers(1, 25))):
        at_ms += draw(st.sampled_from([0, 20_000, MINUTE, 7 * MINUTE, HOUR, HOUR, 5 * HOUR]))
        partition = draw(st.integers(0, partitions - 1))
        number = draw(st.integers(-members[partition], 30).filter(bool))
        members[partition] += number
        reason = draw(st.sampled_from(["event", "time", "definition", "backfill"]))
        moves.append(Move("a", partition, at_ms, number, reason))
    return moves, partitions


def streams_of(moves: Sequence[Move], partitions: int, until_ms: int) -> list[list[Published]]:
    """Return what each partition publishes: its size, then each minute once it has ended, and that it has."""
    found = []
    for partition in range(partitions):
        mine = [move for move in moves if move.partition == partition]
        stream: list[Published] = [size("a", partition, 0, partitions=partitions, entered={})]
        members = 0
        for minute_ms in sorted({move.at_ms // MINUTE * MINUTE for move in mine}):
            entered: dict[str, int] = {}
            left: dict[str, int] = {}
            for move in mine:
                if minute_ms <= move.at_ms < minute_ms + MINUTE:
                    side = entered if move.number > 0 else left
                    side[move.reason] = side.get(move.reason, 0) + abs(move.number)
                    members += move.number
            record = trend("a", partition, minute_ms, (0, 0), members, partitions=partitions)
            stream.append(msgspec.structs.replace(record, entered=entered, left=left))
            ended_ms = minute_ms + MINUTE
            stream.append(EndedRecord(partition, partitions, 0, ended_ms, ended_ms))
        stream.append(EndedRecord(partition, partitions, 0, until_ms, until_ms))
        found.append(stream)
    return found


def applied(board: AlertBoard, records: Iterable[Published]) -> AlertBoard:
    for record in records:
        board.apply(*published(record))
    assert board.unreadable == 0
    return board


def evaluated(board: AlertBoard) -> list[Entry]:
    return [*chain.from_iterable(board.evaluate())]


def noted(log: AlertLog, entries: Iterable[Entry]) -> list[Announced]:
    """Apply what is published to the log of alerts; return what it tells."""
    announced: list[Announced] = []
    for entry in entries:
        log.apply(*encode_entry(entry))
        key, record = entry
        if isinstance(record, AlertRecord):
            announced.append((key, record.state, record.since_ms, record.at_ms, record.number, record.former))
    assert log.unreadable == 0
    return announced


# -- the recount -----------------------------------------------------------------------------------------


def recounted(moves: Sequence[Move], alert: Alert, until_ms: int) -> list[Announced]:
    """Return what an alert tells up to ``until_ms``, from all changes, at the end of every step.

    The first step is that of the first change.
    """
    announced: list[Announced] = []
    since_ms: int | None = None
    first_ms = (moves[0].at_ms // alert.step_ms + 1) * alert.step_ms
    for at_ms in range(first_ms, until_ms + 1, alert.step_ms):
        holds, number, former = verdict(moves, alert, at_ms)
        if holds != (since_ms is not None):
            state = "firing" if holds else "recovered"
            announced.append(
                (alert_key("a", alert), state, at_ms if since_ms is None else since_ms, at_ms, number, former)
            )
            since_ms = at_ms if holds else None
    return announced


def verdict(moves: Sequence[Move], alert: Alert, at_ms: int) -> tuple[bool, int, int | None]:
    from_ms = at_ms - alert.window_ms
    members = sum(move.number for move in moves if move.at_ms < at_ms)
    if alert.figure == "size":
        former = sum(move.number for move in moves if move.at_ms < from_ms)
        rise = (members - former) * 10_000
        wanted = alert.share * former
        beyond = {"+": rise >= wanted, "-": -rise >= wanted, "": abs(rise) >= wanted}[alert.direction]
        return former >= alert.floor and beyond, members, former
    if alert.figure == "members":
        number = members
    else:
        sign = 1 if alert.figure == "entries" else -1
        counted = [move for move in moves if move.reason not in ("definition", "backfill")]
        number = sum(max(0, sign * move.number) for move in counted if from_ms <= move.at_ms < at_ms)
    few = alert.at_least is not None and number < alert.at_least
    many = alert.at_most is not None and number > alert.at_most
    began_ms = min(move.at_ms for move in moves) // MINUTE * MINUTE
    is_full = alert.figure == "members" or from_ms >= began_ms
    return many or (few and is_full), number, None


ALERTS = st.lists(alerts(), min_size=1, max_size=3, unique=True)


@given(histories(), ALERTS, st.data())
def test_alerts_equal_a_recount_whatever_is_read_when_and_by_whom(
    history: tuple[list[Move], int], listed: list[Alert], data: Any
) -> None:
    """Evaluators are replaced at random: each reads all records again, and what its predecessor published."""
    moves, partitions = history
    until_ms = moves[-1].at_ms // MINUTE * MINUTE + data.draw(st.integers(1, 1_500)) * MINUTE
    streams = streams_of(moves, partitions, until_ms)
    records = interleaved(streams, data.draw(st.integers(0, 10)))
    log = AlertLog()
    announced: list[Announced] = []
    board, read = AlertBoard({"a": listed}, log, partitions), 0
    for end in [*sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=6))), len(records)]:
        if data.draw(st.booleans()):
            board = AlertBoard({"a": listed}, log, partitions)
            applied(board, data.draw(st.permutations(as_streams(records[:read])).map(flat)))
        applied(board, records[read:end])
        read = end
        entries = evaluated(board)
        if entries and data.draw(st.booleans()):  # dies before it publishes them, or after
            board = AlertBoard({"a": listed}, log, partitions)
            applied(board, records[:read])
            entries = evaluated(board)
        announced += noted(log, entries)
    assert log.evaluated == Evaluated(0, until_ms)
    for alert in listed:
        mine = [each for each in announced if each[0] == alert_key("a", alert)]
        assert mine == recounted(moves, alert, until_ms)


def as_streams(records: Sequence[Published]) -> list[list[Published]]:
    numbers = sorted({record.partition for record in records})
    return [[record for record in records if record.partition == number] for number in numbers]


def flat(streams: Iterable[Iterable[Published]]) -> list[Published]:
    return [record for stream in streams for record in stream]


# -- examples --------------------------------------------------------------------------------------------


def ended(minute: int, *, partitions: int = 1, generation: int = 0) -> list[Published]:
    """Return that all partitions have ended the minutes before the n-th."""
    until_ms = START + minute * MINUTE
    return [EndedRecord(number, partitions, generation, until_ms, until_ms) for number in range(partitions)]


def minute(number: int, flow: tuple[int, int], members: int, *, generation: int = 0) -> Published:
    return trend("a", 0, START + number * MINUTE, flow, members, partitions=1, generation=generation)


def population(partition: int, clock_ms: int) -> PopulationRecord:
    figures = PopulationFigures(START, *[0] * 8)
    return PopulationRecord(partition, 1, 0, clock_ms, figures)


def board_of(*listed: Alert, log: AlertLog | None = None, **options: Any) -> AlertBoard:
    return AlertBoard({"a": listed}, log or AlertLog(), 1, **options)


def announced_by(board: AlertBoard) -> list[tuple[str, int, int]]:
    """Return the states, the minutes since when, and the minutes of what a board tells."""
    return [
        (record.state, (record.since_ms - START) // MINUTE, (record.at_ms - START) // MINUTE)
        for _, record in evaluated(board)
        if isinstance(record, AlertRecord)
    ]


def test_a_fall_is_told_once_and_its_recovery_once() -> None:
    board = board_of(FALL)
    applied(board, [size("a", 0, 100, partitions=1), minute(0, (100, 0), 100), *ended(1)])
    assert announced_by(board) == []
    applied(board, [minute(70, (0, 30), 70), *ended(71)])
    entries = evaluated(board)
    key = alert_key("a", FALL)
    record = AlertRecord(
        f"a|size -30% over 1h floor 10|0|{START + 71 * MINUTE}",
        "a",
        "size -30% over 1h floor 10",
        "firing",
        START + 71 * MINUTE,
        START + 71 * MINUTE,
        70,
        100,
    )
    assert entries == [(key, record), (EVALUATED_KEY, Evaluated(0, START + 71 * MINUTE))]
    assert list(board.firing) == [record]
    applied(board, ended(130))
    assert announced_by(board) == []
    applied(board, ended(131))  # the size an hour before is 70, too
    assert announced_by(board) == [("recovered", 71, 131)]
    assert not board.firing
    assert evaluated(board) == []


def test_the_first_minute_is_evaluated_even_if_its_changes_cancel_out() -> None:
    board = board_of(Alert("members", at_least=1))
    applied(board, [size("a", 0, 1, partitions=1), minute(0, (1, 1), 0), minute(1, (1, 0), 1), *ended(3)])
    assert announced_by(board) == [("firing", 1, 1), ("recovered", 1, 2)]


def test_entries_by_a_publication_change_the_size_and_are_no_entries() -> None:
    board = board_of(MANY, Alert("members", at_most=50))
    (record,) = [minute(0, (100, 0), 100)]
    published_ = msgspec.structs.replace(record, entered={"backfill": 60, "definition": 40})
    applied(board, [size("a", 0, 100, partitions=1), published_, *ended(1)])
    assert [record.alert for record in firing_after(board)] == ["members at_most 50"]


def firing_after(board: AlertBoard) -> Sequence[AlertRecord]:
    evaluated(board)
    return list(board.firing)


def test_a_minute_is_evaluated_once_all_partitions_have_ended_it() -> None:
    board = AlertBoard({"a": [MANY]}, AlertLog(), 2)
    sizes = [size("a", number, 0, entered={}) for number in range(2)]
    applied(board, [*sizes, trend("a", 0, START, (9, 0), 9), ended(3, partitions=2)[0]])
    assert evaluated(board) == []
    applied(board, ended(1, partitions=2))
    assert announced_by(board) == [("firing", 1, 1)]
    assert board.until_ms == START + MINUTE


def test_alerts_begin_at_the_present_clock_where_none_were_evaluated() -> None:
    board = board_of(MANY, FALL)
    sizes = [size("a", 0, 10, partitions=1), population(0, START + 90 * MINUTE)]
    past = [minute(0, (9, 0), 9), minute(30, (4, 0), 13), minute(80, (0, 9), 4)]
    applied(board, [*sizes, *past, *ended(91)])
    assert announced_by(board) == [("firing", 91, 91)]  # of the size; the entries were too many before


@pytest.mark.parametrize(
    "sizes", [[], [size("a", 0, 9, partitions=1, state="building")], [size("a", 1, 9, partitions=2)]]
)
def test_a_segment_without_the_report_of_a_partition_or_its_history_is_not_evaluated(
    sizes: list[Published],
) -> None:
    board = board_of(MANY)
    applied(board, [*sizes, minute(0, (9, 0), 9), *ended(1)])
    assert announced_by(board) == []
    applied(board, [size("a", 0, 9, partitions=1), *ended(2)])
    assert announced_by(board) == [("firing", 2, 2)]


def test_a_retired_segment_is_not_evaluated() -> None:
    board = board_of(MANY)
    report = size("a", 0, 9, partitions=1)
    applied(board, [report, minute(0, (9, 0), 9)])
    board.apply(published(report)[0], None)
    applied(board, ended(1))
    assert announced_by(board) == []


def test_after_a_fresh_start_alerts_go_on_with_the_new_generation() -> None:
    log, board = AlertLog(), board_of(MANY)
    applied(board, [size("a", 0, 9, partitions=1), minute(50, (9, 0), 9), *ended(60)])
    noted(log, evaluated(board))
    again = [size("a", 0, 0, partitions=1, generation=1, entered={}), *ended(2, generation=1)]
    for later in (board, board_of(MANY, log=log)):
        applied(later, [*again, minute(70, (9, 0), 9)])  # of the former generation: ignored
        entries = evaluated(later)
        assert [record.state for _, record in entries if isinstance(record, AlertRecord)] == ["recovered"]
        assert entries[-1] == (EVALUATED_KEY, Evaluated(1, START + 2 * MINUTE))


@pytest.mark.parametrize(("oldest", "announced"), [(20, []), (5, [("firing", 66, 66)])])
def test_sizes_from_before_what_is_retained_are_unknown(oldest: int, announced: list[Any]) -> None:
    board = board_of(FALL, truncated=[0])
    other = trend("b", 0, START + oldest * MINUTE, (1, 0), 1, partitions=1)
    applied(board, [size("a", 0, 60, partitions=1), other, minute(65, (0, 40), 60), *ended(66)])
    assert announced_by(board) == announced


def test_members_without_a_retained_minute_are_those_of_the_size() -> None:
    known = size("a", 0, 7, partitions=1, entered={"unknown": 5, "event": 2})
    for options, number in (({}, 5), ({"truncated": [0]}, 7)):
        board = board_of(Alert("members", at_most=1), **options)
        applied(board, [known, *ended(1)])
        assert [record.number for record in firing_after(board)] == [number]


def test_records_that_are_repeated_after_a_crash_change_nothing() -> None:
    records = [
        size("a", 0, 9, partitions=1),
        minute(0, (9, 0), 9),
        *ended(1),
        minute(1, (1, 0), 10),
        *ended(2),
    ]
    once, twice = applied(board_of(MANY), records), applied(board_of(MANY), [*records, *records[1:]])
    assert evaluated(once) == evaluated(twice)


def test_unreadable_records_are_counted_and_those_of_other_segments_skipped() -> None:
    board = board_of(MANY)
    for key, value in (
        (b"a|x|0", b"{}"),
        (b"a|0|0", b"{}"),
        (b"$ended|0|0", b"x"),
        (b"b|0|0", b"x"),
        (None, b""),
    ):
        board.apply(key, value)
    assert board.unreadable == 3


# -- definitions that change -----------------------------------------------------------------------------


def log_with(firing: Mapping[str, Sequence[Alert]]) -> AlertLog:
    log = AlertLog()
    for segment, listed in firing.items():
        for alert in listed:
            key = alert_key(segment, alert)
            record = AlertRecord(f"{key.decode()}|0|7", segment, alert.text, "firing", 7, 7, 9)
            log.apply(*encode_entry((key, record)))
    log.apply(*encode_entry((EVALUATED_KEY, Evaluated(0, 60_000))))
    return log


def test_an_alert_that_is_no_longer_defined_is_withdrawn_and_forgotten() -> None:
    log = log_with({"a": [MANY, FALL], "b": [MANY]})
    entries = withdrawals(log, {"a": [FALL], "c": [MANY]})
    assert [(key, None if record is None else record.state) for key, record in entries] == [  # type: ignore[union-attr]
        (b"a|entries at_most 5 per 1h", "withdrawn"),
        (b"a|entries at_most 5 per 1h", None),
        (b"b|entries at_most 5 per 1h", "withdrawn"),
        (b"b|entries at_most 5 per 1h", None),
    ]
    record = entries[0][1]
    assert isinstance(record, AlertRecord) and (record.since_ms, record.at_ms) == (7, 60_000)
    noted(log, entries)
    assert list(log.latest) == ["a|size -30% over 1h floor 10"]
    assert withdrawals(log, {"a": [FALL]}) == []


def test_without_any_alert_nothing_is_left() -> None:
    log = log_with({"a": [MANY]})
    noted(log, withdrawals(log, {}))
    assert (log.latest, log.evaluated) == ({}, None)
    assert withdrawals(log, {}) == []


def test_the_log_lists_firing_alerts_in_pages() -> None:
    log = log_with({"a": [MANY], "b": [MANY], "c": [MANY]})
    key = alert_key("b", MANY)
    log.apply(*encode_entry((key, msgspec.structs.replace(log.latest[key.decode()], state="recovered"))))
    first = log.firing("", 1)
    assert ([each.segment_key for each in first.alerts], first.next) == (["a"], "a|entries at_most 5 per 1h")
    assert first.next is not None
    second = log.firing(first.next, 1)
    assert ([each.segment_key for each in second.alerts], second.next) == (["c"], None)
    assert [each.segment_key for each in log.view(firing=False).alerts] == ["a", "b", "c"]
    assert log.apply(b"d|x", b"{}") is None and log.unreadable == 1
