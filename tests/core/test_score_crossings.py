"""When a score of orders passes a number: at the first millisecond, found in few evaluations."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segops.core.features.purchases import PurchaseHistory
from segops.core.features.states import Orders
from segops.core.scoring import order_scores
from segops.core.scoring.buying import Buying
from segops.core.scoring.crossing import first_outside
from segops.core.scoring.order_scores import LATEST_MS, OrderScore, rank_among
from segops.core.scoring.spending import Spending
from segops.core.values import exact

DAY_MS = 86_400_000
FIRST_DAY = 20_000
MOVING = (
    "p_alive",
    "churn_risk",
    "expected_orders_30d",
    "expected_orders_90d",
    "expected_orders_365d",
    "ltv_90d",
    "ltv_365d",
)
_shapes = st.floats(0.1, 5.0)
_models = st.builds(Buying, _shapes, st.floats(3.0, 300.0), _shapes, _shapes, st.booleans())


def _history(days: int, last: int) -> PurchaseHistory:
    return PurchaseHistory(days, FIRST_DAY, FIRST_DAY + last, [], Orders(0, [], []))


@given(
    st.sampled_from(MOVING),
    _models,
    st.integers(0, 40),
    st.integers(0, 700),
    st.integers(0, 400 * DAY_MS),
    st.floats(0.0, 1.0),
    st.booleans(),
)
def test_a_crossing_is_at_the_first_millisecond(
    name: str, model: Buying, repeats: int, last: int, silence_ms: int, part: float, exactly: bool
) -> None:
    score = OrderScore(name, model, Spending(6.0, 4.0, 15.0))
    read = _history(1 + repeats, max(last, repeats) if repeats else 0)
    now_ms = read.last_day * DAY_MS + silence_ms
    begun, end = score.value(read, now_ms), score.value(read, now_ms + 3_000 * DAY_MS)
    number = round(begun + (end - begun) * part, 2 if part < 0.5 else 9)
    numbers = [exact(number)] if exactly else [number]
    view = (lambda value: Fraction(exact(value))) if exactly else (lambda value: value)
    crossing = score.next_crossing(read, numbers, now_ms, view)
    place = rank_among(numbers, view(begun))
    far = rank_among(numbers, view(score.value(read, LATEST_MS)))
    if crossing is None:
        assert far == place
        return
    around = range(max(crossing - 20, now_ms), min(crossing + 20, LATEST_MS))
    places = [rank_among(numbers, view(score.value(read, at))) == place for at in around]
    assert places == [at < crossing for at in around]


@given(st.sampled_from(MOVING), _models, st.integers(0, 20), st.integers(0, 300), st.floats(0.02, 0.98))
def test_a_crossing_takes_few_evaluations(
    name: str, model: Buying, repeats: int, silence: int, part: float
) -> None:
    score = OrderScore(name, model, Spending(6.0, 4.0, 15.0))
    read = _history(1 + repeats, 10 * repeats)
    now_ms = (read.last_day + silence) * DAY_MS
    begun, end = score.value(read, now_ms), score.value(read, now_ms + 3_000 * DAY_MS)
    assume(begun != end)
    known, counted = order_scores._VALUES[name], []

    def counting(*args: Any) -> Any:
        counted.append(1)
        return known(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(order_scores._VALUES, name, counting)
        score.next_crossing(read, [round(begun + (end - begun) * part, 3)], now_ms)
    assert len(counted) < 30


@given(st.integers(0, 10**9), st.integers(1, 10**15), st.integers(-(10**15), 10**15))
def test_the_first_integer_outside_is_found_from_any_guess(last: int, size: int, guess: int) -> None:
    assert first_outside(lambda at: at <= last, 0, size, guess) == (last + 1 if last < size else None)


@given(
    _models, st.integers(0, 30), st.integers(0, 300), st.integers(0, 3_000 * DAY_MS), st.integers(1, 10**9)
)
def test_scores_never_turn(model: Buying, repeats: int, last: int, age_ms: int, later_ms: int) -> None:
    read = _history(1 + repeats, max(last, repeats) if repeats else 0)
    now_ms = read.last_day * DAY_MS + age_ms
    for name in MOVING:
        score = OrderScore(name, model, Spending(6.0, 4.0, 15.0))
        one, other = score.value(read, now_ms), score.value(read, now_ms + later_ms)
        assert other >= one if name == "churn_risk" else other <= one
