"""Which blocks of its file a rule reads."""

from __future__ import annotations

from segops.core.rules.figures import DigitFigure, DistanceFigure, ScoreFigure, leaf_figures
from segops.core.rules.model import Located, Node, RfmNode, ScoreNode, Visited, below, children, thawed
from segops.core.scoring import SCORERS


def reads_rfm(node: Node) -> bool:
    """Return whether a rule depends on the ``rfm`` block."""
    node = thawed(node)
    if isinstance(node, RfmNode) or any(isinstance(figure, DigitFigure) for figure in leaf_figures(node)):
        return True
    return any(reads_rfm(child) for child in children(node))


def names_of_areas(node: Node) -> set[str]:
    """Return the names of the ``places`` that a rule reads."""
    nodes = list(below(node))
    figures = [figure for each in nodes for figure in leaf_figures(each)]
    return {each.name for each in (*nodes, *figures) if isinstance(each, (Located, Visited, DistanceFigure))}


def names_of_scores(node: Node) -> set[str]:
    """Return the names of the scores that a rule reads."""
    nodes = list(below(node))
    figures = [figure for each in nodes for figure in leaf_figures(each)]
    return {each.name for each in (*nodes, *figures) if isinstance(each, (ScoreNode, ScoreFigure))}


def unfitted_scores(node: Node) -> list[str]:
    """Return the names of the scores that a rule reads and that no model has, sorted."""
    return sorted(names_of_scores(node) - SCORERS.keys())
