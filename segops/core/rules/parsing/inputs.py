"""The parser of the figures that models read, and the names by which a model forbids them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from segops.core.clocks import CIRCLES
from segops.core.paths import CONTEXT, TIME, Path
from segops.core.rules.figures import (
    ClockFigure,
    DigitFigure,
    DistanceFigure,
    Figure,
    FrozenFigure,
    Number,
    PercentileFigure,
    RatioFigure,
    ScoreFigure,
    TierFigure,
    TraitFigure,
)
from segops.core.rules.model import Selection
from segops.core.rules.parsing.figures import read_figure
from segops.core.rules.parsing.reader import Reader

#: Figures that depend on blocks of a segment file, or on other models, or that are frozen.
_REFUSED: Final = (
    *(DigitFigure, DistanceFigure, FrozenFigure),
    *(PercentileFigure, ScoreFigure, TierFigure),
)


def read_input_figure(reader: Reader) -> Figure:
    """Parse the figure of a feature of a model, which must mean the same in every segment file, or ``clock``.

    Raises DefinitionError for scores, RFM, distances, indicators and figures with a ``refresh``.

    >>> read_input_figure(Reader({"trait": "age"}, "figure"))
    TraitFigure(path=('age',))
    """
    if isinstance(reader.raw, dict) and "clock" in reader.raw:
        return _clock(reader)
    figure = read_figure(reader)
    if any(isinstance(each, _REFUSED) for each in _all_in(figure)):
        reader.fail(
            "expected a figure over events or a trait, without a refresh, got one that a model cannot read"
        )
    return figure


def _clock(reader: Reader) -> ClockFigure:
    found = reader.fields({"clock": lambda each: each.one_of(tuple(CIRCLES)), "zone": Reader.zone})
    return ClockFigure(found["clock"], found.get("zone", "UTC"))


def figure_names(figure: Figure | Number) -> list[str]:
    """Return what a figure reads, by the names that ``forbid`` of a model has, sorted.

    They are ``trait.PATH``, ``property.PATH``, ``context.PATH`` and ``event.NAME``.

    >>> figure_names(TraitFigure(("address", "zip")))
    ['trait.address.zip']
    """
    return sorted(set(_names(figure)))


def _names(figure: Figure | Number) -> Iterator[str]:
    for each in _all_in(figure):
        if isinstance(each, TraitFigure):
            yield "trait." + ".".join(each.path)
            continue
        select = getattr(each, "select", None)
        if isinstance(select, Selection):
            yield from (f"event.{name}" for name in select.names)
            yield from (_path_name(path) for path, _ in select.where if path[:2] != TIME)
        path = getattr(each, "path", None)
        if path is not None:
            yield _path_name(path)


def _path_name(path: Path) -> str:
    if path[:2] == CONTEXT:
        return ".".join(("context", *path[2:]))
    return ".".join(("property", *path))


def _all_in(figure: Figure | Number) -> Iterator[Figure | Number]:
    yield figure
    if isinstance(figure, RatioFigure):
        yield from _all_in(figure.upper)
        yield from _all_in(figure.lower)
    elif isinstance(figure, FrozenFigure):
        yield from _all_in(figure.of)
