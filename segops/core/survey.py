"""A survey of events: which names, paths and traits that segments read occur in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import UnsetType

from segops.core.conversions import CONVERSIONS
from segops.core.events import Event
from segops.core.features import ANY_NAME
from segops.core.features.orders import ORDER_NAME
from segops.core.identifiers import all_of, type_of
from segops.core.lookups import within
from segops.core.operators import Elements, Predicate
from segops.core.paths import Each, names_text, path_text, walker
from segops.core.rules import model
from segops.core.rules.figures import (
    AggregateFigure,
    CountFigure,
    DaysFigure,
    DigitFigure,
    DistanceFigure,
    Number,
    PercentileFigure,
    ScoreFigure,
    TierFigure,
    TraitFigure,
    leaf_figures,
)
from segops.core.scoring.affinity import AffinityScore
from segops.core.scoring.order_scores import OrderScore
from segops.core.scoring.rfm import Rfm
from segops.core.segments import Definition
from segops.core.skips import Skip, expected_kinds, misfit
from segops.core.unknown_keys import UnknownKeys
from segops.core.values import lookup
from segops.core.windows import SinceLast

#: Aggregates that accept values of any kind, so that a predicate may not fit. Others skip unreadable values.
_VALUES = frozenset(("latest", "earliest", "most_frequent"))


_NUMERIC = frozenset(("sum", "avg", "min", "max"))
_NUMBER = frozenset(("number",))
_TEXT = frozenset(("string",))


def _is_number(text: str) -> bool:
    return CONVERSIONS["number"](text) is not None


class Reading(NamedTuple):
    """A path that a rule reads. ``kinds``: the expected kinds of values, or ``date``; empty: any kind.

    ``adds``: an aggregate reads numbers only.
    """

    path: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    adds: bool = False


class _Read(NamedTuple):
    """All that a node reads of events: values by event names, traits, the location, types of identifiers."""

    events: Iterable[tuple[tuple[str, ...], Reading | None]] = ()
    traits: tuple[tuple[str, ...], ...] = ()
    location: bool = False
    identifiers: tuple[str, ...] = ()
    #: The traits that must be numbers.
    numbers: tuple[tuple[str, ...], ...] = ()


class Survey:
    """A record of which names, paths and traits, of those that segments read, occurred in the events."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._of: dict[str, dict[Reading, bool]] = {}
        self._traits: dict[tuple[str, ...], bool] = {}
        self._met: set[str] = set()
        self._location_met = True
        self._numbers: set[tuple[str, ...]] = set()
        self._numbers_as_text: Counter[str] = Counter()
        self._identifiers: dict[str, bool] = {}
        self._unknown_keys = UnknownKeys()
        #: Held: paths of look-ups are read as long as a definition holds their columns.
        self._definitions = tuple(definitions)
        for definition in self._definitions:
            for node in model.below(definition.when):
                self._add(node)

    def _add(self, node: model.Node) -> None:
        read_by = _READ.get(type(node))
        if read_by is None:
            return
        events, traits, location, identifiers, numbers = read_by(node)
        self._numbers.update(numbers)
        for names, reading in events:
            for name in names:
                known = self._of.setdefault(name, {})
                if reading is not None:
                    known[reading] = False
        self._traits.update(dict.fromkeys(traits, False))
        self._identifiers.update(dict.fromkeys(identifiers, False))
        self._location_met = self._location_met and not location

    def observe(self, event: Event) -> list[Skip]:
        """Record an event; return its values that a predicate cannot read, without those of aggregates."""
        self._met.add(event.name)
        self._location_met = self._location_met or event.location is not None
        if self._identifiers:
            self._identifiers.update(
                dict.fromkeys(self._identifiers.keys() & map(type_of, all_of(event)), True)
            )
        found = []
        texts: set[str] = set()
        for known, reading in self._read_of(event.name):
            value = walker(reading.path)(event)
            for one in value.values if isinstance(value, Each) else () if value is None else (value,):
                known[reading] = True
                if one.__class__ is str and (reading.adds or reading.kinds == _NUMBER) and _is_number(one):
                    texts.add(f"{path_text(reading.path)} of {event.name}")
                odd = misfit(one, reading.kinds)
                if odd is not None:
                    found.append(Skip(event.name, path_text(reading.path), odd))
        self._unknown_keys.observe((reading.path for _, reading in self._read_of(event.name)), event)
        self._numbers_as_text.update(texts | self._observe_traits(event.traits or {}))
        return found

    def _observe_traits(self, traits: dict[str, Any]) -> set[str]:
        """Record traits; return those that are numbers as text, where a rule expects numbers."""
        texts = set()
        for path in self._traits if traits else ():
            value = lookup(traits, path)
            if value is not None:
                self._traits[path] = True
            if path in self._numbers and isinstance(value, str) and _is_number(value):
                texts.add(f"the trait {names_text(path)}")
        return texts

    def _read_of(self, name: str) -> Iterator[tuple[dict[Reading, bool], Reading]]:
        for known in (self._of.get(name, {}), self._of.get(ANY_NAME, {})):
            yield from ((known, reading) for reading in known)

    def readings(self) -> Mapping[str, Collection[Reading]]:
        """Return what segments read of events, by name."""
        return self._of

    def traits(self) -> Mapping[tuple[str, ...], bool]:
        """Return the traits that segments read -> whether a number is expected."""
        return {path: path in self._numbers for path in self._traits}

    def suggestions(self) -> Iterator[str]:
        """Yield one line per path at which a rule expects numbers, and events have them as text."""
        for what, number in sorted(self._numbers_as_text.items()):
            values = "1 event has a number" if number == 1 else f"{number:,} events have numbers"
            yield f"{what}: {values} as text; as: number reads it"

    def unknown_keys(self) -> Iterator[str]:
        """Yield one line per path whose values are keys of no row of the look-up table."""
        return self._unknown_keys.lines()

    def names_never_met(self) -> Iterator[str]:
        """Yield one line per event name that segments read and that never occurred."""
        yield from (f"no event is named {name}" for name in sorted(self._of.keys() - self._met - {ANY_NAME}))

    def paths_never_met(self) -> Iterator[str]:
        """Yield one line per path or trait that segments read and that no event had."""
        for name in sorted(self._of.keys() & {*self._met, ANY_NAME}):
            paths = {reading.path: met for reading, met in self._of[name].items()}
            words = "event" if name == ANY_NAME else name
            yield from (f"no {words} has {path_text(path)}" for path, met in sorted(paths.items()) if not met)
        for path, met in sorted(self._traits.items()):
            if not met:
                yield f"no event has the trait {names_text(path)}"
        for kind, met in sorted(self._identifiers.items()):
            if not met:
                yield f"no event has an identifier of the type {kind}"
        if not self._location_met:
            yield "no event has a context.location"


def _selected(
    names: tuple[str, ...], where: Iterable[tuple[tuple[str, ...], Predicate]]
) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    yield names, None
    for path, test in where:
        yield names, Reading(path, expected_kinds(test))
        yield from ((names, reading) for reading in _of_elements(path, test))


def _of_elements(path: tuple[str, ...], test: Predicate) -> Iterator[Reading]:
    """Yield what a test of the elements of a list reads of them."""
    for _, operand in test.ops:
        if isinstance(operand, Elements):
            for below, own in operand.where:
                inner = within(path, below)
                yield Reading(inner, expected_kinds(own))
                yield from _of_elements(inner, own)


def _of_selection(select: model.Selection) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    return _selected(select.names, select.where)


def _of_did(node: model.Did | model.Aggregate) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    yield from _of_selection(node.select)
    if isinstance(node.window, SinceLast):
        compared = None if node.window.same is None else Reading(node.window.same)
        yield from ((names, compared) for names in (node.window.names, node.select.names))


def _of_aggregate(node: model.Aggregate) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    yield from _of_did(node)
    yield from _of_value(node, expected_kinds(node.test))


def _of_value(
    node: model.Aggregate | AggregateFigure, expected: frozenset[str]
) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    """Yield what an aggregate reads, of these kinds, of the events that it selects."""
    kinds = expected if node.function in _VALUES else frozenset[str]()
    adds = node.function in _NUMERIC and node.convert is None
    yield node.select.names, Reading(node.path, kinds, adds)
    if node.money is not None:
        yield node.select.names, Reading(node.money.path)


def _of_sequence(node: model.SequenceNode) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    for step in node.sequence.steps:
        yield from _selected(step.names, step.where)
        yield from ((step.names, Reading(path)) for path, _ in step.same_as)


def _of_trait(node: model.Trait | model.HasBeen) -> _Read:
    return _Read(traits=(node.path,), numbers=(node.path,) if expected_kinds(node.test) == _NUMBER else ())


def _of_grid(rfm: Rfm) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    names, where = rfm.selection
    yield from _selected(names, where)
    if not isinstance(rfm.actions, UnsetType) and rfm.actions.amount is not None:
        yield names, Reading(rfm.actions.amount, adds=True)


def _of_session(node: model.SessionFigure) -> Iterator[tuple[tuple[str, ...], Reading | None]]:
    yield from _of_selection(node.select)
    if node.path is not None:
        yield node.select.names, Reading(node.path, expected_kinds(node.test))


def _with_inputs(figures: Iterable[object]) -> Iterator[object]:
    """Yield figures; of the score of a model, the figures that it is computed from."""
    for each_figure in figures:
        figure = each_figure.score if isinstance(each_figure, PercentileFigure) else each_figure
        scored = figure.model if isinstance(figure, (ScoreFigure, model.ScoreNode)) else None
        formula = None if scored is None else scored.formula
        if isinstance(formula, (AffinityScore, OrderScore)):
            yield formula
        elif formula is not None:
            for each in formula.inputs:
                yield from list(leaf_figures(each.figure)) or [each.figure]
        else:
            yield figure


def _of_figures(
    node: model.Compare | model.Ratio | model.PublishedFigure | model.ScoreNode,
) -> _Read:
    """Gather what figures read; a figure that is divided, or compared with a number, must be a number."""
    figures = list(_with_inputs([node] if isinstance(node, model.ScoreNode) else leaf_figures(node)))
    number = isinstance(node, model.Ratio) or (
        isinstance(node, model.Compare) and isinstance(node.right, Number)
    )
    events, traits = [], []
    for figure in figures:
        match figure:
            case CountFigure(select=select) | DaysFigure(select=select):
                events += list(_of_selection(select))
            case AggregateFigure(select=select):
                events += [*_of_selection(select), *_of_value(figure, _NUMBER if number else frozenset())]
            case TraitFigure(path=path):
                traits.append(path)
            case DigitFigure() | TierFigure():
                events += _of_grid(figure.rfm)
            case OrderScore():
                events.append(((ORDER_NAME,), None))
            case AffinityScore(names=names, path=path):
                events.append((names, Reading(path, _TEXT)))
    located = any(isinstance(figure, DistanceFigure) for figure in figures)
    return _Read(events, tuple(traits), located)


def _of_location(node: model.Near | model.Located | model.Visited) -> _Read:
    return _Read(location=True) if node.by is None else _Read([((ANY_NAME,), Reading(node.by))])


#: Node -> all that it reads of events.
_READ: dict[type, Callable[[Any], _Read]] = {
    model.Did: lambda node: _Read(_of_did(node)),
    model.Occurrence: lambda node: _Read(_of_selection(node.select)),
    model.Aggregate: lambda node: _Read(_of_aggregate(node)),
    model.SequenceNode: lambda node: _Read(_of_sequence(node)),
    model.RfmNode: lambda node: _Read(_of_grid(node.rfm)),
    **dict.fromkeys((model.Trait, model.HasBeen), lambda node: _of_trait(node)),
    model.Changed: lambda node: _Read(traits=(node.path,)),
    **dict.fromkeys((model.Near, model.Located, model.Visited), _of_location),
    model.Distance: lambda _node: _Read(location=True),
    model.HasIdentifier: lambda node: _Read(identifiers=node.types),
    **dict.fromkeys(
        (model.ActivePeriods, model.Sessions, model.Regularly, model.LifecycleNode),
        lambda node: _Read(_of_selection(node.select)),
    ),
    model.SessionFigure: lambda node: _Read(_of_session(node)),
    **dict.fromkeys((model.Compare, model.Ratio, model.PublishedFigure, model.ScoreNode), _of_figures),
    model.Frozen: lambda node: _READ[type(node.of)](node.of),
}
