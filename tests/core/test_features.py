"""Aggregates over events are exact in both directions, in any order of arrival, within stated bounds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from segops.core.features import CAPACITIES, MAX_ENTRIES, sliding
from segops.core.features.feature import PANES
from segops.core.features.states import EventTimes, Sums, Values
from segops.core.skips import Skip
from segops.testing import Customer, Flip

from .helpers import MONDAY as T
from .helpers import H, S, holds_at

BOUND = 256


@pytest.fixture
def small_bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lower the number of entries at which folding begins, to keep the tests of it short."""
    assert vars(sliding)["MAX_ENTRIES"] == MAX_ENTRIES == 4_096
    monkeypatch.setattr(sliding, "MAX_ENTRIES", BOUND)
    yield


def total(value: Any, **window: Any) -> dict[str, Any]:
    return {"sum": "p", "of": "A", "is": {"eq": value}, **window}


def test_rising_and_falling_count_crosses_every_comparison() -> None:
    rules = {
        "gte2": {"gte": 2},
        "gt2": {"gt": 2},
        "eq2": {"eq": 2},
        "lt2": {"lt": 2},
        "lte2": {"lte": 2},
        "ne2": {"ne": 2},
        "two_three": {"between": [2, 3]},
        "in02": {"in": [0, 2]},
        "not_in02": {"not_in": [0, 2]},
    }
    customer = Customer(**{key: {"did": "A", "count": c, "within": "10s"} for key, c in rules.items()})
    by_count = [
        {"lt2", "lte2", "ne2", "in02"},
        {"lt2", "lte2", "ne2", "not-in02"},
        {"gte2", "eq2", "lte2", "two-three", "in02"},
        {"gte2", "gt2", "ne2", "two-three", "not-in02"},
        {"gte2", "gt2", "ne2", "not-in02"},
    ]
    customer.did("Seen", T)
    assert customer.member_of == {"lt2", "lte2", "ne2", "in02"}
    for number in range(1, 5):
        customer.did("A", T + number)
        assert customer.member_of == {k for k in by_count[number]}
    for number in range(3, -1, -1):
        gone = T + (4 - number) + 10 * S
        customer.wait(gone - 1)
        assert customer.member_of == by_count[number + 1]
        customer.wait(gone)
        assert customer.member_of == by_count[number]


@pytest.mark.parametrize("threshold", [*CAPACITIES, 2, 5, 63, 256, 300])
def test_count_is_exact_around_every_capacity(threshold: int) -> None:
    customer = Customer(rule={"did": "A", "count": {"gte": threshold}, "within": "1h"})
    many = threshold + 20
    for number in range(many):
        customer.did("A", T + number)
        assert (customer.member_of == {"rule"}) is (number + 1 >= threshold)
    leaves = T + (many - threshold) + H
    assert customer.profile.due_ms == leaves
    assert customer.wait(T + 2 * H) == [Flip("exited", "rule", leaves)]


def test_only_the_latest_times_that_a_threshold_needs_are_stored() -> None:
    customer = Customer(rule={"did": "A", "count": {"gte": 3}, "within": "1h"})
    for number in range(1_000):
        customer.did("A", T + number)
    (state,) = customer.profile.features.values()
    assert isinstance(state, EventTimes)
    assert state.times == [T + 996, T + 997, T + 998, T + 999]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"sum": "p", "of": "A", "is": {"eq": 9}}, True),
        ({"avg": "p", "of": "A", "is": {"eq": 3}}, True),
        ({"min": "p", "of": "A", "is": {"eq": 1}}, True),
        ({"max": "p", "of": "A", "is": {"eq": 5}}, True),
        ({"distinct": "p", "of": "A", "is": {"eq": 3}}, True),
        ({"latest": "p", "of": "A", "is": {"eq": 1}}, True),
        ({"earliest": "p", "of": "A", "is": {"eq": 3}}, True),
    ],
)
@pytest.mark.parametrize("window", [{}, {"within": "1h"}, {"between": {"from": "1h", "to": "0s"}}])
def test_aggregates_do_not_depend_on_order_of_arrival(
    node: dict[str, Any], expected: bool, window: dict[str, Any]
) -> None:
    events = [("A", T, {"p": 3}), ("A", T + 1, {"p": 5}), ("A", T + 2, {"p": 1})]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]):
        arrived = [("Seen", T + 2), *(events[i] for i in order)]
        assert holds_at({**node, **window}, T + 2, *arrived) is expected, order


@pytest.mark.parametrize("window", [{}, {"within": "1h"}, {"between": {"from": "1h", "to": "0s"}}])
def test_arrival_order_breaks_ties_of_earliest_and_latest(
    window: dict[str, Any],
) -> None:
    events = [("A", T, {"p": "first"}), ("A", T, {"p": "second"}), ("A", T, {"p": "third"})]
    assert holds_at({"earliest": "p", "of": "A", "is": {"eq": "first"}, **window}, T, *events)
    assert holds_at({"latest": "p", "of": "A", "is": {"eq": "third"}, **window}, T, *events)


def test_simultaneous_events_leave_a_window_together() -> None:
    customer = Customer(rule={"did": "A", "count": {"gte": 1}, "within": "1s"})
    customer.did("A", T)
    customer.did("A", T)
    assert customer.wait(T + S) == [Flip("exited", "rule", T + S)]


def test_duplicate_event_counts_once() -> None:
    customer = Customer(twice={"did": "A", "count": {"gte": 2}}, sum=total(7))
    customer.did("A", T, message_id="one", p=7)
    assert customer.send("A", T + 1, message_id="one", p=7).duplicates
    assert customer.member_of == {"sum"}


@pytest.mark.parametrize("window", [{}, {"within": "1d"}, {"between": {"from": "1d", "to": "0s"}}])
def test_sum_of_decimals_is_exact(window: dict[str, Any]) -> None:
    events = [("A", T, {"p": 0.1}), ("A", T + 1, {"p": 0.2})]
    assert holds_at(total(0.3, **window), T + 1, *events)
    assert holds_at({"avg": "p", "of": "A", "is": {"eq": 0.15}, **window}, T + 1, *events)


def test_mean_without_a_finite_decimal_is_compared_exactly() -> None:
    events = [("A", T, {"p": 1}), ("A", T, {"p": 0}), ("A", T, {"p": 0})]
    third = {"avg": "p", "of": "A"}
    assert holds_at({**third, "is": {"gt": 0.3333333333333333}}, T, *events)
    assert holds_at({**third, "is": {"lt": 0.3333333333333334}}, T, *events)


def test_sum_returns_to_zero_after_ten_thousand_values_expire() -> None:
    customer = Customer(zero=total(0, within="1m"), three=total(0.3, within="1m"))
    draw = random.Random(7)
    for number in range(10_000):
        customer.send("A", T + number * S, p=draw.choice([0.1, 19.99, -0.07, 1e-9, 1e25, 3]))
    after = T + 10_000 * S + 60 * S
    customer.wait(after)
    assert customer.member_of == {"zero"}
    customer.did("A", after, p=0.1)
    customer.did("A", after, p=0.2)
    assert customer.member_of == {"three"}


def test_sum_of_very_large_and_small_numbers_is_exact() -> None:
    events = [("A", T + i, {"p": p}) for i, p in enumerate((1e22, 0.1, -1e22))]
    assert holds_at(total(0.1, within="1h"), T + 2, *events)
    assert holds_at(total(0.1), T + 2, *events)


def test_sum_is_exact_after_its_oldest_value_expires() -> None:
    events = [("A", T, {"p": 1}), ("A", T + S, {"p": 1e28}), ("A", T + S, {"p": 0.1})]
    assert holds_at({"sum": "p", "of": "A", "is": {"gt": 1e28}, "within": "10s"}, T + 10 * S, *events)


def test_values_of_other_types_are_skipped_and_counted() -> None:
    customer = Customer(sum=total(5), most={"max": "p", "of": "A", "is": {"eq": 5}})
    customer.did("A", T, p=5)
    odd_values = {"text": "7", "boolean": True, "list": [1], "object": {"a": 1}}
    for found, odd in odd_values.items():
        assert customer.send("A", T + 1, p=odd).skipped == [Skip("A", "p", found)]
    assert not customer.send("A", T + 2, p=None).skipped
    assert customer.member_of == {"sum", "most"}


@pytest.mark.parametrize("window", [{}, {"within": "1h"}, {"between": {"from": "1h", "to": "0s"}}])
def test_without_events_sum_and_distinct_are_0_and_other_aggregates_missing(window: dict[str, Any]) -> None:
    seen = ("Seen", T)
    of = {"of": "A", **window}
    assert holds_at({"sum": "p", "is": {"eq": 0}, **of}, T, seen)
    assert holds_at({"distinct": "p", "is": {"lt": 1}, **of}, T, seen)
    for function in ("avg", "min", "max", "latest", "earliest"):
        assert holds_at({function: "p", "is": {"exists": False}, **of}, T, seen)
        assert not holds_at({function: "p", "is": {"ne": 1}, **of}, T, seen)


def test_distinct_separates_types_but_not_spellings_of_a_number() -> None:
    values = [20, 20.0, "20", True, 1, [1], {"a": 1}, None]
    customer = Customer(**{f"d{n}": {"distinct": "p", "of": "A", "is": {"eq": n}} for n in (5, 6, 7)})
    for number, value in enumerate(values):
        customer.did("A", T + number, p=value)
    assert customer.member_of == {"d6"}


def test_value_counts_as_distinct_until_its_last_event_expires() -> None:
    rule = {"distinct": "p", "of": "A", "is": {"gte": 2}, "within": "10s"}
    customer = Customer(rule=rule)
    customer.did("A", T, p="x")
    customer.did("A", T + S, p="y")
    customer.did("A", T + 5 * S, p="x")
    assert customer.profile.due_ms == T + 11 * S
    assert customer.wait(T + 20 * S) == [Flip("exited", "rule", T + 11 * S)]


def test_next_extreme_follows_when_an_extreme_expires() -> None:
    customer = Customer(rule={"max": "p", "of": "A", "is": {"eq": 3}, "within": "10s"})
    for offset, value in ((0, 9), (1, 3), (2, 1)):
        customer.did("A", T + offset * S, p=value)
    assert customer.wait(T + 60 * S) == [
        Flip("entered", "rule", T + 10 * S),
        Flip("exited", "rule", T + 11 * S),
    ]


def test_late_events_move_first_and_last() -> None:
    customer = Customer(
        old={"first": "A", "is": {"older_than": "10s"}}, fresh={"last": "A", "is": {"newer_than": "5s"}}
    )
    assert customer.did("A", T + 20 * S) == [Flip("entered", "fresh", T + 20 * S)]
    assert customer.did("A", T + 10 * S) == [Flip("entered", "old", T + 20 * S)]
    assert customer.wait(T + 25 * S - 1) == []
    assert customer.wait(T + 25 * S) == [Flip("exited", "fresh", T + 25 * S)]


@pytest.mark.usefixtures("small_bound")
@pytest.mark.parametrize(
    ("node", "last"),
    [
        ({"sum": "p", "of": "A", "is": {"gte": 60}}, 60),
        ({"did": "A", "count": {"gte": 300}}, 300),
    ],
)
def test_folded_entries_expire_at_most_one_pane_late(node: dict[str, Any], last: int) -> None:
    length, many = 64 * H, BOUND * 4
    customer = Customer(rule={**node, "within": "64h"})
    for number in range(many):
        customer.send("A", T + number * S, p=1)
    (state,) = customer.profile.features.values()
    assert isinstance(state, Sums)
    assert len(state.times) <= BOUND
    exact = T + (many - last) * S + length
    (left,) = customer.wait(T + 200 * H)
    assert exact <= left.occurred_at < exact + length // PANES
    # The latest entries are not folded, so a rule on that many is exact.
    assert (left.occurred_at == exact) is (last == 60)


@pytest.mark.usefixtures("small_bound")
def test_folded_sum_is_exact_before_any_entry_and_after_every_entry_expires() -> None:
    length, many = 64 * H, BOUND * 2
    customer = Customer(all=total(many, within="64h"), none=total(0, within="64h"))
    for number in range(many):
        customer.send("A", T + number * S, p=1)
    assert customer.member_of == {"all"}
    left, empty = customer.wait(T + 200 * H)
    assert left.segment == "all"
    assert T + length <= left.occurred_at < T + length + length // PANES
    assert empty == Flip("entered", "none", T + (many - 1) * S + length)


@pytest.mark.usefixtures("small_bound")
def test_earliest_stores_a_bounded_number_of_values() -> None:
    customer = Customer(rule={"earliest": "p", "of": "A", "is": {"eq": 0}, "within": "64h"})
    for number in range(BOUND * 3):
        customer.send("A", T + number * S, p=number)
    (state,) = customer.profile.features.values()
    assert isinstance(state, Values)
    assert len(state.times) <= BOUND
    assert customer.wait(T + 64 * H) == [Flip("exited", "rule", T + 64 * H)]


def test_date_condition_in_where_is_reevaluated_over_time() -> None:
    rule = {"did": "Booked", "where": {"departs": {"in_next": "10s"}}}
    customer = Customer(rule=rule)
    assert customer.did("Booked", T, departs="2025-10-13T00:01:00Z") == []
    assert customer.wait(T + 100 * S) == [
        Flip("entered", "rule", T + 50 * S),
        Flip("exited", "rule", T + 60 * S),
    ]


def test_equal_aggregates_of_segments_share_one_feature() -> None:
    same = {"did": "A", "within": "1h"}
    customer = Customer(
        one={**same, "count": {"gte": 3}},
        other={**same, "count": {"lte": 2}},
        named={"did": ["A"], "within": "60m", "count": {"eq": 2}},
    )
    customer.did("A", T)
    assert len(customer.profile.features) == 1
