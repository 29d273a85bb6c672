"""A model made of decisions: fitted, calibrated, measured on a later period, and let through gates or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from segops.core.scoring.figure_scores import WeightedScore
from segops.core.scoring.models import READY, Input, Platt, WeightedParameters
from segops.core.training.calibration import calibrated, written
from segops.core.training.decisions import Decision, Task
from segops.core.training.gates import leaks, not_better, single_aucs, too_little
from segops.core.training.logistic import fitted
from segops.core.training.periods import Periods, Split, check_split, periods, split
from segops.core.training.progressive import progressive
from segops.core.training.quality import Quality, auc, quality
from segops.core.training.rivals import InForce, Rival, compared
from segops.core.values import format_instant

NOT_ENOUGH_DATA: Final = "not_enough_data"
NOT_BETTER: Final = "not_better_than_chance"
#: Of more decisions, a model is fitted on a sample: the weights hardly change, and it takes seconds.
MOST_FITTED: Final = 30_000


class Source(msgspec.Struct, frozen=True):
    """Where decisions came from: its name, the features, the first event, the clock, and all events read.

    ``forbid``: names that no feature may read; they stay in the model.
    """

    name: str
    inputs: Sequence[Input]
    figures: Sequence[Any]
    first_ms: int
    clock_ms: int
    events: int = 0
    forbid: tuple[str, ...] = ()


class FeatureReport(msgspec.Struct, frozen=True):
    """A feature: its weight (log-odds for one standard deviation), and how well it orders outcomes alone."""

    name: str
    weight: float
    auc: float


class TrainingReport(msgspec.Struct, frozen=True):
    """What training found. ``model``: its file form; None if a leak refuses it.

    ``progressive_auc``: of predictions that were made before the outcome, while learning. ``measured``: of
    the model on the held-out future. Both are None without enough data. ``in_force``: the model in force
    beside one that is ready, if there is one.
    """

    name: str
    status: str
    reasons: list[str]
    leaks: list[str]
    decisions: int
    positives: int
    profiles: int
    fitted: int
    calibrated: int
    progressive_auc: float | None = None
    measured: Quality | None = None
    features: list[FeatureReport] = []
    model: dict[str, Any] | None = None
    in_force: Rival | None = None

    @property
    def is_outdone(self) -> bool:
        """Whether the model in force stays, because it foretells better."""
        return self.in_force is not None and self.in_force.stays

    @property
    def is_ready(self) -> bool:
        """Whether the model gives scores."""
        return self.status == READY

    @property
    def verdict(self) -> str:
        """The status of the model; ``refused`` if it knew the future, ``kept`` if the one in force stays."""
        return "refused" if self.leaks else "kept" if self.is_outdone else self.status


class _Made(msgspec.Struct, frozen=True):
    """A fitted model, and its predictions of the held-out decisions."""

    parameters: WeightedParameters
    foretold: list[float]


def trained(
    task: Task,
    decisions: Sequence[Decision],
    source: Source,
    *,
    now_ms: int,
    in_force: InForce | None = None,
) -> TrainingReport:
    """Return the report of a model made of decisions whose outcomes are known, with the model.

    One that is ready is compared with the model ``in_force`` on the decisions on which it is measured. Raises
    Leak if the periods overlap. Nothing depends on the order of the decisions.
    """
    found = sorted(decisions, key=lambda each: (each.at_ms, each.profile, each.mark))
    of = _periods(found, source, task.horizon_ms)
    of_periods = split(found, of, task.horizon_ms)
    check_split(of_periods, task.horizon_ms)
    history_ms = source.clock_ms - source.first_ms
    reasons = too_little(found, of_periods, history_ms=history_ms, horizon_ms=task.horizon_ms)
    report = TrainingReport(
        task.name,
        NOT_ENOUGH_DATA,
        reasons,
        [],
        len(found),
        sum(each.observed for each in found),
        len({each.profile for each in found}),
        len(of_periods.fitted),
        len(of_periods.calibrated),
    )
    if reasons:
        return _with(report, model=_header(task, report, source, now_ms))
    found_report = _measured(task, of_periods, source, report, now_ms=now_ms)
    return found_report if in_force is None else _beside(found_report, in_force, of_periods, now_ms)


def _beside(report: TrainingReport, of: InForce, of_periods: Split, now_ms: int) -> TrainingReport:
    """Return the report of a model that is ready with the comparison to the model in force."""
    if not report.is_ready or report.measured is None:
        return report
    foretell, rows = of.foretell, of_periods.measured
    measured = (
        None if foretell is None else quality([foretell(each.vector) for each in rows], _observed(rows))
    )
    return _with(report, in_force=compared(report.measured, of, measured, now_ms=now_ms))


def _periods(found: Sequence[Decision], source: Source, horizon_ms: int) -> Periods:
    first_ms = found[0].at_ms if found else source.first_ms
    return periods(first_ms, max(first_ms, source.clock_ms - horizon_ms), horizon_ms)


def _measured(
    task: Task, of_periods: Split, source: Source, report: TrainingReport, *, now_ms: int
) -> TrainingReport:
    made = _made(of_periods, source.inputs)
    measured = quality(made.foretold, _observed(of_periods.measured))
    early = auc(progressive(of_periods.fitted, task.horizon_ms), _observed(of_periods.fitted))
    names = [each.name for each in source.inputs]
    alone = [single_aucs(of_periods.fitted, number) for number in range(len(names))]
    signs = leaks(names, list(map(max, alone)), early, measured.auc)
    reasons = [*signs, *not_better(measured)]
    found = _with(
        report,
        status=NOT_BETTER if reasons else READY,
        reasons=reasons,
        leaks=signs,
        progressive_auc=early,
        measured=measured,
        features=list(map(FeatureReport, names, made.parameters.weights, [each for each, _ in alone])),
    )
    if signs:
        return found
    return _with(found, model=_header(task, found, source, now_ms) | _fitted_part(made, source))


def _made(of_periods: Split, inputs: Sequence[Input]) -> _Made:
    """Fit on one period, calibrate on the next, and foretell the last one, by the score that rules use."""
    chosen = sorted(of_periods.fitted, key=lambda each: each.mark)[:MOST_FITTED]
    weights = fitted([each.vector for each in chosen], _observed(chosen))
    odds = [weights.log_odds(each.vector) for each in of_periods.calibrated]
    scales = zip(inputs, weights.standard.means, weights.standard.scales, strict=True)
    parameters = WeightedParameters(
        tuple(msgspec.structs.replace(each, mean=mean, scale=scale) for each, mean, scale in scales),
        tuple(weights.weights),
        weights.intercept,
        calibrated(odds, _observed(of_periods.calibrated)),
    )
    score = WeightedScore(parameters)
    return _Made(parameters, [score.of(weights.standard.of(each.vector)) for each in of_periods.measured])


def _observed(decisions: Sequence[Decision]) -> list[bool]:
    return [each.observed for each in decisions]


def _with(report: TrainingReport, **changes: Any) -> TrainingReport:
    return msgspec.structs.replace(report, **changes)


# -- the model file ------------------------------------------------------------------------------------------


def _header(task: Task, report: TrainingReport, source: Source, now_ms: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": task.name,
        "kind": "logistic",
        "fitted_at": format_instant(now_ms),
        "status": report.status,
        "trained_on": {
            "source": source.name,
            "events": source.events,
            "decisions": report.decisions,
            "positives": report.positives,
            "customers": report.profiles,
            "targets": list(task.targets),
            "horizon_ms": task.horizon_ms,
            "from": format_instant(source.first_ms),
            "until": format_instant(source.clock_ms),
        },
    }
    if report.reasons:
        found["reasons"] = list(report.reasons)
    if source.forbid:
        found["forbid"] = list(source.forbid)
    if report.measured is not None:
        found["quality"] = msgspec.to_builtins(report.measured) | {"progressive_auc": report.progressive_auc}
    return found


def _fitted_part(made: _Made, source: Source) -> dict[str, Any]:
    parameters = made.parameters
    features = [
        {
            "name": each.name,
            "figure": figure,
            "transform": each.transform,
            "missing": each.missing,
            "mean": each.mean,
            "scale": each.scale,
        }
        for each, figure in zip(parameters.inputs, source.figures, strict=True)
    ]
    named = {each.name: weight for each, weight in zip(parameters.inputs, parameters.weights, strict=True)}
    return {
        "features": features,
        "parameters": {"intercept": parameters.intercept, "weights": named},
        "calibration": written(parameters.calibration or Platt()),
    }
