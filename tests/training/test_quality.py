"""The measures of predictions, against computations that compare every pair and sort nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.training.quality import auc, bins, ece, lift, quality

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1), st.booleans()),
    min_size=1,
    max_size=60,
)


def apart(rows: list[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [p for p, _ in rows], [y for _, y in rows]


@given(ROWS)
@settings(max_examples=60)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]) -> None:
    predicted, observed = apart(rows)
    pairs = [(p, q) for p, y in rows if y for q, z in rows if not z]
    won = sum(1.0 if p > q else 0.5 if p == q else 0.0 for p, q in pairs)
    found = auc(predicted, observed)
    assert found == (pytest.approx(won / len(pairs)) if pairs else None)


@given(ROWS, st.integers(1, 12))
@settings(max_examples=60)
def test_bins_hold_all_rows_and_never_part_equal_predictions(
    rows: list[tuple[float, bool]], number: int
) -> None:
    predicted, observed = apart(rows)
    found = bins(predicted, observed, number)
    assert 1 <= len(found) <= number
    assert sum(each.count for each in found) == len(rows)
    assert sum(each.observed * each.count for each in found) == pytest.approx(sum(observed))
    assert sum(each.predicted * each.count for each in found) == pytest.approx(sum(predicted))
    ordered, begin = sorted(predicted), 0
    for each in found[:-1]:
        begin += each.count
        assert ordered[begin - 1] < ordered[begin]


def test_bins_of_distinct_predictions_are_equally_large() -> None:
    predicted = [number / 100 for number in range(100)]
    assert [each.count for each in bins(predicted, [False] * 100, 10)] == [10] * 10


@given(ROWS)
@settings(max_examples=60)
def test_brier_and_its_base_rate(rows: list[tuple[float, bool]]) -> None:
    found = quality(*apart(rows))
    share = sum(y for _, y in rows) / len(rows)
    assert found.brier == pytest.approx(sum((p - y) ** 2 for p, y in rows) / len(rows))
    assert found.base_brier == pytest.approx(sum((share - y) ** 2 for _, y in rows) / len(rows))
    assert (found.rows, found.positives) == (len(rows), sum(y for _, y in rows))
    assert found.ece == pytest.approx(ece(found.curve))
    assert found.ece == pytest.approx(
        sum(abs(each.predicted - each.observed) * each.count / len(rows) for each in found.curve)
    )


@given(ROWS)
@settings(max_examples=60)
def test_the_mean_lift_is_that_of_all_rows(rows: list[tuple[float, bool]]) -> None:
    predicted, observed = apart(rows)
    found = lift(predicted, observed)
    if len(rows) < 10 or not any(observed):
        assert found == []
        return
    sizes = [len(rows) * (n + 1) // 10 - len(rows) * n // 10 for n in range(10)]
    assert sum(a * n for a, n in zip(found, sizes, strict=True)) == pytest.approx(len(rows))


def test_the_first_tenth_has_the_highest_predictions() -> None:
    predicted, observed = [number / 20 for number in range(20)], [number >= 18 for number in range(20)]
    assert lift(predicted, observed) == [10.0] + [0.0] * 9
    assert lift([0.5] * 20, observed) == pytest.approx([1.0] * 10)


def test_without_a_row_there_is_no_quality() -> None:
    with pytest.raises(ValueError, match="at least one prediction"):
        quality([], [])
