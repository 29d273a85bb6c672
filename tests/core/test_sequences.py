"""Sequences (``SPEC.md#sequence``): order, deadlines, breaks and comparisons, to the millisecond."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.features.sequence import MAX_LINKS
from segops.core.values import MAX_MS
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import Customer, Flip

from .helpers import MONDAY, issues_of

T = MONDAY
M, H = 60_000, 3_600_000

CART: dict[str, Any] = {
    "sequence": [
        {"did": "Product Added"},
        {"did": "Checkout Started", "within": "30m"},
        {"did_not": "Order Completed", "within": "1h"},
    ],
    "within": "7d",
}


def test_deadline_enters_without_an_event_and_the_window_ends_the_membership() -> None:
    customer = Customer(stuck=CART)
    customer.did("Product Added", T)
    assert customer.did("Checkout Started", T + 30 * M) == []
    assert customer.wait(T + 90 * M - 1) == []
    assert customer.wait(T + 90 * M) == [Flip("entered", "stuck", T + 90 * M)]
    assert customer.wait(T + 168 * H) == [Flip("exited", "stuck", T + 168 * H)]


def test_step_a_millisecond_after_its_within_does_not_match() -> None:
    customer = Customer(stuck=CART)
    customer.did("Product Added", T)
    customer.did("Checkout Started", T + 30 * M + 1)
    assert customer.wait(T + 3 * H) == []


def test_forbidden_event_breaks_a_sequence_up_to_the_deadline_only() -> None:
    for order_ms, entered in ((T + 10 * M + H, False), (T + 10 * M + H + 1, True)):
        customer = Customer(stuck=CART)
        customer.did("Product Added", T)
        customer.did("Checkout Started", T + 10 * M)
        customer.did("Order Completed", order_ms)
        customer.wait(T + 3 * H)
        assert customer.member_of == ({"stuck"} if entered else set())


def test_late_forbidden_event_within_the_deadline_exits_the_member() -> None:
    customer = Customer(stuck=CART)
    customer.did("Product Added", T)
    customer.did("Checkout Started", T + 10 * M)
    assert customer.wait(T + 2 * H) == [Flip("entered", "stuck", T + 70 * M)]
    assert customer.did("Order Completed", T + 20 * M) == [Flip("exited", "stuck", T + 2 * H)]


def test_any_combination_of_events_may_match() -> None:
    rule = {"sequence": [{"did": "A"}, {"did_not": "X"}, {"did": "B"}]}
    customer = Customer(rule=rule)
    for number, name in enumerate("AXAB"):
        found = customer.did(name, T + number)
    assert found == [Flip("entered", "rule", T + 3)]


def test_inner_did_not_forbids_only_until_its_deadline() -> None:
    rule = {"sequence": [{"did": "A"}, {"did_not": "X", "within": "10s"}, {"did": "B"}]}
    for at_ms, member in ((T + 10_000, False), (T + 10_001, True)):
        customer = Customer(rule=rule)
        customer.did("A", T)
        customer.did("X", at_ms)
        customer.did("B", T + 60_000)
        assert customer.member_of == ({"rule"} if member else set())


def test_simultaneous_events_are_ordered_by_arrival() -> None:
    rule = {"sequence": [{"did": "A"}, {"did": "B"}]}
    right, wrong = Customer(rule=rule), Customer(rule=rule)
    right.did("A", T)
    assert right.did("B", T) == [Flip("entered", "rule", T)]
    wrong.did("B", T)
    assert wrong.did("A", T) == []


def test_strict_forbids_events_in_between() -> None:
    customer = Customer(rule={"sequence": [{"did": "A"}, {"did": "B"}], "strict": True})
    for number, name in enumerate(["A", "page", "B"]):
        assert customer.did(name, T + number) == []
    customer.did("A", T + 10)
    assert customer.did("B", T + 11) == [Flip("entered", "rule", T + 11)]


def test_step_can_require_the_value_of_an_earlier_step() -> None:
    same = {"where": {"product_id": {"same_as": 1}}}
    rule = {
        "sequence": [
            {"did": "Viewed"},
            {"did": "Added", **same},
            {"did_not": "Bought", **same, "within": "1h"},
        ]
    }
    customer = Customer(rule=rule)
    customer.did("Viewed", T, product_id="p1")
    customer.did("Viewed", T + 1, product_id="p2")
    customer.did("Added", T + 2, product_id="p1")
    customer.did("Bought", T + 3, product_id="p2")
    assert customer.wait(T + 2 + H) == [Flip("entered", "rule", T + 2 + H)]
    customer.did("Bought", T + 4, product_id="p1")
    assert customer.member_of == set()


def test_missing_value_equals_no_value() -> None:
    rule = {"sequence": [{"did": "A"}, {"did": "B", "where": {"p": {"same_as": 1}}}]}
    customer = Customer(rule=rule)
    customer.did("A", T)
    assert customer.did("B", T + 1) == []


def test_sequence_state_is_bounded_and_survives_storage() -> None:
    customer = Customer(rule={"sequence": [{"did": "A"}, {"did": "B"}]})
    for number in range(MAX_LINKS + 50):
        customer.did("A", T + number)
    (state,) = decode_profile(encode_profile(customer.profile)).features.values()
    assert len(state.links) == MAX_LINKS  # type: ignore[union-attr]
    customer.profile = decode_profile(encode_profile(customer.profile))
    assert customer.did("B", T + 10_000) == [Flip("entered", "rule", T + 10_000)]
    assert customer.profile.due_ms is None and MAX_MS > T


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"sequence": []}, "when.sequence: expected a list of 1 to 16 steps"),
        ({"sequence": [{"did_not": "A"}]}, "when.sequence[0]: expected the first step to be a did"),
        (
            {"sequence": [{"did": "A"}, {"did_not": "B"}]},
            "when.sequence[1]: missing within: a did_not at the end",
        ),
        ({"sequence": [{"did": "A"}, {"did": "B", "count": 2}]}, "when.sequence[1].count: unknown key"),
        (
            {"sequence": [{"did": "A"}, {"done": "B"}]},
            "when.sequence[1]: expected a map with either did or did_not",
        ),
        ({"sequence": [{"did": "A"}], "within": "0d"}, "when.within: expected a duration above 0"),
        ({"sequence": [{"did": "A"}], "strict": 1}, "when.strict: expected true or false"),
        (
            {"sequence": [{"did": "A"}, {"did": "B", "where": {"p": {"same_as": 2}}}]},
            "when.sequence[1].where.p.same_as: expected only the number of an earlier did step",
        ),
        (
            {"sequence": [{"did": "A", "where": {"d": {"in_next": "3d"}}}]},
            "when.sequence[0].where.d: a step is decided when its event arrives",
        ),
    ],
)
def test_invalid_sequence_is_rejected_with_the_reason(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found
