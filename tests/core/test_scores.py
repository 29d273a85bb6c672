"""Scores are compared like numbers and change at the exact instant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from segops.core.features import Feature
from segops.core.features.bands import Series
from segops.core.features.orders import OrdersReducer, Purchases, PurchaseTotals
from segops.core.operators import Predicate
from segops.core.scoring import SCORERS
from segops.core.scoring.rfm import Rfm
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


class OrderCount(msgspec.Struct, frozen=True):
    """A model with a parameter and a feature: the number of orders in a period."""

    period_ms: int

    @property
    def feature(self) -> Feature:
        return Rfm(Purchases(self.period_ms)).feature

    def value(self, read: PurchaseTotals, now_ms: int) -> int:
        return read.orders

    def next_edge(self, read: PurchaseTotals, tests: Iterable[Predicate], now_ms: int) -> None:
        return None

    def future(self, state: Any, now_ms: int) -> Series:
        return OrdersReducer(Purchases(self.period_ms)).future(state, now_ms)


def test_score_of_a_feature_is_stored_once_and_moves_with_events_and_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SCORERS, "orders_10d", OrderCount(10 * DAY))
    customer = Customer(
        many={"score": "orders_10d", "is": {"gte": 2}}, none={"score": "orders_10d", "is": {"eq": 0}}
    )
    assert len(customer.engine.segments.features) == 1
    assert customer.did("page", T) == [Flip("entered", "none", T)]
    assert customer.did("Order Completed", T, order_id="a", revenue=1) == [Flip("exited", "none", T)]
    assert customer.did("Order Completed", T + 1, order_id="b", revenue=1) == [Flip("entered", "many", T + 1)]
    assert customer.profile.due_ms == T + 10 * DAY
    assert customer.wait(T + 20 * DAY) == [
        Flip("exited", "many", T + 10 * DAY),
        Flip("entered", "none", T + 10 * DAY + 1),
    ]


def test_unknown_score_is_rejected() -> None:
    reason = "f: when.score: unknown score 'churn'; expected one of recency_days, p_alive, churn_risk"
    assert issues_of({"score": "churn", "is": {"gte": 0.75}})[0].startswith(reason)
