"""The engine: what is evaluated, at which instant, in which order, and the resulting changes.

See ``SPEC.md#events``, ``SPEC.md#time`` and ``SPEC.md#changes``.
"""

from __future__ import annotations

from typing import Any

import pytest

from segops.testing import Customer, Flip

from .helpers import MONDAY as T
from .helpers import D, H, S

# -- instants of evaluation ---------------------------------------------------------------------


def test_event_in_order_is_evaluated_at_its_own_time() -> None:
    customer = Customer(a={"did": "A"})
    assert customer.did("A", T) == [Flip("entered", "a", T)]


def test_late_event_is_evaluated_at_the_clock() -> None:
    customer = Customer(T + 10 * S, a={"did": "A"})
    assert customer.did("A", T) == [Flip("entered", "a", T + 10 * S)]


def test_event_behind_its_profile_is_evaluated_at_the_latest_event() -> None:
    customer = Customer(T, a={"did": "A"})
    customer.did("B", T + 10 * S)
    assert customer.did("A", T + 5 * S) == [Flip("entered", "a", T + 10 * S)]


def test_event_ahead_of_the_clock_is_evaluated_at_its_own_time() -> None:
    customer = Customer(T, a={"did": "A"})
    assert customer.did("A", T + 10 * S) == [Flip("entered", "a", T + 10 * S)]


def test_late_event_counts_at_its_event_time() -> None:
    customer = Customer(two={"did": "A", "count": {"gte": 2}, "within": "10s"})
    customer.did("A", T + 9 * S)
    assert customer.did("A", T) == [Flip("entered", "two", T + 9 * S)]
    assert customer.wait(T + D) == [Flip("exited", "two", T + 10 * S)]


def test_late_event_rewrites_no_published_change() -> None:
    customer = Customer(none={"did_not": "A", "within": "10s"})
    assert customer.did("Seen", T) == [Flip("entered", "none", T)]
    assert customer.did("B", T + 8 * S) == []
    assert customer.did("A", T + S) == [Flip("exited", "none", T + 8 * S)]
    assert customer.wait(T + D) == [Flip("entered", "none", T + 11 * S)]


def test_due_timer_fires_before_an_event_of_the_same_instant() -> None:
    customer = Customer(a={"did": "A", "within": "10s"})
    customer.did("A", T)
    assert customer.did("A", T + 10 * S) == [
        Flip("exited", "a", T + 10 * S),
        Flip("entered", "a", T + 10 * S),
    ]


def test_event_just_before_a_timer_keeps_the_membership() -> None:
    customer = Customer(a={"did": "A", "within": "10s"})
    customer.did("A", T)
    assert customer.did("A", T + 10 * S - 1) == []
    assert customer.profile.due_ms == T + 20 * S - 1


def test_change_by_time_before_an_event_has_reason_time_and_no_event_id() -> None:
    customer = Customer(a={"did": "A", "within": "10s"}, b={"did": "B"})
    customer.did("A", T)
    passed, caused = customer.send("B", T + 60 * S, message_id="m-b").changes
    assert (passed.segment_key, passed.reason, passed.event_id) == ("a", "time", None)
    assert passed.occurred_at == T + 10 * S
    assert (caused.segment_key, caused.reason, caused.event_id) == ("b", "event", "m-b")
    assert caused.occurred_at == T + 60 * S


def test_change_occurs_at_its_own_instant_however_late_the_timer_fires() -> None:
    customer = Customer(a={"did": "A", "within": "10s"})
    customer.did("A", T)
    assert customer.wait(T + 1_000 * D) == [Flip("exited", "a", T + 10 * S)]


def test_timer_does_not_fire_a_millisecond_early() -> None:
    customer = Customer(a={"did": "A", "within": "10s"})
    customer.did("A", T)
    assert customer.wait(T + 10 * S - 1) == []
    assert customer.wait(T + 10 * S) == [Flip("exited", "a", T + 10 * S)]


def test_clock_jump_evaluates_every_edge_in_order() -> None:
    customer = Customer(
        one={"did": "A", "count": {"eq": 1}, "within": "10s"},
        two={"did": "A", "count": {"gte": 2}, "within": "10s"},
        few={"did": "A", "count": {"lte": 2}, "within": "10s"},
    )
    for offset in range(3):
        customer.did("A", T + offset * S)
    assert customer.member_of == {"two"}
    assert customer.wait(T + D) == [
        Flip("entered", "few", T + 10 * S),
        Flip("entered", "one", T + 11 * S),
        Flip("exited", "two", T + 11 * S),
        Flip("exited", "one", T + 12 * S),
    ]


def test_membership_that_began_and_ended_between_two_ticks_publishes_both_changes() -> None:
    customer = Customer(rule={"did": "A", "between": {"from": "20s", "to": "10s"}})
    assert customer.did("A", T) == []
    assert customer.wait(T + D) == [
        Flip("entered", "rule", T + 10 * S),
        Flip("exited", "rule", T + 20 * S),
    ]


def test_time_alone_can_make_a_rule_true() -> None:
    customer = Customer(calm={"did": "A", "count": {"lte": 1}, "within": "10s"})
    assert customer.did("A", T) == [Flip("entered", "calm", T)]
    assert customer.did("A", T + S) == [Flip("exited", "calm", T + S)]
    assert customer.wait(T + D) == [Flip("entered", "calm", T + 10 * S)]


def test_repeated_tick_changes_nothing() -> None:
    customer = Customer(a={"did": "A", "within": "10s"})
    customer.did("A", T)
    assert len(customer.wait(T + 10 * S)) == 1
    assert customer.wait(T + 10 * S) == []


def test_profile_is_evaluated_from_its_first_event_on() -> None:
    customer = Customer(T, never={"did_not": "A"}, known={"known_for": "10s"})
    assert customer.wait(T + D) == []
    assert customer.did("B", T + 2 * D) == [Flip("entered", "never", T + 2 * D)]


# -- flips_at and due -----------------------------------------------------------------------------


def flips(customer: Customer, name: str, time_ms: int, **properties: Any) -> dict[str, int | None]:
    return {c.segment_key: c.flips_at for c in customer.send(name, time_ms, **properties).changes}


def test_flips_at_is_the_flip_of_the_whole_rule_not_of_its_first_leaf() -> None:
    customer = Customer(
        either={"any": [{"did": "A", "within": "10s"}, {"did": "A", "within": "30s"}]},
        both={"all": [{"did": "A", "within": "10s"}, {"did": "A", "within": "30s"}]},
        odd={"not": {"all": [{"did": "A", "within": "10s"}, {"did": "B"}]}},
        ever={"any": [{"did": "A", "within": "10s"}, {"did": "A"}]},
    )
    assert flips(customer, "A", T) == {
        "either": T + 30 * S,
        "both": T + 10 * S,
        "odd": None,
        "ever": None,
    }


def test_flips_at_skips_edges_that_cancel_out() -> None:
    # At 10 s one leaf ends while another begins; the rule holds until 20 s.
    handover = {"any": [{"did": "A", "within": "10s"}, {"did": "A", "between": {"from": "20s", "to": "10s"}}]}
    customer = Customer(rule=handover)
    assert flips(customer, "A", T) == {"rule": T + 20 * S}
    assert customer.wait(T + D) == [Flip("exited", "rule", T + 20 * S)]


def test_untimed_rule_has_no_flip_and_no_timer() -> None:
    customer = Customer(rule={"did": "A"})
    assert flips(customer, "A", T) == {"rule": None}
    assert customer.profile.due_ms is None


def test_exit_carries_the_instant_of_the_next_entry() -> None:
    customer = Customer(calm={"did_not": "A", "within": "10s"})
    customer.did("Seen", T)
    assert flips(customer, "A", T + S) == {"calm": T + 11 * S}


def test_due_ms_is_the_earliest_flip_of_all_segments() -> None:
    customer = Customer(long={"did": "A", "within": "1h"}, short={"did": "A", "within": "1m"})
    customer.did("A", T)
    assert customer.profile.due_ms == T + 60 * S
    customer.wait(T + 60 * S)
    assert customer.profile.due_ms == T + H


# -- known_for, traits ------------------------------------------------------------------------------


def test_known_for_begins_at_the_earliest_event_even_if_late() -> None:
    customer = Customer(known={"known_for": "10s"})
    assert customer.did("A", T) == []
    assert customer.profile.due_ms == T + 10 * S
    customer.did("A", T - 4 * S)
    assert customer.profile.due_ms == T + 6 * S
    assert customer.did("A", T - 60 * S) == [Flip("entered", "known", T)]
    assert customer.wait(T + D) == []


def test_trait_value_with_the_later_event_time_wins() -> None:
    customer = Customer(gold={"trait": "tier", "is": {"eq": "gold"}})
    assert customer.did("identify", T, traits={"tier": "gold"}) == [Flip("entered", "gold", T)]
    assert customer.did("identify", T - 1, traits={"tier": "tin"}) == []
    assert customer.did("identify", T, traits={"tier": "tin"}) == [Flip("exited", "gold", T)]


def test_null_removes_a_trait_and_a_late_value_does_not_restore_it() -> None:
    customer = Customer(
        gone={"trait": "tier", "is": {"exists": False}}, other={"trait": "tier", "is": {"ne": "gold"}}
    )
    assert customer.did("identify", T, traits={"tier": "tin"}) == [Flip("entered", "other", T)]
    assert customer.did("identify", T + 1, traits={"tier": None}) == [
        Flip("entered", "gone", T + 1),
        Flip("exited", "other", T + 1),
    ]
    assert customer.did("identify", T, traits={"tier": "tin"}) == []
    assert customer.profile.traits == {}


def test_each_trait_has_its_own_event_time() -> None:
    customer = Customer(a={"trait": "a", "is": {"eq": 1}}, b={"trait": "b", "is": {"eq": 1}})
    customer.did("identify", T, traits={"a": 1})
    assert customer.did("identify", T - 1, traits={"a": 2, "b": 1}) == [Flip("entered", "b", T)]
    assert customer.member_of == {"a", "b"}


def test_negated_predicate_holds_on_a_missing_trait() -> None:
    customer = Customer(
        not_gold={"not": {"trait": "tier", "is": {"eq": "gold"}}},
        ne_gold={"trait": "tier", "is": {"ne": "gold"}},
    )
    customer.did("A", T)
    assert customer.member_of == {"not-gold"}


def test_nested_trait_is_read_by_its_path() -> None:
    customer = Customer(oslo={"trait": "address.city", "is": {"eq": "Oslo"}})
    assert customer.did("A", T, traits={"address": {"city": "Oslo"}}) == [Flip("entered", "oslo", T)]
    assert customer.did("A", T + 1, traits={"address": "Oslo"}) == [Flip("exited", "oslo", T + 1)]


def test_date_trait_flips_its_segment_at_the_exact_millisecond() -> None:
    customer = Customer(renew={"trait": "ends", "is": {"in_next": "10s"}})
    assert customer.did("identify", T, traits={"ends": "2025-10-13T00:01:00Z"}) == []
    assert customer.wait(T + D) == [Flip("entered", "renew", T + 50 * S), Flip("exited", "renew", T + 60 * S)]


# -- several segments ---------------------------------------------------------------------------------


def test_referring_segments_are_evaluated_after_their_references_three_deep() -> None:
    rules = {
        "third": {"all": [{"in_segment": "second"}, {"did": "C"}]},
        "second": {"all": [{"in_segment": "first"}, {"did": "B"}]},
        "first": {"did": "A", "within": "10s"},
    }
    customer = Customer(**rules)
    customer.did("C", T)
    customer.did("B", T)
    assert customer.did("A", T) == [
        Flip("entered", "first", T),
        Flip("entered", "second", T),
        Flip("entered", "third", T),
    ]
    assert customer.wait(T + D) == [
        Flip("exited", "first", T + 10 * S),
        Flip("exited", "second", T + 10 * S),
        Flip("exited", "third", T + 10 * S),
    ]


def test_negated_in_segment_enters_when_the_other_exits() -> None:
    customer = Customer(idle={"not": {"in_segment": "busy"}}, busy={"did": "A", "within": "10s"})
    assert customer.did("A", T) == [Flip("entered", "busy", T)]
    assert customer.wait(T + D) == [Flip("exited", "busy", T + 10 * S), Flip("entered", "idle", T + 10 * S)]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_at_least_counts_its_true_children(k: int) -> None:
    children = [{"did": "A"}, {"did": "B"}, {"did_not": "C"}]
    customer = Customer(rule={"at_least": {"k": k, "of": children}})
    customer.did("Seen", T)
    assert (customer.member_of == {"rule"}) is (k <= 1)
    customer.did("A", T)
    assert (customer.member_of == {"rule"}) is (k <= 2)
    customer.did("B", T)
    assert customer.member_of == {"rule"}
    customer.did("C", T)
    assert (customer.member_of == {"rule"}) is (k <= 2)
