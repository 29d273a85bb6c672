"""The intervals of a lift cover the truth as often as they say, and hold by definition what they must."""

from __future__ import annotations

from math import comb, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.audiences.lift import ENOUGH, Arm, Bounds, difference, lift_of, ratio, wilson

_arms = st.integers(1, 500).flatmap(
    lambda matured: st.integers(0, matured).map(lambda found: Arm(matured=matured, converted=found))
)


def arm(converted: int, matured: int) -> Arm:
    return Arm(matured=matured, converted=converted)


@given(_arms, _arms)
def test_difference_is_within_its_bounds_and_turns_with_the_arms(one: Arm, other: Arm) -> None:
    found, turned = difference(one, other), difference(other, one)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert isclose(found.low, -turned.high, abs_tol=1e-12)
    assert isclose(found.value, -turned.value, abs_tol=1e-12)


@given(_arms)
def test_bounds_of_a_share_solve_the_equation_of_the_score_test(one: Arm) -> None:
    share = one.converted / one.matured
    for bound in wilson(one.converted, one.matured):
        score = (share - bound) ** 2 * one.matured
        assert isclose(score, 1.959963984540054**2 * bound * (1 - bound), abs_tol=1e-6)


@given(_arms, _arms)
def test_relative_lift_is_shown_with_enough_entries_only(one: Arm, other: Arm) -> None:
    found = lift_of(one, other)
    enough = all(ENOUGH <= each.converted <= each.matured - ENOUGH for each in (one, other))
    assert (found.relative is not None) is enough is (found.verdict != "not enough")
    if found.relative is not None:
        risk = ratio(one, other)
        assert found.relative == Bounds(risk.value - 1, risk.low - 1, risk.high - 1)


@pytest.mark.parametrize(
    ("sent", "held_out", "verdict"),
    [
        (arm(300, 1_000), arm(20, 100), "higher"),
        (arm(200, 1_000), arm(30, 100), "lower"),
        (arm(200, 1_000), arm(21, 100), "no difference shown"),
        (arm(200, 1_000), arm(9, 100), "not enough"),
        (arm(200, 209), arm(50, 100), "not enough"),
    ],
)
def test_verdict_follows_from_the_interval(sent: Arm, held_out: Arm, verdict: str) -> None:
    assert lift_of(sent, held_out).verdict == verdict


def test_nothing_is_concluded_without_matured_entries() -> None:
    assert lift_of(Arm(open=50), arm(10, 40)).absolute is None
    assert lift_of(arm(10, 40), Arm()).verdict == "not enough"
    assert (Arm(1, 2, 3, 0).entries, Arm(open=1).rate, arm(1, 4).rate) == (6, None, 0.25)


@pytest.mark.parametrize(
    ("sent", "held_out"),
    [((120, 0.3), (60, 0.2)), ((300, 0.1), (60, 0.3)), ((200, 0.5), (200, 0.5))],
)
def test_intervals_cover_the_truth_in_about_95_of_100_samples(
    sent: tuple[int, float], held_out: tuple[int, float]
) -> None:
    """Sum the probabilities of all pairs of counts whose interval contains the truth."""
    truth, risk = sent[1] - held_out[1], sent[1] / held_out[1]
    covered = covered_risk = judged = 0.0
    for one, likely in _counts(*sent):
        for other, likely_other in _counts(*held_out):
            weight, lift = likely * likely_other, lift_of(arm(one, sent[0]), arm(other, held_out[0]))
            assert lift.absolute is not None
            covered += weight * (lift.absolute.low <= truth <= lift.absolute.high)
            if lift.relative is not None:
                judged += weight
                covered_risk += weight * (lift.relative.low <= risk - 1 <= lift.relative.high)
    assert 0.94 < covered < 0.965
    assert 0.93 < covered_risk / judged < 0.97


def _counts(trials: int, share: float) -> list[tuple[int, float]]:
    likely = [
        (found, comb(trials, found) * share**found * (1 - share) ** (trials - found))
        for found in range(trials + 1)
    ]
    return [each for each in likely if each[1] > 1e-9]
