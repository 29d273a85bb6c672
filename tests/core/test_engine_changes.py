"""The fields of a change, duplicates, failures, and changed definitions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.merge import REMEMBERED, REMEMBERED_MS
from segops.core.operators import OPERATORS
from segops.core.segments import SegmentSet
from segops.testing import Customer, Flip, flips, segments

from .helpers import MONDAY as T
from .helpers import D, H, S

HIGH_INTENT = {
    "all": [
        {"did": "Product Viewed", "count": {"gte": 3}, "within": "48h"},
        {"did_not": "Order Completed", "within": "48h"},
    ]
}

# -- fields of a change ---------------------------------------------------------------------------------


def test_change_has_every_field_of_the_contract() -> None:
    engine = Engine(segments(a={"did": "A", "within": "10s"}))
    profile = engine.new_profile("user_id:u1")
    event = Event("A", T, "m-1", {}, {"b": 1, "a": [None]}, "u1", "a1", "u1@example.com")
    (change,) = engine.on_event(profile, event, clock_ms=T).changes
    assert change.change_id == hashlib.sha256(b"user_id:u1|a|1").hexdigest()
    assert json.loads(change.traits_json) == {"a": [None], "b": 1}
    assert (change.user_id, change.anonymous_id, change.email) == ("u1", "a1", "u1@example.com")
    assert (change.profile_id, change.segment_key, change.segment_version) == ("user_id:u1", "a", 1)
    assert (change.action, change.member, change.reason) == ("entered", True, "event")
    assert (change.occurred_at, change.flips_at, change.event_id) == (T, T + 10 * S, "m-1")


def test_event_without_a_message_id_is_deduplicated_by_offset_but_not_named_in_changes() -> None:
    customer = Customer(a={"did": "A"})
    event = Event("A", T, "0:17", {}, named=False)
    (change,) = customer.engine.on_event(customer.profile, event, clock_ms=T).changes
    assert change.event_id is None
    assert customer.engine.on_event(customer.profile, event, clock_ms=T).duplicates


def test_changes_alternate_and_have_gapless_sequence_numbers() -> None:
    customer = Customer(
        recent={"did": "A", "within": "7s"},
        calm={"did": "A", "count": {"lt": 2}, "within": "20s"},
        not_calm={"not": {"in_segment": "calm"}},
    )
    changes = []
    for number in range(60):
        offset = number * (1 + number % 9) % 97
        changes += customer.send(
            "A", T + number * 3 * S - (number % 5) * S, message_id=f"m{offset}-{number}"
        ).changes
    changes += customer.engine.on_timer(customer.profile, clock_ms=T + D).changes
    assert [change.sequence for change in changes] == list(range(1, len(changes) + 1))
    assert len({change.change_id for change in changes}) == len(changes) > 20
    for key in ("recent", "calm", "not-calm"):
        members = [change.member for change in changes if change.segment_key == key]
        assert members == [number % 2 == 0 for number in range(len(members))]
    times = [change.occurred_at for change in changes]
    assert times == sorted(times)


# -- duplicates -------------------------------------------------------------------------------------


def test_duplicate_message_changes_nothing() -> None:
    customer = Customer(two={"did": "A", "count": {"gte": 2}})
    customer.send("A", T, message_id="one")
    again = customer.send("A", T + 1, message_id="one", traits={"x": 1})
    assert (again.duplicates, again.moved, again.changes) == (1, False, ())
    assert customer.profile.traits == {}
    assert customer.profile.latest_ms == T


def test_last_thousand_message_ids_are_remembered_however_old() -> None:
    customer = Customer()
    for number in range(REMEMBERED):
        customer.send("A", T + number * D, message_id=f"m{number}")
    assert customer.send("A", T + REMEMBERED * D, message_id="m0").duplicates
    customer.send("A", T + REMEMBERED * D, message_id="new")
    assert not customer.send("A", T + REMEMBERED * D, message_id="m0").duplicates
    assert customer.send("A", T + REMEMBERED * D, message_id="m2").duplicates


def test_message_ids_of_the_last_day_are_remembered_however_many() -> None:
    customer = Customer()
    for number in range(REMEMBERED * 2):
        customer.send("A", T, message_id=f"m{number}")
    customer.send("A", T + REMEMBERED_MS - 1, message_id="next day")
    assert customer.send("A", T + REMEMBERED_MS - 1, message_id="m0").duplicates
    customer.send("A", T + REMEMBERED_MS, message_id="a day later")
    assert not customer.send("A", T + REMEMBERED_MS, message_id="m0").duplicates
    assert len(customer.profile.seen) <= REMEMBERED + 1


# -- failures ------------------------------------------------------------------------------------------


def test_failing_rule_keeps_its_membership_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    customer = Customer(a={"did": "A", "within": "10s"}, trait={"trait": "x", "is": {"matches": "y"}})
    customer.did("A", T, traits={"x": "y"})
    assert customer.member_of == {"a", "trait"}

    def broken(_value: Any, _operand: Any, _now_ms: int) -> bool:
        raise ZeroDivisionError

    monkeypatch.setitem(OPERATORS, "matches", broken)
    result = customer.send("A", T + S, traits={"x": "n"})
    assert result.failures == ["trait"]
    assert not result.changes
    assert customer.member_of == {"a", "trait"}
    monkeypatch.undo()
    assert flips(customer.send("A", T + 2 * S, traits={"x": "n"})) == [Flip("exited", "trait", T + 2 * S)]


def test_rule_that_refers_to_a_failing_one_keeps_its_membership_and_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    customer = Customer(
        base={"trait": "x", "is": {"matches": "y"}},
        user={"all": [{"in_segment": "base"}, {"trait": "x", "is": {"exists": True}}]},
    )
    customer.did("A", T, traits={"x": "y"})
    assert customer.member_of == {"base", "user"}
    monkeypatch.setitem(OPERATORS, "matches", lambda *_: 1 / 0)
    assert customer.send("A", T + S, traits={"x": "n"}).failures == ["base", "user"]
    assert customer.member_of == {"base", "user"}


# -- definitions ---------------------------------------------------------------------------------------


def test_added_segment_is_evaluated_from_stored_state() -> None:
    customer = Customer(a={"did": "A"})
    customer.did("A", T, traits={"tier": "gold"})
    (change,) = customer.adopt(a={"did": "A"}, gold={"trait": "tier", "is": {"eq": "gold"}}).changes
    assert (change.segment_key, change.action, change.reason) == ("gold", "entered", "definition")
    assert (change.occurred_at, change.event_id) == (T, None)


def test_removed_segment_exits_its_members() -> None:
    customer = Customer(a={"did": "A"}, b={"did": "A"})
    customer.did("A", T)
    (change,) = customer.adopt(b={"did": "A"}).changes
    assert (change.segment_key, change.action, change.reason) == ("a", "exited", "definition")
    assert (change.sequence, change.flips_at) == (3, None)
    assert customer.member_of == {"b"}


def test_changed_segment_is_reevaluated_with_its_timer() -> None:
    customer = Customer(a={"did": "A", "within": "1h"})
    customer.did("A", T)
    customer.clock_ms = T + 10 * S
    (change,) = customer.adopt(a={"did": "A", "count": {"gte": 2}, "within": "1h"}).changes
    assert (change.action, change.occurred_at) == ("exited", T + 10 * S)
    assert customer.profile.due_ms is None


def test_changed_window_moves_the_timer() -> None:
    customer = Customer(a={"known_for": "1h"})
    customer.did("A", T)
    assert not customer.adopt(a={"known_for": "2h"}).changes
    assert customer.profile.due_ms == T + 2 * H


def test_unreferenced_features_are_deleted() -> None:
    customer = Customer(a={"did": "A"}, b={"did": "B"})
    customer.did("A", T)
    customer.did("B", T)
    customer.adopt(b={"did": "B"})
    assert len(customer.profile.features) == 1
    assert customer.member_of == {"b"}


def test_version_of_a_segment_set_does_not_depend_on_order() -> None:
    one, two = segments(a={"did": "A"}, b={"did": "B"}), segments(b={"did": "B"}, a={"did": "A"})
    assert one.version == two.version != segments(a={"did": "A"}, b={"did": "C"}).version
    assert Engine(one).new_profile("user_id:u1").evaluated_by == one.version


def test_without_segments_profiles_are_stored_and_nothing_changes() -> None:
    engine = Engine(SegmentSet.EMPTY)
    profile = engine.new_profile("user_id:u1")
    assert not engine.on_event(profile, Event("A", T, "m", {}), clock_ms=T).changes
    assert (profile.first_ms, profile.latest_ms, profile.due_ms) == (T, T, None)


# -- the example of the specification ---------------------------------------------------------------------


def test_high_intent_enters_at_the_third_view_and_exits_48_hours_after_the_first() -> None:
    customer = Customer(high_intent=HIGH_INTENT)
    assert customer.did("Product Viewed", T) == []
    assert customer.did("Product Viewed", T + H) == []
    assert customer.did("Product Viewed", T + 2 * H) == [Flip("entered", "high-intent", T + 2 * H)]
    assert customer.wait(T + 48 * H - 1) == []
    assert customer.wait(T + 48 * H) == [Flip("exited", "high-intent", T + 48 * H)]


def test_high_intent_exits_at_a_purchase_and_reenters_when_the_purchase_leaves_the_window() -> None:
    customer = Customer(high_intent=HIGH_INTENT)
    customer.did("Order Completed", T)
    for offset in (40, 41, 42):
        assert customer.did("Product Viewed", T + offset * H) == []
    assert customer.wait(T + 60 * H) == [Flip("entered", "high-intent", T + 48 * H)]
    assert customer.did("Order Completed", T + 60 * H) == [Flip("exited", "high-intent", T + 60 * H)]
    assert customer.wait(T + 300 * H) == []
