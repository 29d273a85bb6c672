"""changed: a trait got another value in a window, to the millisecond."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.features import MAX_ENTRIES
from segops.core.rules import model
from segops.core.rules.parsing import Context, read_rule
from segops.core.values import format_instant
from segops.core.views.explain import explain
from segops.testing import Customer, Flip
from tests.rest import rest

from .helpers import MONDAY, D, H, M, S, issues_of

T = MONDAY
UPGRADE = {"changed": {"trait": "plan", "from": "free", "to": {"in": ["pro", "team"]}}, "within": "10s"}


def plans(customer: Customer, *values: Any, begin: int = T) -> list[Flip]:
    return [
        flip
        for n, plan in enumerate(values)
        for flip in customer.did("x", begin + n * S, traits={"plan": plan})
    ]


def test_change_counts_from_its_millisecond_to_the_end_of_the_window() -> None:
    customer = Customer(upgraded=UPGRADE)
    assert plans(customer, "free", "pro") == [Flip("entered", "upgraded", T + S)]
    assert customer.profile.due_ms == T + 11 * S
    assert customer.wait(T + 11 * S - 1) == []
    assert customer.wait(T + 11 * S) == [Flip("exited", "upgraded", T + 11 * S)]


@pytest.mark.parametrize(
    "values",
    [
        ("pro",),
        ("free", "free"),
        ("gold", "pro"),
        ("free", None, "pro"),
        ("free", "gold", "pro"),
        ("pro", "free"),
    ],
)
def test_other_changes_do_not_count(values: tuple[Any, ...]) -> None:
    assert plans(Customer(upgraded=UPGRADE), *values) == []


def test_value_that_is_set_again_is_no_change() -> None:
    customer = Customer(rule={"changed": {"trait": "plan", "to": "pro"}, "within": "10s"})
    assert plans(customer, "pro", "pro", "pro") == [Flip("entered", "rule", T)]
    assert customer.wait(T + D) == [Flip("exited", "rule", T + 10 * S)]


def test_numbers_are_compared_by_value_and_kind() -> None:
    customer = Customer(rule={"changed": {"trait": "plan", "from": {"exists": True}}})
    assert plans(customer, 1, 1.0) == []
    assert plans(customer, True, begin=T + H) == [Flip("entered", "rule", T + H)]


def test_missing_counts_as_a_value_on_both_sides() -> None:
    customer = Customer(
        set_first={"changed": {"trait": "plan", "from": {"exists": False}}, "within": "10s"},
        removed={"changed": {"trait": "plan", "to": {"exists": False}}, "within": "10s"},
    )
    assert plans(customer, None, "a", None) == [
        Flip("entered", "set-first", T + S),
        Flip("entered", "removed", T + 2 * S),
    ]


def test_late_event_makes_a_change_and_undoes_another() -> None:
    customer = Customer(upgraded={"changed": {"trait": "plan", "from": "free", "to": "pro"}})
    plans(customer, "gold", "pro")
    assert customer.did("x", T + 500, traits={"plan": "free"}) == [Flip("entered", "upgraded", T + S)]
    assert customer.did("x", T + 600, traits={"plan": "gold"}) == [Flip("exited", "upgraded", T + S)]


def test_path_reads_below_the_trait() -> None:
    customer = Customer(moved={"changed": {"trait": "address.city", "from": "Oslo"}})
    customer.did("x", T, traits={"address": {"city": "Oslo", "street": "a"}})
    assert customer.did("x", T + 1, traits={"address": {"city": "Oslo", "street": "b"}}) == []
    assert customer.did("x", T + 2, traits={"address": "Rome"}) == [Flip("entered", "moved", T + 2)]


def test_window_in_the_past_holds_once_for_each_change() -> None:
    window = {"between": {"from": "3s", "to": "2s"}}
    customer = Customer(rule={"changed": {"trait": "plan", "to": "b"}, **window})
    plans(customer, "b", "a", "a", "a", "b")
    assert customer.wait(T + M) == [
        Flip("entered", "rule", T + 6 * S),
        Flip("exited", "rule", T + 7 * S),
    ]


def test_day_and_fixed_windows() -> None:
    customer = Customer(
        today={"changed": {"trait": "plan", "to": "b"}, "calendar": {"this": "day", "zone": "Europe/Paris"}},
        until={"changed": {"trait": "plan", "to": "b"}, "until": "2025-10-13T00:00:01Z"},
    )
    assert plans(customer, "a", "b") == [Flip("entered", "today", T + S)]
    assert customer.wait(T + 3 * D) == [Flip("exited", "today", T + 22 * H)]


@rest
def test_oldest_of_very_many_values_are_forgotten() -> None:
    customer = Customer(rule={"changed": {"trait": "plan", "to": "first"}})
    assert plans(customer, "first") == [Flip("entered", "rule", T)]
    for number in range(MAX_ENTRIES):
        customer.send("x", T + 1 + number, traits={"plan": number})
    assert customer.member_of == set()
    assert all(len(state.times) == MAX_ENTRIES for state in customer.profile.features.values())  # type: ignore[union-attr]


def test_history_is_shared_with_has_been() -> None:
    held = {"has_been": {"trait": "plan", "is": {"eq": "pro"}}, "for": "10s"}
    customer = Customer(upgraded=UPGRADE, held=held)
    plans(customer, "pro")
    assert len(customer.profile.features) == 1


def test_explanation_shows_when_the_trait_last_changed() -> None:
    customer = Customer(upgraded=UPGRADE)
    plans(customer, "free", "pro", "pro")
    node = explain(customer.engine.segments, customer.profile, T + 2 * S).segments[0].rule
    assert (node.label, node.threshold) == (
        "trait plan changed from = free to in [pro, team] within 10s",
        "from = free to in [pro, team]",
    )
    assert (node.value, node.holds, node.changes_at) == (format_instant(T + S), True, T + 11 * S)


def test_unreadable_values_are_counted_where_both_sides_have_a_kind() -> None:
    customer = Customer(rule={"changed": {"trait": "age", "from": {"lt": 18}, "to": {"gte": 18}}})
    skips = customer.send("x", T, traits={"age": "old"}).skipped
    assert [(skip.path, skip.found) for skip in skips] == [("age", "text")]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"changed": {"trait": "plan"}}, "when.changed: expected from, to or both"),
        ({"changed": "plan"}, "when.changed: expected a map with trait"),
        ({"changed": {"from": "a"}}, "when.changed: expected a map with trait"),
        ({"changed": {"trait": "plan", "from": "a", "too": "b"}}, "when.changed.too: unknown key"),
        ({"changed": {"trait": "plan", "to": None}}, "when.changed.to.eq: expected a number"),
        ({"changed": {"trait": "plan", "to": {"in_last": "1d"}}}, "when.changed.to: a change is decided"),
        ({"changed": {"trait": "plan", "from": "a", "to": "a"}}, "when.changed: never holds"),
        (
            {"changed": {"trait": "plan", "to": "a"}, "within": "0d"},
            "when.within: expected a duration above 0",
        ),
        ({"changed": {"trait": "plan", "to": "a"}, "for": "1d"}, "when.for: unknown key"),
    ],
)
def test_invalid_changed_is_refused_with_the_reason(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found


def test_true_and_one_are_different_values() -> None:
    customer = Customer(rule={"changed": {"trait": "plan", "from": 1, "to": True}})
    assert plans(customer, 1, True) == [Flip("entered", "rule", T + S)]


def test_either_kind_of_value_on_both_sides_is_accepted() -> None:
    node = read_rule(
        {"changed": {"trait": "p", "from": {"exists": True}, "to": {"exists": True}}}, "when", Context()
    )
    assert isinstance(node, model.Changed)
