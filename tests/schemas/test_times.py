"""When an event happened: which of its times counts, how they are written, and what is clamped."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core import operators
from segops.core.errors import RejectedEvent
from segops.core.values import format_instant, parse_instant
from segops.schemas.events import Routed, route
from segops.schemas.identifying import DEFAULT, IdentityLimits
from segops.testing import at

NOW = at("2026-06-01")
RECORD_MS = NOW - 7
STAMP = "2026-03-01T09:00:00Z"
#: The sender's clock is an hour fast: sent at 11:00 by its own clock, received at 10:00.
FAST = {
    "originalTimestamp": "2026-03-01T10:59:58Z",
    "sentAt": "2026-03-01T11:00:00Z",
    "receivedAt": "2026-03-01T10:00:00Z",
}


def routed(
    repairs: Counter[str] | None = None,
    limits: IdentityLimits = DEFAULT,
    default_ms: int | None = RECORD_MS,
    **times: Any,
) -> Routed:
    value = msgspec.json.encode({"type": "page", "userId": "u1", **times})
    return route(value, now_ms=NOW, default_time_ms=default_ms, limits=limits, repairs=repairs)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"timestamp": STAMP}, STAMP),
        ({"timestamp": "2026-03-01"}, "2026-03-01T00:00:00Z"),
        # A readable timestamp stands, whatever the others say.
        ({"timestamp": STAMP, **FAST}, STAMP),
        ({"timestamp": "2020-01-01T00:00:00Z", **FAST}, "2020-01-01T00:00:00Z"),
        ({"timestamp": STAMP, "originalTimestamp": "2026-03-01T10:00:00Z"}, STAMP),
        # Without one the sender's clock is corrected.
        (FAST, "2026-03-01T09:59:58Z"),
        ({**FAST, "timestamp": None}, "2026-03-01T09:59:58Z"),
        ({**FAST, "timestamp": ""}, "2026-03-01T09:59:58Z"),
        ({**FAST, "timestamp": "soon"}, "2026-03-01T09:59:58Z"),
        ({**FAST, "receivedAt": "2026-03-02T11:00:00Z"}, "2026-03-02T10:59:58Z"),
        # Not by less than ten seconds: that is transit.
        ({**FAST, "receivedAt": "2026-03-01T11:00:09.999Z"}, "2026-03-01T10:59:58Z"),
        ({**FAST, "receivedAt": "2026-03-01T11:00:10Z"}, "2026-03-01T11:00:08Z"),
        ({**FAST, "receivedAt": "2026-03-01T10:59:50.001Z"}, "2026-03-01T10:59:58Z"),
        ({**FAST, "receivedAt": "2026-03-01T10:59:50Z"}, "2026-03-01T10:59:48Z"),
        # Not where one of the three is missing or cannot be read: then in this order.
        ({**FAST, "sentAt": "never"}, "2026-03-01T10:59:58Z"),
        ({**FAST, "receivedAt": None}, "2026-03-01T10:59:58Z"),
        ({**FAST, "originalTimestamp": 5}, "2026-03-01T11:00:00Z"),
        ({"originalTimestamp": STAMP, "sentAt": "2026-03-01T10:00:00Z"}, STAMP),
        ({"sentAt": STAMP, "receivedAt": "2026-03-01T10:00:00Z"}, STAMP),
        ({"receivedAt": STAMP}, STAMP),
        ({}, format_instant(RECORD_MS)),
        ({"sentAt": "", "receivedAt": 17}, format_instant(RECORD_MS)),
    ],
)
def test_event_time_precedence(times: dict[str, Any], expected: str) -> None:
    # Some are ahead of their receivedAt; what is clamped to it is tested below.
    assert routed(limits=IdentityLimits(max_ahead_ms=10**12), **times).time_ms == at(expected)


def test_minimum_clock_skew_is_configurable() -> None:
    times = {**FAST, "receivedAt": "2026-03-01T11:00:01Z"}
    assert routed(**times).time_ms == at("2026-03-01T10:59:58Z")
    for skew in (0, 1_000):
        assert routed(limits=IdentityLimits(min_skew_ms=skew), **times).time_ms == at("2026-03-01T10:59:59Z")
    assert routed(limits=IdentityLimits(min_skew_ms=1_001), **times).time_ms == at("2026-03-01T10:59:58Z")


@pytest.mark.parametrize("odd", ["", " ", "2026-03-01T10: 00: 05.000Z", 1_772_359_205_000, 0.5, [], {}, True])
@pytest.mark.parametrize(
    ("field", "kind"),
    [("originalTimestamp", "original_timestamp"), ("sentAt", "sent_at"), ("receivedAt", "received_at")],
)
def test_unreadable_secondary_time_does_not_reject_the_event(odd: Any, field: str, kind: str) -> None:
    for others in ({"timestamp": STAMP}, {}):
        repairs: Counter[str] = Counter()
        found = routed(repairs, **others, **{field: odd})
        assert found.time_ms == (at(STAMP) if others else RECORD_MS)
        assert repairs == {kind: 1}


@pytest.mark.parametrize("odd", ["", "  ", 0, False, [], {}])
def test_empty_timestamp_counts_as_missing(odd: Any) -> None:
    repairs: Counter[str] = Counter()
    assert routed(repairs, timestamp=odd).time_ms == RECORD_MS
    assert repairs == {"timestamp": 1}
    assert routed(timestamp=odd, sentAt=STAMP).time_ms == at(STAMP)


@pytest.mark.parametrize(
    "odd", ["yesterday", "01/03/2026", 1_772_359_205_000, "1772359205", ["x"], {"$date": 5}]
)
def test_unreadable_timestamp_is_replaced_only_by_the_original(odd: Any) -> None:
    """What was sent or received then may have happened long before: an import keeps its own times."""
    repairs: Counter[str] = Counter()
    assert routed(repairs, timestamp=odd, originalTimestamp=STAMP).time_ms == at(STAMP)
    assert repairs == {"timestamp": 1}
    for others in ({}, {"sentAt": STAMP, "receivedAt": STAMP}, {"originalTimestamp": "yesterday"}):
        with pytest.raises(RejectedEvent) as caught:
            routed(timestamp=odd, **others)
        assert caught.value.reason == "bad_time"


def test_event_without_any_time_is_rejected() -> None:
    with pytest.raises(RejectedEvent) as caught:
        routed(default_ms=None, sentAt="never")
    assert caught.value.reason == "no_time"


def test_valid_and_missing_times_are_not_counted_as_repairs() -> None:
    repairs: Counter[str] = Counter()
    for times in (FAST, {"timestamp": STAMP, **FAST}, {}, {"timestamp": None, "sentAt": None}):
        routed(repairs, **times)
    assert not repairs


# -- clamped -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamp", "expected", "clamped"),
    [
        ("2026-03-01T10:05:00Z", "2026-03-01T10:05:00Z", False),
        ("2026-03-01T10:05:00.001Z", "2026-03-01T10:00:00Z", True),
        ("2026-05-01T00:00:00Z", "2026-03-01T10:00:00Z", True),
        ("2026-03-01T11:04:00+01:00", "2026-03-01T10:04:00Z", False),
        ("2026-03-01T12:06:00+02:00", "2026-03-01T10:00:00Z", True),
        ("2026-02-28", "2026-02-28", False),
    ],
)
def test_event_time_is_clamped_to_receipt(stamp: str, expected: str, clamped: bool) -> None:
    found = routed(timestamp=stamp, receivedAt="2026-03-01T10:00:00Z")
    assert (found.time_ms, found.clamped) == (at(expected), clamped)


def test_maximum_time_ahead_of_receipt_is_configurable() -> None:
    times = {"timestamp": "2026-03-01T10:00:01Z", "receivedAt": "2026-03-01T10:00:00Z"}
    assert routed(limits=IdentityLimits(max_ahead_ms=1_000), **times).clamped is False
    assert routed(limits=IdentityLimits(max_ahead_ms=999), **times).clamped is True


def test_a_corrected_time_is_clamped_as_well() -> None:
    ahead = {**FAST, "originalTimestamp": "2026-03-01T12:00:00Z"}  # an hour after it was sent
    assert routed(**ahead) == Routed("user_id:u1", at("2026-03-01T10:00:00Z"), clamped=True)


def test_future_receipt_is_clamped_to_the_wall_clock() -> None:
    times = {"timestamp": "2027-01-01T00:00:00Z", "receivedAt": "2027-01-01T00:00:00Z"}
    assert routed(**times) == Routed("user_id:u1", NOW, clamped=True)


@pytest.mark.parametrize("receivedAt", ["", "later", 7, None])
def test_unreadable_receipt_does_not_clamp(receivedAt: Any) -> None:
    assert routed(timestamp=STAMP, receivedAt=receivedAt).time_ms == at(STAMP)


# -- written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-01T10:00:05.120Z",
        "2026-03-01t10:00:05.120z",
        "2026-03-01T10:00:05.120z",
        "2026-03-01 10:00:05.120",
        "2026-03-01 10:00:05.120Z",
        "2026-03-01 10:00:05.120 UTC",
        "2026-03-01 10:00:05.120 utc",
        "2026-03-01T10:00:05.120UTC",
        "2026-03-01 10:00:05.120000 UTC",
        "2026-03-01 12:00:05.120 +0200",
        "2026-03-01 10:00:05.120+00",
        "2026-03-01t11:00:05.120+01:00",
        " 2026-03-01T10:00:05.120Z ",
        "20260301t100005.120z",
    ],
)
def test_instant_notations(written: str) -> None:
    assert parse_instant(written) == at("2026-03-01T10:00:05.120Z")
    assert routed(timestamp=written).time_ms == at("2026-03-01T10:00:05.120Z")


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-01T10: 00: 05.000Z",
        "2026-02-30t10:00:00z",
        "2026-03-01 10:00:05 CET",
        "UTC",
        "2026-03-01 UTC UTC",
        "10:00:05 UTC",
        "1772359205",
        " " * 30_000,
        "2026-03-01t" + " " * 30_000 + "10:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_invalid_instants(written: str) -> None:
    assert parse_instant(written) is None


def test_first_and_last_instants_can_be_formatted() -> None:
    for written in ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"):
        assert format_instant(parse_instant(written) or 0) == written


def test_rule_dates_parse_like_event_dates() -> None:
    before = operators.Predicate((("before", at("2026-03-01T10:00:06Z")),))
    assert before.holds("2026-03-01 10:00:05 UTC", 0)
    born = "1990-03-01 10:00:05 utc"
    assert operators.next_anniversary(born, "UTC", NOW) == at("2027-03-01T10:00:05Z")


instants = st.integers(at("0001-01-01"), at("9999-12-31")).map(format_instant)
anything = st.one_of(
    st.none(), instants, st.sampled_from(("", "x", 5, 1e300, "0001-01-01T00:00:00+01:00", [], {"a": 1}))
)


@given(anything, anything, anything, anything)
def test_any_times_give_a_valid_instant_or_a_reason(
    stamp: Any, original: Any, sent: Any, received: Any
) -> None:
    try:
        found = routed(timestamp=stamp, originalTimestamp=original, sentAt=sent, receivedAt=received)
    except RejectedEvent as refused:
        assert refused.reason == "bad_time"
        return
    assert format_instant(found.time_ms)
    assert found.time_ms <= NOW + DEFAULT.max_ahead_ms
    arrived = parse_instant(received) if isinstance(received, str) else None
    assert arrived is None or found.time_ms <= arrived + DEFAULT.max_ahead_ms
