"""Violations counted by kind, and plans tried on past events."""

from __future__ import annotations

import json

import pytest

from segops.core.errors import UserError
from segops.schemas.identifying import DEFAULT
from segops.tracking import violations
from segops.tracking.compiler import Verdict, Violation
from segops.tracking.events import check
from segops.tracking.trying import Trial
from segops.tracking.violations import Example, ViolationTally, decode, encode, summed

from .helpers import order_plan, plan_of

MISSING = Violation("missing", "properties.revenue", "a value", "nothing")
TYPE = Violation("type", "properties.revenue", "number", "string")


def verdict(*found: Violation) -> Verdict:
    return Verdict("Order Completed", list(found), rejected=False)


def test_violations_are_counted_by_kind_until_they_are_taken() -> None:
    tally = ViolationTally()
    tally.add("website", verdict(MISSING, TYPE), Example("m1"), now_ms=5)
    tally.add("website", verdict(MISSING), Example("m2"), now_ms=7)
    taken = tally.take(1)
    assert [(each.reason, each.count, each.first_ms, each.last_ms, each.message_id) for each in taken] == [
        ("missing", 2, 5, 7, "m1")
    ]
    assert [(each.reason, each.count) for each in tally.take(9)] == [("type", 1)]
    assert tally.take(9) == []
    tally.put_back(taken)
    assert tally.take(9) == taken
    tally.add("website", verdict(MISSING), Example("m3"), now_ms=9)
    assert [(each.count, each.message_id) for each in tally.take(9)] == [(1, "m3")]
    assert [(each.reason, each.count) for each in tally.totals()] == [("missing", 3), ("type", 1)]


def test_kinds_are_bounded_and_no_violation_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(violations, "MAX_KINDS", 3)
    tally = ViolationTally()
    for n in range(10):
        tally.add("website", verdict(MISSING._replace(path=f"p{n}")), Example(f"m{n}"), now_ms=n)
    assert [(each.path, each.count) for each in tally.totals()] == [
        ("(others)", 7),
        ("p0", 1),
        ("p1", 1),
        ("p2", 1),
    ]
    assert sum(each.count for each in tally.take(9)) == 10


def test_items_of_lists_are_one_kind() -> None:
    tally = ViolationTally()
    tally.add(
        "website",
        verdict(TYPE._replace(path="items[0].a"), TYPE._replace(path="items[12].a")),
        Example(""),
        now_ms=1,
    )
    assert [(each.path, each.count) for each in tally.take(9)] == [("items[].a", 2)]


def test_payload_is_published_once_and_not_kept() -> None:
    tally = ViolationTally()
    tally.add("website", verdict(MISSING), Example("m", {"a": 1}), now_ms=1)
    assert tally.totals()[0].payload is None
    assert tally.take(1)[0].payload == {"a": 1}


def test_records_of_one_kind_are_summed() -> None:
    tally = ViolationTally()
    records = []
    for n in range(3):
        tally.add("website", verdict(MISSING), Example(f"m{n}"), now_ms=n)
        records += tally.take(1)
    read = [found for each in records if (found := decode(encode(each))) is not None]
    assert [(each.count, each.first_ms, each.last_ms) for each in summed(read)] == [(3, 0, 2)]
    assert (decode(b"{}"), decode(None), decode(b"\xff")) == (None, None, None)


def event(**fields: object) -> bytes:
    return json.dumps(
        {"type": "track", "event": "Order Completed", "messageId": "m", "userId": "u", **fields}
    ).encode()


@pytest.mark.parametrize(
    ("value", "action"),
    [
        (event(properties={"revenue": 1, "currency": "EUR"}), None),
        (event(properties={"revenue": 1, "currency": "EUR"}, type=" TRACK "), None),
        (event(properties={"revenue": "1", "currency": "EUR"}), "rejected"),
        (event(properties=None), "rejected"),
        (event(), "rejected"),
        (event(properties="x"), "rejected"),
        (event(type="page"), None),
        (event(properties={"revenue": 1, "currency": "EUR", "x": "\ud800"}), None),
        (b"[]", None),
    ],
)
def test_event_is_read_as_the_engine_reads_it(value: bytes, action: str | None) -> None:
    found, _ = check(order_plan(violations="reject"), value)
    assert (None if found is None else found.action) == action


def test_trial_counts_what_would_become_of_events() -> None:
    trial = Trial([plan_of("unknown_events: warn\nevents: {Order Completed: }")], DEFAULT, now_ms=0)
    assert trial.source_of(None) == trial.source_of("website") == "website"
    trial.add("website", event())
    trial.add("website", event(event="Other"))
    trial.add("website", event(userId=None))
    assert dict(trial.counts) == {"conforming": 1, "warned": 1, "invalid": 1}
    assert [each.reason for each in trial.violations()] == ["unknown_event"]
    with pytest.raises(UserError, match="expected one of website, got app"):
        trial.source_of("app")
