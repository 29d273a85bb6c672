"""Nodes and predicates in words: one table of nodes, one of operators.

>>> from segops.core.operators import Predicate
>>> from segops.core.windows import Within
>>> views = model.Did(model.Selection(("Product Viewed",)), Within(172_800_000), Predicate((("gte", 3),)))
>>> label(views), threshold(views)
('did Product Viewed ≥ 3 within 2d', '≥ 3')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UnsetType

from segops.core.features.feature import Feature
from segops.core.features.orders import ACTIONS, Purchases
from segops.core.features.sequence import SequenceStep
from segops.core.lookups import key_path
from segops.core.operators import Predicate
from segops.core.paths import names_text, path_text
from segops.core.rules import model
from segops.core.rules.figures import (
    AggregateFigure,
    ClockFigure,
    CountFigure,
    DaysFigure,
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
from segops.core.rules.phrases import (
    OPERATOR_TEXTS,
    events_text,
    predicate_text,
    refresh_text,
    select_text,
    value_text,
    where_text,
    window_text,
)
from segops.core.scoring.rfm import Rfm
from segops.core.values import format_duration, format_instant
from segops.core.windows import Calendar


def label(node: model.Node) -> str:
    """Describe a node in one line, without the nodes below it."""
    return " ".join(part for part in _LABELS[type(node)](node) if part)


def threshold(node: model.Node) -> str | None:
    """Describe what a node compares its value with, such as ``≥ 3``; None if it compares nothing."""
    found = _THRESHOLDS.get(type(node))
    return None if found is None else found(node)


def feature_label(feature: Feature) -> str:
    """Describe a feature in one line: an aggregate over selected events in a window, and its refresh.

    >>> from segops.core.windows import Within
    >>> feature_label(Feature("sum", ("Order Completed",), (), Within(172_800_000), ("total",)))
    'sum of total over Order Completed within 2d'
    """
    if feature.refresh is not None:
        inner = msgspec.structs.replace(feature, refresh=None)
        return f"{feature_label(inner)}, {refresh_text(feature.refresh)}"
    path, window = value_text(feature), window_text(feature.window)
    if feature.sequence is not None:
        return " ".join(part for part in _sequence(model.SequenceNode(feature.sequence)) if part)
    if feature.purchases is not None:
        return _of_purchases(feature, feature.purchases)
    if feature.length_ms is not None:
        return _of_length(feature, feature.length_ms)
    if feature.days is not None:
        return " ".join(part for part in ("active", *_days(feature, feature.days), window) if part)
    if feature.kind == "history":
        return f"history of {names_text(feature.path or ())}"
    if feature.located is not None:
        return f"events located in {len(feature.located)} areas {window}".strip()
    kind = feature.kind.replace("_", " ")
    of = f"{kind} of {path} over" if path else f"{kind} of"
    selected = select_text(model.Selection(feature.names, feature.where))
    return " ".join(part for part in (of, selected, window) if part)


def _of_purchases(feature: Feature, purchases: Purchases) -> str:
    """Describe the orders, or other events, that a grid reads."""
    last = f"of the last {format_duration(purchases.period_ms)}"
    if feature.kind != ACTIONS:
        return "days with orders" if feature.kind == "purchases" else f"orders {last}"
    amount = "" if feature.path is None else f"with {path_text(feature.path)}"
    selected = select_text(model.Selection(feature.names, feature.where))
    return " ".join(part for part in ("number of", selected, amount, last) if part)


def _of_length(feature: Feature, length_ms: int) -> str:
    """Describe a feature of sessions or periods."""
    path = f"with {path_text(feature.path)}" if feature.path else ""
    window = "" if feature.kind == "periods" else window_text(feature.window)
    head, word = _LENGTHS[feature.kind]
    selected = select_text(model.Selection(feature.names, feature.where))
    parts = (head, selected, path, f"{word} {format_duration(length_ms)}", window)
    return " ".join(part for part in parts if part)


#: Kind of a feature with a length -> what it is, and what its length is.
_LENGTHS = {
    "sessions": ("sessions of", "with a gap of"),
    "session": ("current and last session of", "with a gap of"),
    "periods": ("regularly", "in periods of"),
    "lifecycle": ("lifecycle of", "by periods of"),
}


def _days(of: Feature | model.Selection, calendar: Calendar) -> tuple[str, str]:
    selected = select_text(model.Selection(of.names, of.where))
    return f"{calendar.this}s of", f"{selected} ({calendar.zone})"


def _did(node: model.Did) -> tuple[str, ...]:
    if node.count.ops == (("eq", 0),):
        return "did not", select_text(node.select), window_text(node.window)
    count = "" if node.count.ops == (("gte", 1),) else predicate_text(node.count)
    return "did", select_text(node.select), count, window_text(node.window)


def _aggregate(node: model.Aggregate) -> tuple[str, ...]:
    return _function(node), select_text(node.select), window_text(node.window), predicate_text(node.test)


def _function(node: model.Aggregate | AggregateFigure) -> str:
    return f"{node.function.replace('_', ' ')} of {value_text(node)} over"


def figure_text(figure: Figure | Number) -> str:
    """Describe a figure.

    >>> figure_text(DaysFigure("last", model.Selection(("Order Completed",))))
    'days since last Order Completed'
    """
    return " ".join(part for part in _FIGURES[type(figure)](figure) if part)


#: Figure -> the parts of its description; empty ones are left out.
_FIGURES: dict[type, Callable[[Any], tuple[str, ...]]] = {
    CountFigure: lambda figure: ("number of", select_text(figure.select), window_text(figure.window)),
    AggregateFigure: lambda figure: (
        _function(figure),
        select_text(figure.select),
        window_text(figure.window),
    ),
    TraitFigure: lambda figure: ("trait", names_text(figure.path)),
    ScoreFigure: lambda figure: ("score", figure.title),
    PercentileFigure: lambda figure: ("percentile of score", figure.score.name),
    DigitFigure: lambda figure: ("rfm", grid_text(figure.rfm), figure.name),
    DaysFigure: lambda figure: (f"days since {figure.which}", select_text(figure.select)),
    ClockFigure: lambda figure: (figure.unit, "in", figure.zone),
    TierFigure: lambda figure: ("rfm", grid_text(figure.rfm), "tier"),
    DistanceFigure: lambda figure: (f"metres to {figure.name}", _last(figure)),
    RatioFigure: lambda figure: (_quotient(figure),),
    FrozenFigure: lambda figure: (figure_text(figure.of), refresh_text(figure.refresh)),
    Number: lambda figure: (str(figure.number),),
}


def _right_side(node: model.Compare) -> str:
    return OPERATOR_TEXTS[node.operator](figure_text(node.right))


def _ratio(node: model.Ratio) -> tuple[str, ...]:
    return _quotient(node), predicate_text(node.test)


def _quotient(of: model.Ratio | RatioFigure) -> str:
    return f"ratio of ({figure_text(of.upper)}) to ({figure_text(of.lower)})"


def _age(node: model.Occurrence) -> str:
    lengths = (("older than", node.older_than_ms), ("newer than", node.newer_than_ms))
    return " and ".join(f"{word} {format_duration(ms)}" for word, ms in lengths if ms is not None)


def _near(node: model.Near) -> tuple[str, ...]:
    place = f"at most {node.radius_m:,.0f} m from {node.lat:g}, {node.lon:g}"
    return place, *_younger(node)


def _younger(node: model.Near | model.Located) -> tuple[str, str]:
    return _last(node), _by(node.by)


def _by(path: model.Path | None) -> str:
    return "" if path is None else f"located by {path_text(key_path(path))}"


def _last(node: model.Near | model.Located | DistanceFigure) -> str:
    return "" if node.within_ms is None else f"within {format_duration(node.within_ms)}"


def _sides(node: model.Changed) -> str:
    sides = (("from", node.before), ("to", node.after))
    return " ".join(f"{word} {predicate_text(test)}" for word, test in sides if test is not None)


def _percent(node: model.Bucket) -> str:
    return f"from {node.low / 100:g} to {node.high / 100:g} %"


def _version_text(node: model.OnList) -> str:
    until = "" if node.expires_ms is None else f" until {format_instant(node.expires_ms)}"
    return f"version {node.version}{until}" if node.version else "no version is in force"


def _step(step: SequenceStep) -> str:
    same = [f"{path_text(path)} as in step {number + 1}" for path, number in step.same_as]
    parts = [
        "did not" if step.absent else "did",
        events_text(step.names),
        where_text(step.where),
        f"with the same {', '.join(same)}" if same else "",
        "" if step.within_ms is None else f"within {format_duration(step.within_ms)}",
    ]
    return " ".join(part for part in parts if part)


def _sequence(node: model.SequenceNode) -> tuple[str, ...]:
    sequence = node.sequence
    within = "" if sequence.within_ms is None else f"(within {format_duration(sequence.within_ms)})"
    head = "strict sequence" if sequence.strict else "sequence"
    return head, within, "→ ".join(f"{_step(step)} " for step in sequence.steps).rstrip()


def grid_text(rfm: Rfm) -> str:
    """Name the events of a named grid; empty for the grid of orders."""
    if isinstance(rfm.actions, UnsetType):
        return ""
    return f"of {select_text(model.Selection(*rfm.selection))}:"


def _digits(node: model.RfmNode) -> str:
    if node.tiers:
        return " or ".join(node.tiers)
    return " and ".join(f"{name} {predicate_text(test)}" for name, test in node.tests)


def _hysteresis(node: model.Hysteresis) -> tuple[str, ...]:
    *head, enter = _LABELS[type(node.enter)](node.enter)
    *_, exit = _LABELS[type(node.exit)](node.exit)
    return *head, f"enter {enter},", f"exit {exit}"


def _active(node: model.ActivePeriods) -> tuple[str, ...]:
    days, selected = _days(node.select, node.calendar)
    return "active", days, selected, predicate_text(node.count), window_text(node.window)


def _gap(gap_ms: int) -> str:
    return f"with a gap of {format_duration(gap_ms)}"


def _sessions(node: model.Sessions) -> tuple[str, ...]:
    count, window = predicate_text(node.count), window_text(node.window)
    return "sessions of", select_text(node.select), _gap(node.gap_ms), count, window


def _session(node: model.SessionFigure) -> tuple[str, ...]:
    figure = f"{node.figure} {path_text(node.path)}" if node.path else node.figure
    head = f"{figure} of the {node.which} session of"
    return head, select_text(node.select), _gap(node.gap_ms), _figure_text(node)


def _figure_text(node: model.SessionFigure) -> str:
    if node.figure != "duration":
        return predicate_text(node.test)
    return predicate_text(Predicate(tuple((name, _lengths(operand)) for name, operand in node.test.ops)))


def _lengths(operand: Any) -> Any:
    return tuple(map(format_duration, operand)) if isinstance(operand, tuple) else format_duration(operand)


def _regularly(node: model.Regularly) -> tuple[str, ...]:
    periods = f"periods of {format_duration(node.period_ms)}"
    return "did", select_text(node.select), f"in {node.k} of the last {node.periods}", periods


def _lifecycle(node: model.LifecycleNode) -> tuple[str, ...]:
    stages = " or ".join(node.stages)
    return (
        "lifecycle of",
        select_text(node.select),
        f"by periods of {format_duration(node.period_ms)}",
        stages,
    )


#: Node -> the parts of its label; empty ones are left out.
_LABELS: dict[type, Callable[[Any], tuple[str, ...]]] = {
    model.All: lambda _node: ("all of",),
    model.Any: lambda _node: ("any of",),
    model.Not: lambda _node: ("not",),
    model.AtLeast: lambda node: (f"at least {node.k} of",),
    model.Did: _did,
    model.Aggregate: _aggregate,
    model.Occurrence: lambda node: (node.which, select_text(node.select), _age(node)),
    model.Trait: lambda node: ("trait", names_text(node.path), predicate_text(node.test)),
    model.HasBeen: lambda node: (
        f"trait {names_text(node.path)} has been",
        predicate_text(node.test),
        f"for {format_duration(node.length_ms)}",
    ),
    model.Changed: lambda node: (
        f"trait {'.'.join(node.path)} changed",
        _sides(node),
        window_text(node.window),
    ),
    model.HasIdentifier: lambda node: ("has identifier", " or ".join(node.types)),
    model.OnList: lambda node: ("on list", node.key),
    model.Near: _near,
    model.Located: lambda node: (f"inside {node.name}", *_younger(node)),
    model.Visited: lambda node: (
        f"any location inside {node.name}",
        window_text(node.window),
        _by(node.by),
    ),
    model.Bucket: lambda node: (f"bucket {node.salt!r}", _percent(node)),
    model.SequenceNode: _sequence,
    model.RfmNode: lambda node: ("rfm", grid_text(node.rfm), _digits(node)),
    model.ScoreNode: lambda node: ("score", node.untested.title, predicate_text(node.test)),
    model.Hysteresis: _hysteresis,
    model.KnownFor: lambda node: (f"known for {format_duration(node.length_ms)}",),
    model.InSegment: lambda node: (f"in segment {node.key}",),
    model.ActivePeriods: _active,
    model.Sessions: _sessions,
    model.SessionFigure: _session,
    model.Regularly: _regularly,
    model.LifecycleNode: _lifecycle,
    model.Compare: lambda node: (figure_text(node.left), _right_side(node)),
    model.Ratio: _ratio,
    model.Distance: lambda node: (figure_text(node.figure), predicate_text(node.test)),
    model.Frozen: lambda node: (*_LABELS[type(node.of)](node.of), refresh_text(node.refresh)),
    model.PublishedFigure: lambda node: (figure_text(node.figure),),
}

#: Node -> what its value is compared with.
_THRESHOLDS: dict[type, Callable[[Any], str]] = {
    model.All: lambda node: f"≥ {len(node.of)}",
    model.Any: lambda _node: "≥ 1",
    model.AtLeast: lambda node: f"≥ {node.k}",
    model.Did: lambda node: predicate_text(node.count),
    model.Aggregate: lambda node: predicate_text(node.test),
    model.Occurrence: _age,
    model.Trait: lambda node: predicate_text(node.test),
    model.HasBeen: lambda node: f"since {format_duration(node.length_ms)} or more",
    model.Changed: lambda node: _sides(node),
    model.HasIdentifier: lambda node: " or ".join(node.types),
    model.OnList: _version_text,
    model.Near: lambda node: f"≤ {node.radius_m:g}",
    model.Located: lambda node: node.name,
    model.Visited: lambda _node: "≥ 1",
    model.Bucket: _percent,
    model.RfmNode: _digits,
    model.ScoreNode: lambda node: predicate_text(node.test),
    model.Compare: _right_side,
    model.Ratio: lambda node: predicate_text(node.test),
    model.KnownFor: lambda node: f"older than {format_duration(node.length_ms)}",
    **dict.fromkeys((model.ActivePeriods, model.Sessions), lambda node: predicate_text(node.count)),
    model.SessionFigure: _figure_text,
    model.Regularly: lambda node: f"≥ {node.k}",
    model.LifecycleNode: lambda node: " or ".join(node.stages),
    model.Distance: lambda node: predicate_text(node.test),
    model.Frozen: lambda node: threshold(node.of) or "",
}
