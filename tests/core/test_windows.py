"""Windows: which events count, to the millisecond, at both ends."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.windows import Calendar, period
from segops.testing import at

from .helpers import MONDAY as T
from .helpers import D, H, S, holds_at

CALENDAR_DAY = {"calendar": {"this": "day", "zone": "Europe/Paris"}}


def counts(window: dict[str, Any], time_ms: int, now_ms: int) -> bool:
    """Return whether an event of ``time_ms`` counts at ``now_ms``; all aggregates must agree."""
    event = ("A", time_ms, {"p": 7})
    before = ("Nothing", time_ms)
    nodes = [
        {"did": "A", **window},
        {"sum": "p", "of": "A", "is": {"eq": 7}, **window},
        {"avg": "p", "of": "A", "is": {"exists": True}, **window},
        {"min": "p", "of": "A", "is": {"eq": 7}, **window},
        {"max": "p", "of": "A", "is": {"eq": 7}, **window},
        {"distinct": "p", "of": "A", "is": {"eq": 1}, **window},
        {"latest": "p", "of": "A", "is": {"eq": 7}, **window},
        {"earliest": "p", "of": "A", "is": {"eq": 7}, **window},
        {"not": {"did_not": "A", **window}},
        {"did": "A", "count": {"gte": 1, "lt": 300}, **window},
    ]
    verdicts = {holds_at(node, now_ms, before, event) for node in nodes}
    assert len(verdicts) == 1, [holds_at(node, now_ms, before, event) for node in nodes]
    return verdicts.pop()


def first_and_last(window: dict[str, Any], time_ms: int, first: int | None, last: int | None) -> None:
    if first is not None:
        assert counts(window, time_ms, first)
        if first > time_ms:
            assert not counts(window, time_ms, first - 1)
    if last is not None:
        assert counts(window, time_ms, last)
        assert not counts(window, time_ms, last + 1)


def test_within_counts_an_event_until_just_before_its_time_plus_the_length() -> None:
    first_and_last({"within": "48h"}, T, T, T + 48 * H - 1)


def test_shortest_window_is_the_millisecond_of_the_event() -> None:
    first_and_last({"within": "1ms"}, T, T, T)


def test_between_counts_an_event_from_to_until_from() -> None:
    first_and_last({"between": {"from": "90d", "to": "30d"}}, T, T + 30 * D, T + 90 * D - 1)


def test_between_can_end_now() -> None:
    first_and_last({"between": {"from": "90d", "to": "0d"}}, T, T, T + 90 * D - 1)


@pytest.mark.parametrize(
    ("window", "time", "expected"),
    [
        ({"since": "2025-10-13"}, T, True),
        ({"since": "2025-10-13"}, T - 1, False),
        ({"until": "2025-10-13"}, T - 1, True),
        ({"until": "2025-10-13"}, T, False),
        ({"since": "2025-10-13", "until": "2025-10-14"}, T, True),
        ({"since": "2025-10-13", "until": "2025-10-14"}, T + D - 1, True),
        ({"since": "2025-10-13", "until": "2025-10-14"}, T + D, False),
        ({"since": "2025-10-13T02:00:00+02:00"}, T, True),
        ({}, 0, True),
        ({}, -10 * D, True),
    ],
)
def test_fixed_window_includes_its_start_and_excludes_its_end(
    window: dict[str, Any], time: int, expected: bool
) -> None:
    assert counts(window, time, time) is expected
    assert counts(window, time, T + 400 * D) is expected


@pytest.mark.parametrize(
    ("this", "zone", "inside", "start", "end"),
    [
        ("day", "UTC", "2025-10-15T12:00:00Z", "2025-10-15", "2025-10-16"),
        ("week", "UTC", "2025-10-15T12:00:00Z", "2025-10-13", "2025-10-20"),
        ("week", "UTC", "2025-10-13T00:00:00Z", "2025-10-13", "2025-10-20"),
        ("week", "UTC", "2025-10-19T23:59:59.999Z", "2025-10-13", "2025-10-20"),
        ("month", "UTC", "2025-12-31T23:59:59.999Z", "2025-12-01", "2026-01-01"),
        ("month", "UTC", "2024-02-29T12:00:00Z", "2024-02-01", "2024-03-01"),
        ("year", "UTC", "2025-01-01T00:00:00Z", "2025-01-01", "2026-01-01"),
        # Paris: 30 March 2025 has 23 hours, 26 October 2025 has 25.
        ("day", "Europe/Paris", "2025-03-30T12:00:00Z", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"),
        ("day", "Europe/Paris", "2025-10-26T12:00:00Z", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"),
        ("day", "Europe/Paris", "2025-10-26T00:30:00Z", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"),
        ("day", "Europe/Paris", "2025-10-26T01:30:00Z", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"),
        ("week", "Europe/Paris", "2025-10-26T12:00:00Z", "2025-10-19T22:00:00Z", "2025-10-26T23:00:00Z"),
        ("month", "Europe/Paris", "2025-10-31T22:59:59.999Z", "2025-09-30T22:00:00Z", "2025-10-31T23:00:00Z"),
        # New York: 9 March 2025 has 23 hours, 2 November 2025 has 25.
        ("day", "America/New_York", "2025-03-09T12:00:00Z", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"),
        ("day", "America/New_York", "2025-11-02T12:00:00Z", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"),
        ("year", "America/New_York", "2025-12-31T23:00:00Z", "2025-01-01T05:00:00Z", "2026-01-01T05:00:00Z"),
        # Kathmandu is five hours and three quarters ahead; in Cairo clocks change at midnight.
        ("day", "Asia/Kathmandu", "2025-10-15T12:00:00Z", "2025-10-14T18:15:00Z", "2025-10-15T18:15:00Z"),
        ("day", "Africa/Cairo", "2025-04-25T12:00:00Z", "2025-04-24T22:00:00Z", "2025-04-25T21:00:00Z"),
        ("day", "Africa/Cairo", "2025-10-30T20:30:00Z", "2025-10-29T21:00:00Z", "2025-10-30T22:00:00Z"),
        ("day", "Africa/Cairo", "2025-10-30T21:30:00Z", "2025-10-29T21:00:00Z", "2025-10-30T22:00:00Z"),
    ],
)
def test_calendar_period_follows_the_time_zone(
    this: str, zone: str, inside: str, start: str, end: str
) -> None:
    calendar = Calendar(this, zone)
    assert period(calendar, at(inside)) == (at(start), at(end))
    assert period(calendar, at(start)) == (at(start), at(end))
    assert period(calendar, at(end) - 1) == (at(start), at(end))
    assert period(calendar, at(end))[0] == at(end)


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("Europe/Paris", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"),
        ("America/New_York", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"),
    ],
)
def test_event_counts_until_its_calendar_day_ends(zone: str, start: str, end: str) -> None:
    window = {"calendar": {"this": "day", "zone": zone}}
    first_and_last(window, at(start), at(start), at(end) - 1)
    first_and_last(window, at(end) - 1, at(end) - 1, at(end) - 1)
    assert not counts(window, at(start) - 1, at(start))


def test_late_event_counts_in_the_window_of_its_event_time() -> None:
    now = T + 10 * S
    late = ("A", T + 1)
    for expected, length in ((False, "9999ms"), (True, "10s")):
        assert holds_at({"did": "A", "within": length}, now, ("Now", now), late) is expected


def test_late_event_of_yesterday_does_not_count_today() -> None:
    midnight = at("2025-10-14T22:00:00Z")
    rule = {"did": "A", **CALENDAR_DAY}
    assert not holds_at(rule, midnight, ("Now", midnight), ("A", midnight - 1))
    assert holds_at(rule, midnight + 1, ("Now", midnight + 1), ("A", midnight))


def test_late_event_can_enter_between_immediately() -> None:
    rule = {"did": "A", "between": {"from": "10s", "to": "5s"}}
    assert holds_at(rule, T + 5 * S, ("Now", T + 5 * S), ("A", T))
    assert not holds_at(rule, T + 5 * S, ("Now", T + 5 * S), ("A", T + 1))
    assert not holds_at(rule, T + 10 * S, ("Now", T + 10 * S), ("A", T))
