"""Which blocks of its file a rule reads."""

from __future__ import annotations

from collections.abc import Iterator

from segops.core.rules.figures import (
    DigitFigure,
    DistanceFigure,
    FrozenFigure,
    PercentileFigure,
    RatioFigure,
    ScoreFigure,
    TierFigure,
    leaf_figures,
)
from segops.core.rules.model import Located, Node, RfmNode, ScoreNode, Visited, below, thawed
from segops.core.scoring import SCORERS
from segops.core.scoring.affinity import AffinityScore
from segops.core.scoring.models import models_of
from segops.core.scoring.own import OwnScore
from segops.core.scoring.rfm import Quantiles, Rfm


def reads_rfm(node: Node) -> bool:
    """Return whether a rule depends on the ``rfm`` block."""
    return any(isinstance(each, (RfmNode, DigitFigure, TierFigure)) for each in _read_by(node))


def grids_of(node: Node) -> list[Rfm]:
    """Return the grids that a rule reads."""
    found = (each for each in _read_by(node) if isinstance(each, (RfmNode, DigitFigure, TierFigure)))
    return list(dict.fromkeys(each.rfm for each in found))


def percentiles_of(node: Node) -> list[PercentileFigure]:
    """Return the percentiles of scores that a rule reads."""
    return list(dict.fromkeys(each for each in _read_by(node) if isinstance(each, PercentileFigure)))


def affinities_of(node: Node) -> list[tuple[str, AffinityScore]]:
    """Return the affinities that a rule reads, by the names of their models."""
    found = ((each.name, each.model.formula) for each in scores_of(node) if each.model is not None)
    return [(name, formula) for name, formula in found if isinstance(formula, AffinityScore)]


def own_problem(node: Node) -> str | None:
    """Return why this process cannot compute an own score that a rule reads; None if it can."""
    formulas = (each.model.formula for each in scores_of(node) if each.model is not None)
    return next((each.problem for each in formulas if isinstance(each, OwnScore) and each.problem), None)


def unmeasured_populations(node: Node) -> list[str]:
    """Return the names of the populations that a rule waits for, sorted."""
    of_grids = {each.unmeasured for each in grids_of(node) if each.unmeasured is not None}
    of_scores = {each.model for each in percentiles_of(node) if each.edges is None}
    return sorted(of_grids | of_scores | {name for name, each in affinities_of(node) if not each.measured})


def names_of_areas(node: Node) -> set[str]:
    """Return the names of the ``places`` that a rule reads."""
    return {each.name for each in _read_by(node) if isinstance(each, (Located, Visited, DistanceFigure))}


def names_of_scores(node: Node) -> set[str]:
    """Return the names of the scores that a rule reads."""
    return {each.name for each in scores_of(node)}


def scores_of(node: Node) -> Iterator[ScoreNode | ScoreFigure]:
    """Yield the nodes and figures of a rule that are scores."""
    yield from (each for each in _read_by(node) if isinstance(each, (ScoreNode, ScoreFigure)))


def _read_by(node: Node) -> Iterator[object]:
    """Yield the nodes and figures of a rule, those that are frozen too."""
    for each in map(thawed, below(node)):
        yield each
        for figure in leaf_figures(each):
            yield from _thawed_figures(figure)


def _thawed_figures(figure: object) -> Iterator[object]:
    if isinstance(figure, PercentileFigure):
        yield from (figure, figure.score)
    elif not isinstance(figure, FrozenFigure):
        yield figure
    elif isinstance(figure.of, RatioFigure):
        yield from leaf_figures(figure.of)
    else:
        yield figure.of


def unfitted_scores(node: Node) -> list[str]:
    """Return the names of the scores that a rule reads and that no model has, sorted."""
    found = (each for each in scores_of(node) if each.model is None)
    return sorted({each.name for each in found} - SCORERS.keys())


def names_of_models(node: Node) -> set[str]:
    """Return the names of the models, existing or not, that the scores and grids of a rule need."""
    scores = names_of_scores(node) - SCORERS.keys()
    of_grids = (each.quantiles.model for each in grids_of(node) if isinstance(each.quantiles, Quantiles))
    of_scores = {each.model for each in percentiles_of(node)}
    return {*(name for score in scores for name in models_of(score)), *of_grids, *of_scores}
