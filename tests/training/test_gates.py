"""What a model must show, and that a model that knows the future is refused."""

from __future__ import annotations

import random

import msgspec
import pytest

from segops.core.training.decisions import Decision
from segops.core.training.gates import leaks, not_better, too_little
from segops.core.training.periods import Leak, Split, check_split, periods, split
from segops.core.training.progressive import progressive
from segops.core.training.quality import quality
from segops.core.training.report import Source, TrainingReport, trained
from segops.core.training.rivals import InForce, compared
from segops.schemas.models import read_model

from .helpers import DAY_MS, SMALL, TASK

DAYS = 30


def decisions(
    number: int = 6_000, *, profiles: int = 400, signal: float = 1.5, seed: int = 3, days: int = DAYS
) -> list[Decision]:
    """Return decisions of which the second feature says something, by ``signal``, and the others nothing."""
    of = random.Random(seed)
    found = []
    for mark in range(number):
        vector = [of.gauss(0, 1) for _ in range(5)]
        observed = of.random() < 1 / (1 + 2.718281828 ** -(signal * vector[1] - 1.5))
        at_ms = DAY_MS + int(of.random() * (days - 1) * DAY_MS)
        found.append(Decision(f"u{of.randrange(profiles)}", at_ms, mark, vector, None, observed))
    return found


def report(found: list[Decision], days: int = DAYS) -> TrainingReport:
    source = Source("test", SMALL.inputs, SMALL.figures, DAY_MS, DAY_MS * (days + 1), len(found))
    return trained(TASK, found, source, now_ms=0)


def test_a_model_that_foretells_passes() -> None:
    found = report(decisions())
    assert (found.status, found.reasons, found.leaks) == ("ready", [], [])
    assert found.measured is not None and found.progressive_auc is not None
    assert abs(found.progressive_auc - (found.measured.auc or 0)) < 0.06
    assert max(found.features, key=lambda each: abs(each.weight)).name == SMALL.inputs[1].name
    model = read_model(found.model, "model")
    assert model.is_ready and model.quality["ece"] < 0.05 and model.trained_on["decisions"] == 6_000


def test_nothing_depends_on_the_order_in_which_decisions_come() -> None:
    found = decisions(1_500)
    assert report(found) == report(sorted(found, key=lambda each: each.mark % 97))


def test_noise_is_no_better_than_chance() -> None:
    found = report(decisions(signal=0.0))
    assert found.status == "not_better_than_chance"
    assert any("AUC" in reason for reason in found.reasons)
    model = read_model(found.model, "model")
    assert not model.is_ready and list(model.reasons) == found.reasons


@pytest.mark.parametrize(
    ("found", "days", "reason"),
    [
        ([], 30, "0 who did, at least 100 are needed"),
        (decisions(profiles=60), 30, "60 who did not, at least 100 are needed"),
        (decisions(days=2), 2, "2.0 days of history, at least 3d are needed"),
        (decisions(150), 30, "decisions to calibrate on were followed"),
    ],
)
def test_too_little_is_not_fitted(found: list[Decision], days: int, reason: str) -> None:
    got = report(found, days)
    assert got.status == "not_enough_data" and got.measured is None
    assert any(reason in each for each in got.reasons), got.reasons
    assert not read_model(got.model, "model").is_ready


def test_each_measure_is_a_gate() -> None:
    good = quality([0.1, 0.2, 0.8, 0.9] * 10, [False, False, True, True] * 10)
    passes = msgspec.structs.replace(good, ece=0.049)
    assert not_better(passes) == []
    for changes, what in (
        ({"auc": 0.6}, "AUC"),
        ({"ece": 0.05}, "ECE"),
        ({"brier": 0.25}, "Brier"),
        ({"auc": None}, "AUC"),
    ):
        (reason,) = not_better(msgspec.structs.replace(passes, **changes))
        assert what in reason


def test_who_did_is_counted_in_people() -> None:
    one = [Decision("u", n, n, [], None, True) for n in range(500)]
    reasons = too_little(one, Split(one, one, one), history_ms=10 * DAY_MS, horizon_ms=DAY_MS)
    assert reasons[:2] == ["1 who did, at least 100 are needed", "0 who did not, at least 100 are needed"]


# -- leaks -------------------------------------------------------------------------------------------------


def test_a_planted_feature_that_sees_the_future_is_named_and_refused() -> None:
    found = decisions()
    for each in found:
        each.vector[3] = float(each.observed) + each.vector[3] / 10
    got = report(found)
    assert got.verdict == "refused" and got.model is None
    assert f"the feature {SMALL.inputs[3].name} alone tells the outcome" in got.leaks[0]


def test_a_feature_that_knew_the_past_outcomes_only_is_found_by_the_fall() -> None:
    """A join with a table of later orders, which the present has not filled yet."""
    found = decisions(signal=0.3)
    for each in found:
        if each.at_ms < 20 * DAY_MS and each.observed and each.mark % 3:
            each.vector[3] += 4
    got = report(found)
    assert got.verdict == "refused" and got.model is None
    assert SMALL.inputs[3].name in got.leaks[0] and "falls" in got.leaks[0]


def test_a_split_by_row_is_refused() -> None:
    found = decisions(300)
    by_row = Split(found[0::3], found[1::3], found[2::3])
    with pytest.raises(Leak, match="split by time"):
        check_split(by_row, DAY_MS)
    with pytest.raises(Leak, match="calibrated"):
        check_split(Split([], found[0::2], found[1::2]), DAY_MS)


def test_periods_are_a_horizon_apart() -> None:
    found = decisions()
    first, last = min(each.at_ms for each in found), max(each.at_ms for each in found)
    parts = split(found, periods(first, last, DAY_MS), DAY_MS)
    check_split(parts, DAY_MS)
    assert max(each.at_ms for each in parts.fitted) + DAY_MS < min(each.at_ms for each in parts.calibrated)
    assert max(each.at_ms for each in parts.calibrated) + DAY_MS < min(each.at_ms for each in parts.measured)
    for rows, part in ((parts.fitted, 0.5), (parts.calibrated, 0.2), (parts.measured, 0.3)):
        assert part - 0.06 < len(rows) / len(found) < part + 0.01


def test_a_decision_is_foretold_without_the_outcomes_of_the_horizon_before_it() -> None:
    found = sorted(decisions(800), key=lambda each: each.at_ms)
    begin = progressive(found, DAY_MS)
    at = next(number for number, each in enumerate(found) if each.at_ms > 15 * DAY_MS)
    turned = [
        msgspec.structs.replace(each, observed=not each.observed)
        if found[at].at_ms - DAY_MS <= each.at_ms
        else each
        for each in found
    ]
    again = progressive(turned, DAY_MS)
    assert again[: at + 1] == begin[: at + 1]
    assert again[-1] != begin[-1]


def test_signs_of_leaks_have_thresholds() -> None:
    assert leaks(["a"], [0.97], 0.8, 0.7) == []
    assert len(leaks(["a"], [0.98], 0.8, 0.7)) == 1
    assert len(leaks(["a"], [0.9], 0.9, 0.74)) == 1
    assert leaks(["a"], [0.9], None, None) == []


def test_the_model_in_force_is_kept_while_it_foretells_better() -> None:
    found = decisions()
    source = Source("test", SMALL.inputs, SMALL.figures, DAY_MS, DAY_MS * (DAYS + 1), len(found))

    def beside(of: InForce | None) -> TrainingReport:
        return trained(TASK, found, source, now_ms=50, in_force=of)

    true = {tuple(each.vector): 0.999 if each.observed else 0.001 for each in found}
    best = InForce(3, lambda vector: true[tuple(vector)])
    outdone = beside(best)
    assert (outdone.verdict, outdone.status, outdone.is_outdone) == ("kept", "ready", True)
    rival = outdone.in_force
    assert rival is not None and rival.measured is not None and rival.measured.auc == 1.0
    assert "AUC" in rival.reason and "instead of 1.000" in rival.reason
    for replaced, why in (
        (InForce(3, lambda _: 0.2), "no worse"),
        (InForce(3, None), "features that the trainer lacks"),
        (InForce(3, best.foretell, valid_until_ms=50), "past its valid_until"),
        (InForce(3, best.foretell, live_ece=0.05), "calibration error is 0.050"),
    ):
        report = beside(replaced)
        assert report.verdict == "ready" and report.in_force is not None and why in report.in_force.reason
    assert beside(InForce(3, best.foretell, valid_until_ms=51, live_ece=0.04)).is_outdone
    assert beside(None).in_force is None


@pytest.mark.parametrize(
    ("auc", "brier", "stays"), [(0.7951, 0.1, False), (0.7949, 0.1, True), (0.8, 0.1011, True)]
)
def test_a_difference_within_the_margins_is_chance(auc: float, brier: float, stays: bool) -> None:
    old = msgspec.structs.replace(quality([0.1, 0.9], [False, True]), auc=0.8, brier=0.1)
    new = msgspec.structs.replace(old, auc=auc, brier=brier)
    assert compared(new, InForce(1, None), old, now_ms=0).stays is stays
