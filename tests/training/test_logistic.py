"""The regression: its optimum, its linear algebra, and what learning row by row leads to."""

from __future__ import annotations

import random
from itertools import pairwise
from math import exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.training.calibration import isotonic, platt, pooled, written
from segops.core.training.logistic import OnlineLogistic, fitted, sigmoid, solved

ROWS = st.lists(
    st.tuples(st.tuples(*[st.integers(-3, 3).map(float)] * 3), st.booleans()), min_size=4, max_size=40
)


def drawn(rows: int, *weights: float, seed: int = 1) -> tuple[list[list[float]], list[bool]]:
    """Return rows whose outcomes follow these weights, the intercept first."""
    of = random.Random(seed)
    vectors = [[of.gauss(0, 1) for _ in weights[1:]] for _ in range(rows)]
    odds = (weights[0] + sum(w * x for w, x in zip(weights[1:], v, strict=True)) for v in vectors)
    return vectors, [of.random() < 1 / (1 + exp(-each)) for each in odds]


@given(ROWS)
@settings(max_examples=40)
def test_at_the_optimum_no_weight_can_be_improved(rows: list[tuple[tuple[float, ...], bool]]) -> None:
    vectors, observed = [list(v) for v, _ in rows], [y for _, y in rows]
    found = fitted(vectors, observed, ridge=1.0)
    if len(set(observed)) < 2:
        return  # the intercept of certain outcomes has no optimum
    errors = [found.predicted(v) - y for v, y in rows]
    assert sum(errors) == pytest.approx(0, abs=1e-5)
    standard = [found.standard.of(v) for v in vectors]
    for number, weight in enumerate(found.weights):
        slope = sum(error * row[number] for error, row in zip(errors, standard, strict=True))
        assert slope + weight == pytest.approx(0, abs=1e-5)


def test_known_weights_come_back() -> None:
    vectors, observed = drawn(4_000, -1.0, 1.5, -0.7)
    found = fitted(vectors, observed)
    raw = [w / s for w, s in zip(found.weights, found.standard.scales, strict=True)]
    assert raw == pytest.approx([1.5, -0.7], abs=0.15)


@given(st.lists(st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=3), min_size=3, max_size=3))
def test_a_system_is_solved(square: list[list[float]]) -> None:
    matrix = [
        [sum(square[k][i] * square[k][j] for k in range(3)) + (i == j) for j in range(3)] for i in range(3)
    ]
    right = [1.0, -2.0, 3.0]
    found = solved([row[: i + 1] for i, row in enumerate(matrix)], right)
    for row, value in zip(matrix, right, strict=True):
        assert sum(a * x for a, x in zip(row, found, strict=True)) == pytest.approx(value, abs=1e-6)


def test_the_online_regression_comes_near_the_optimum() -> None:
    vectors, observed = drawn(3_000, -0.5, 1.0, -1.0)
    online, best = OnlineLogistic(2), fitted(vectors, observed)
    assert online.predicted(vectors[0]) == 0.5
    for vector, followed in zip(vectors, observed, strict=True):
        online.learn(vector, followed)
    for vector in vectors[:50]:
        assert online.predicted(vector) == pytest.approx(best.predicted(vector), abs=0.1)


def test_a_constant_feature_changes_nothing() -> None:
    vectors, observed = drawn(200, 0.0, 1.0)
    without, with_one = fitted(vectors, observed), fitted([[*v, 7.0] for v in vectors], observed)
    assert with_one.predicted([0.3, 7.0]) == pytest.approx(without.predicted([0.3]))


# -- calibration -------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5)), min_size=1, max_size=12))
@settings(max_examples=60)
def test_pools_are_the_isotonic_regression(values: list[tuple[float, int]]) -> None:
    def mean(low: int, high: int) -> float:
        part = values[low : high + 1]
        return sum(value * weight for value, weight in part) / sum(weight for _, weight in part)

    levels = [level for level, members, _ in pooled(values) for _ in range(members)]
    size = len(values)
    expected = [max(min(mean(j, k) for k in range(i, size)) for j in range(i + 1)) for i in range(size)]
    assert levels == pytest.approx(expected)


@pytest.mark.parametrize("fit", [platt, isotonic])
def test_a_calibration_corrects_a_regression_that_is_too_certain(fit: object) -> None:
    from segops.core.scoring.figure_scores import calibrated

    vectors, observed = drawn(6_000, -1.0, 1.0)
    found = fit([3 * (x - 1) for (x,) in vectors], observed)  # type: ignore[operator]
    for x in (-1.0, 0.0, 1.0):
        assert calibrated(found, 3 * (x - 1)) == pytest.approx(sigmoid(x - 1), abs=0.04)


@given(st.lists(st.tuples(st.floats(-8, 8), st.booleans()), min_size=2, max_size=60))
@settings(max_examples=40)
def test_an_isotonic_calibration_is_one_that_a_model_file_may_have(rows: list[tuple[float, bool]]) -> None:
    points = written(isotonic([x for x, _ in rows], [y for _, y in rows]))["points"]
    assert points[0] == [0.0, 0.0] and points[-1] == [1.0, 1.0]
    for (x, y), (following, high) in pairwise(points):
        assert x < following and y <= high


def test_log_odds_in_a_wrong_order_become_the_base_rate() -> None:
    from segops.core.scoring.figure_scores import calibrated

    found = platt([2.0] * 10 + [-2.0] * 10, [False] * 10 + [True] * 10)
    assert calibrated(found, 2.0) == pytest.approx(0.5)
    assert found.a > 0
