"""Scores are compared like numbers and change at the exact instant."""

from __future__ import annotations

from typing import Any

import pytest

from segops.testing import Customer, Flip

from .helpers import MONDAY, issues_of

T = MONDAY
DAY = 86_400_000


def test_recency_rises_at_whole_days_and_falls_at_an_event() -> None:
    customer = Customer(quiet={"score": "recency_days", "is": {"gte": 3}})
    customer.did("page", T)
    assert customer.profile.due_ms == T + 3 * DAY
    assert customer.wait(T + 3 * DAY - 1) == []
    assert customer.wait(T + 3 * DAY) == [Flip("entered", "quiet", T + 3 * DAY)]
    assert customer.did("page", T + 4 * DAY) == [Flip("exited", "quiet", T + 4 * DAY)]


def test_late_event_does_not_lower_recency() -> None:
    customer = Customer(quiet={"score": "recency_days", "is": {"gte": 3}})
    customer.did("page", T)
    customer.wait(T + 3 * DAY)
    assert customer.did("page", T - DAY) == []
    assert customer.member_of == {"quiet"}


@pytest.mark.parametrize(
    ("test", "days"),
    [
        ({"eq": 2}, [("entered", 2), ("exited", 3)]),
        ({"between": [1, 2.5]}, [("entered", 1), ("exited", 3)]),
        ({"gt": 1.5}, [("entered", 2)]),
        ({"in": [1, 4]}, [("entered", 1), ("exited", 2), ("entered", 4), ("exited", 5)]),
        ({"exists": False}, []),
        ({"eq": "2"}, []),
    ],
)
def test_every_number_operator_flips_at_the_exact_day(
    test: dict[str, Any], days: list[tuple[str, int]]
) -> None:
    customer = Customer(rule={"score": "recency_days", "is": test})
    customer.did("page", T)
    found = [(edge.action, edge.occurred_at) for edge in customer.wait(T + 30 * DAY)]
    assert found == [(action, T + day * DAY) for action, day in days]


def test_unknown_score_is_rejected() -> None:
    assert (
        issues_of({"score": "churn", "is": {"gte": 0.75}})[0]
        == "f: when.score: unknown score 'churn'; expected one of recency_days"
    )
