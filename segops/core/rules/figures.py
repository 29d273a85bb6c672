"""Figures: the values of a profile at an instant; and the nodes that compare them (``SPEC.md#figures``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from segops.core.areas import Location
from segops.core.clocks import CIRCLES
from segops.core.features.feature import Money
from segops.core.operators import Predicate
from segops.core.refresh import Refresh
from segops.core.scoring.rfm import Rfm
from segops.core.scoring.scored import Scored

#: What the name of a score follows in that of the model of its population.
PERCENTILE: Final = "percentile."

if TYPE_CHECKING:  # the tree of a rule contains these nodes
    from segops.core.rules.model import Path, Selection
    from segops.core.windows import Window


class CountFigure(msgspec.Struct, frozen=True, tag="count"):
    """The number of selected events in the window."""

    select: Selection
    window: Window


class AggregateFigure(msgspec.Struct, frozen=True, tag="aggregate", omit_defaults=True):
    """``function`` of the property at ``path`` over the selected events in the window.

    ``convert`` is the conversion of the property, ``money`` its currency.
    """

    function: str
    path: Path
    select: Selection
    window: Window
    convert: str | None = None
    money: Money | None = None


class TraitFigure(msgspec.Struct, frozen=True, tag="trait"):
    """The trait at ``path``."""

    path: Path


class ScoreFigure(msgspec.Struct, frozen=True, tag="score", omit_defaults=True):
    """The score ``name``. ``model``: what it is computed from; None: no model has it.

    ``of``: the value whose affinity it is.
    """

    name: str
    model: Scored | None = None
    of: str | None = None

    @property
    def title(self) -> str:
        """The name, and the value whose affinity it is.

        >>> ScoreFigure("affinity.category", of="shoes").title
        'affinity.category of shoes'
        """
        return self.name if self.of is None else f"{self.name} of {self.of}"


class PercentileFigure(msgspec.Struct, frozen=True, tag="percentile"):
    """How many of ``edges``, which divide all profiles into 100 groups by a score, are below the score.

    ``edges``: None if the population is not measured; there is no value then.
    """

    score: ScoreFigure
    edges: tuple[Decimal, ...] | None

    @property
    def model(self) -> str:
        """The name of the population's model."""
        return f"{PERCENTILE}{self.score.name}"


class DigitFigure(msgspec.Struct, frozen=True, tag="digit"):
    """The digit ``name`` of RFM: ``recency``, ``frequency`` or ``monetary``."""

    rfm: Rfm
    name: str


class DaysFigure(msgspec.Struct, frozen=True, tag="days"):
    """The whole days since the ``first`` or ``last`` selected event, as ``which`` says."""

    which: str
    select: Selection


class ClockFigure(msgspec.Struct, frozen=True, tag="clock"):
    """The ``hour`` or ``weekday`` that clocks in a zone show, as ``unit`` says; models alone read it.

    Missing from CLOCK_MS after the profile's latest event on.
    """

    unit: str
    zone: str

    @property
    def circle(self) -> int:
        """The number of values, after which they begin again with 0."""
        return CIRCLES[self.unit]


class TierFigure(msgspec.Struct, frozen=True, tag="tier"):
    """The tier of RFM."""

    rfm: Rfm


class Number(msgspec.Struct, frozen=True, tag="number"):
    """A number as written."""

    number: Decimal


class DistanceFigure(msgspec.Struct, frozen=True, tag="distance"):
    """The metres from the last known location to the nearest of ``points``, those of the place ``name``.

    Missing without a location younger than ``within_ms``.
    """

    name: str
    points: tuple[Location, ...]
    within_ms: int | None


class RatioFigure(msgspec.Struct, frozen=True, tag="ratio"):
    """The upper figure divided by the lower one; neither is in days."""

    upper: Figure
    lower: Figure


class FrozenFigure(msgspec.Struct, frozen=True, tag="frozen"):
    """``of`` at the latest refresh, over the events that had arrived before it: an indicator's figure."""

    of: Figure
    refresh: Refresh


Figure = (
    CountFigure
    | AggregateFigure
    | TraitFigure
    | ScoreFigure
    | PercentileFigure
    | DigitFigure
    | DaysFigure
    | ClockFigure
    | DistanceFigure
    | TierFigure
    | RatioFigure
    | FrozenFigure
)


class Distance(msgspec.Struct, frozen=True, tag="distance"):
    """The distance to a place, in metres, satisfies ``test``."""

    figure: DistanceFigure
    test: Predicate


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """Both sides have a value, and ``operator`` holds between them."""

    left: Figure
    operator: str
    right: Figure | Number


class Ratio(msgspec.Struct, frozen=True, tag="ratio"):
    """The upper figure divided by the lower one satisfies ``test``."""

    upper: Figure
    lower: Figure
    test: Predicate


class PublishedFigure(msgspec.Struct, frozen=True, tag="published", omit_defaults=True):
    """A figure that is published when it changes (``SPEC.md#published``). As a node: it has a value.

    ``change_by``: the least difference of two numbers that are published one after the other. ``per_ms``: at
    most one value is published in any such span of time.
    """

    figure: Figure
    change_by: Decimal | None = None
    per_ms: int | None = None


def figures_of(node: object) -> Sequence[Figure | Number]:
    """Return the figures that a node compares, or that a ratio divides; none for anything else.

    >>> [each.name for each in figures_of(Ratio(ScoreFigure("a"), ScoreFigure("b"), Predicate(())))]
    ['a', 'b']
    """
    match node:
        case Distance(figure=figure):
            return (figure,)
        case Compare(left=left, right=right):
            return left, right
        case Ratio(upper=upper, lower=lower) | RatioFigure(upper=upper, lower=lower):
            return upper, lower
        case PublishedFigure(figure=figure):
            return (figure,)
    return ()


def leaf_figures(node: object) -> Iterator[Figure | Number]:
    """Yield the figures that a node compares, of a ratio its two figures instead.

    >>> quotient = RatioFigure(ScoreFigure("a"), ScoreFigure("b"))
    >>> [type(each).__name__ for each in leaf_figures(Compare(quotient, "gt", Number(Decimal(1))))]
    ['ScoreFigure', 'ScoreFigure', 'Number']
    """
    for figure in figures_of(node):
        if isinstance(figure, RatioFigure):
            yield from leaf_figures(figure)
        else:
            yield figure
