"""Figures in the form that the kernel reads (``src/figure.rs``), and the leaves that compare two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import ceil, floor
from typing import TYPE_CHECKING, Any, Final

from segops.core.features import Feature
from segops.core.rules import figures
from segops.core.rules.execution import reading_of
from segops.core.values import exact
from segops.kernel.predicates import LeftToPythonError, decimal_text, exact_predicate, plain_path

if TYPE_CHECKING:  # its nodes are exported with these
    from segops.kernel.rules import Leaves

#: Further ahead, with the longest time between two refreshes, Python ends its search for a flip after so many
#: steps; the kernel counts them otherwise.
LOOK_AHEAD_MS: Final = (3_653 - 32) * 86_400_000
_MAX_DAYS: Final = LOOK_AHEAD_MS // 86_400_000
_RECENCY: Final = figures.ScoreFigure("recency_days")


def whole_days(numbers: Iterable[Any]) -> list[int]:
    """Return the numbers of days at which a rising number of days reaches or passes one of these numbers.

    Raises LeftToPythonError for one that is too far away.

    >>> whole_days([2, 0.5])
    [1, 2, 3]
    """
    days = sorted({day for number in numbers for day in (ceil(number), floor(number) + 1)})
    if any(abs(day) > _MAX_DAYS for day in days):
        raise LeftToPythonError(days)
    return days


def compared(leaves: Leaves, node: figures.Compare) -> list[Any]:
    """Return a leaf that compares two figures."""
    leaves.unfolds = True
    sides = [_side(leaves, node.left, node.right), _side(leaves, node.right, node.left)]
    return ["compared", *sides, node.operator]


def ratio(leaves: Leaves, node: figures.Ratio) -> list[Any]:
    """Return a leaf about the ratio of two figures."""
    leaves.unfolds = True
    sides = [figure_row(leaves, node.upper), figure_row(leaves, node.lower)]
    return ["compared", *sides, "ratio", exact_predicate(node.test)]


def _side(leaves: Leaves, figure: Any, other: Any) -> list[Any]:
    """Return a figure that is compared; days only with a number, since they rise without end."""
    if figure != _RECENCY and not isinstance(figure, figures.DaysFigure):
        return figure_row(leaves, figure)
    if not isinstance(other, figures.Number):
        raise LeftToPythonError(figure)
    steps = whole_days([other.number])
    if figure == _RECENCY:
        return ["days", None, steps]
    return ["days", leaves.known(_feature(figure))[0], steps]


def figure_row(leaves: Leaves, figure: Any) -> list[Any]:
    """Return a figure. Raises LeftToPythonError."""
    make = FIGURES.get(type(figure))
    if make is None:
        raise LeftToPythonError(figure)
    return make(leaves, figure)


def aggregate_row(number: int, name: str, window: Any, function: str) -> list[Any]:
    """Return the aggregate of a feature, by the name of its reducer."""
    return ["scan" if name.startswith("scan_") else "kept", number, window, function]


def _feature(figure: Any) -> Feature:
    (feature,) = reading_of(figure).features
    return feature


def _aggregate(leaves: Leaves, figure: figures.AggregateFigure) -> list[Any]:
    return aggregate_row(*leaves.known(_feature(figure)), figure.function)


def _rank(_leaves: Leaves, figure: figures.PercentileFigure) -> list[Any]:
    """Return the rank of the days since the latest event; without edges there is none."""
    if figure.edges is None:
        return ["missing"]
    if figure.score != _RECENCY:
        raise LeftToPythonError(figure)
    edges = [Decimal(exact(each)) for each in figure.edges]
    return ["rank", [decimal_text(each) for each in edges], whole_days(edges)]


#: Figure -> its export; a rule with any other figure is asked.
FIGURES: Final[Mapping[type, Callable[[Leaves, Any], list[Any]]]] = {
    figures.CountFigure: lambda of, figure: aggregate_row(*of.known(_feature(figure)), "count"),
    figures.AggregateFigure: _aggregate,
    figures.TraitFigure: lambda _, figure: ["trait", plain_path(figure.path)],
    figures.PercentileFigure: _rank,
    figures.RatioFigure: lambda of, figure: [
        "ratio",
        figure_row(of, figure.upper),
        figure_row(of, figure.lower),
    ],
    figures.Number: lambda _, figure: ["number", decimal_text(figure.number)],
}
