"""The parser of ``refresh`` beside a node or figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from segops.core.refresh import UNITS, Refresh
from segops.core.rules import model
from segops.core.rules.figures import (
    DistanceFigure,
    Figure,
    FrozenFigure,
    Number,
    PercentileFigure,
    ScoreFigure,
    TraitFigure,
    leaf_figures,
)
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.parsing.times import read_clock
from segops.core.time_of_day import DAY_MS

_EXAMPLE = '{every: day, at: "03:00", zone: Europe/Paris}'
_FROZEN = "the figure has a refresh of its own"
_NO_EVENTS = (TraitFigure, ScoreFigure, PercentileFigure, DistanceFigure)
_CONSTANT = "a trait, score or distance is not frozen: none is a figure over events"


def read_refresh(form: Reader) -> Refresh:
    """Parse a refresh.

    >>> read_refresh(Reader({"every": "day", "at": "03:00"}, "when.refresh"))
    Refresh(every='day', at_ms=10800000, zone='UTC')
    """
    every, at_ms, zone = form.record(
        {"every": partial(Reader.one_of, options=UNITS)}, _EXAMPLE, {"at": read_clock, "zone": Reader.zone}
    )
    if every == "hour" and (at_ms is not None or zone is not None):
        form.fail("expected no at or zone with every: hour, which is each full hour UTC")
    if at_ms == DAY_MS:
        form.at("at").fail("expected a time of day from 00:00 to 23:59, got '24:00'")
    return Refresh(every, at_ms or 0, zone or "UTC")


def read_frozen(read: Callable[[Reader], model.Node], node: Reader) -> model.Node:
    """Parse a node that may have a ``refresh``; ``read`` parses the node without one."""
    if "refresh" not in node:
        return read(node)
    form = node.at("refresh")
    tree, refresh = node.gather(partial(read, node), partial(read_refresh, form))
    return frozen(tree, refresh, form)


def frozen(node: model.Node, refresh: Refresh, form: Reader) -> model.Node:
    """Return a node that holds as of the latest refresh; ``form`` is where the refresh stands."""
    match node:
        case model.All(of=of) | model.Any(of=of):  # an indicator in days with several tests
            return type(node)(tuple(frozen(child, refresh, form) for child in of))
        case model.Frozen():
            form.fail(_FROZEN)
        case model.Hysteresis():
            form.fail("expected no refresh beside enter and exit")
        case model.Trait() | model.ScoreNode():
            form.fail(_CONSTANT)
    if any(isinstance(figure, _NO_EVENTS) for figure in leaf_figures(node)):
        form.fail(_CONSTANT)
    return model.Frozen(node, refresh)


def read_frozen_figure(reader: Reader, figure: Figure) -> FrozenFigure:
    """Parse the ``refresh`` beside a figure."""
    form = reader.at("refresh")
    refresh = read_refresh(form)
    if isinstance(figure, FrozenFigure):
        form.fail(_FROZEN)
    if any(isinstance(part, _NO_EVENTS) for part in (figure, *leaf_figures(figure))):
        form.fail(_CONSTANT)
    return FrozenFigure(figure, refresh)


def thawed(form: Reader, sides: Sequence[Figure | Number]) -> tuple[list[Any], Refresh | None]:
    """Return the figures of a comparison without the refresh that they share, and that refresh."""
    figures = [side for side in sides if not isinstance(side, Number)]
    found = {side.refresh if isinstance(side, FrozenFigure) else None for side in figures}
    if len(found) > 1:
        form.fail("expected two figures with the same refresh, or put it beside the node")
    return [side.of if isinstance(side, FrozenFigure) else side for side in sides], found.pop()
