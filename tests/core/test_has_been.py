"""has_been: traits that have had a value for a duration, to the millisecond."""

from __future__ import annotations

from typing import Any

import pytest

from segops.testing import Customer, Flip

from .helpers import MONDAY, issues_of

T = MONDAY
GOLD = {"has_been": {"trait": "plan", "is": {"eq": "gold"}}, "for": "10s"}


def test_has_been_holds_at_the_exact_end_of_its_duration() -> None:
    customer = Customer(gold=GOLD)
    assert customer.did("identify", T, traits={"plan": "gold"}) == []
    assert customer.profile.due_ms == T + 10_000
    assert customer.wait(T + 9_999) == []
    assert customer.wait(T + 10_000) == [Flip("entered", "gold", T + 10_000)]


def test_repeated_value_does_not_restart_has_been() -> None:
    customer = Customer(gold=GOLD)
    customer.did("identify", T, traits={"plan": "gold"})
    customer.did("identify", T + 6_000, traits={"plan": "gold"})
    assert customer.wait(T + 10_000) == [Flip("entered", "gold", T + 10_000)]


def test_interruption_restarts_has_been() -> None:
    customer = Customer(gold=GOLD)
    customer.did("identify", T, traits={"plan": "gold"})
    customer.did("identify", T + 5_000, traits={"plan": "free"})
    customer.did("identify", T + 6_000, traits={"plan": "gold"})
    assert customer.wait(T + 15_999) == []
    assert customer.wait(T + 16_000) == [Flip("entered", "gold", T + 16_000)]


def test_late_event_can_interrupt_has_been() -> None:
    customer = Customer(gold=GOLD)
    customer.did("identify", T, traits={"plan": "gold"})
    customer.did("identify", T + 8_000, traits={"plan": "gold"})
    assert customer.did("identify", T + 4_000, traits={"plan": None}) == []
    assert customer.wait(T + 17_999) == []
    assert customer.wait(T + 18_000) == [Flip("entered", "gold", T + 18_000)]


def test_missing_trait_counts_from_the_first_event() -> None:
    rule = {"has_been": {"trait": "email", "is": {"exists": False}}, "for": "10s"}
    customer = Customer(nameless=rule)
    customer.did("page", T)
    assert customer.wait(T + 10_000) == [Flip("entered", "nameless", T + 10_000)]
    assert customer.did("identify", T + 11_000, traits={"email": "a@b.c"}) == [
        Flip("exited", "nameless", T + 11_000)
    ]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"has_been": {"trait": "plan"}, "for": "1d"}, "when.has_been: expected a map with trait and is"),
        ({"has_been": {"trait": "plan", "is": {"eq": 1}}}, "when.for: expected a duration"),
    ],
)
def test_invalid_has_been_is_rejected_with_the_reason(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found
