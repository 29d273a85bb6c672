"""Which blocks of its file a rule reads."""

from __future__ import annotations

from segops.core.rules.figures import DigitFigure, DistanceFigure, figures_of
from segops.core.rules.model import Located, Node, RfmNode, Visited, below, children, thawed


def reads_rfm(node: Node) -> bool:
    """Return whether a rule depends on the ``rfm`` block."""
    node = thawed(node)
    if isinstance(node, RfmNode) or any(isinstance(figure, DigitFigure) for figure in figures_of(node)):
        return True
    return any(reads_rfm(child) for child in children(node))


def names_of_areas(node: Node) -> set[str]:
    """Return the names of the ``places`` that a rule reads."""
    nodes = list(below(node))
    figures = [figure for each in nodes for figure in figures_of(each)]
    return {each.name for each in (*nodes, *figures) if isinstance(each, (Located, Visited, DistanceFigure))}
