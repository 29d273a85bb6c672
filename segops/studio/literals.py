"""What rules name: their events, properties, traits, values, counts, durations, instants and points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from segops.core.areas import Circle, Point
from segops.core.features.sequence import SequenceStep
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.figures import AggregateFigure, CountFigure, Number, TraitFigure
from segops.core.time_of_day import TimeOfDay
from segops.core.windows import SinceLast

#: Longer times are instants, not durations: 1973 as milliseconds since 1970.
_LONGEST_MS: Final = 10**11
#: An event of this name satisfies a rule about any event.
ANY: Final = "page"


@dataclass
class Literals:
    """What one or more rules name.

    ``values``: the predicates on each property of each event; ``traits``: those on each trait, by path.
    ``counts``: numbers that counts and figures are compared with; ``spans_ms`` durations; ``clocks_ms`` times
    of day; ``points`` locations with the radius in metres; ``scripts`` the steps of each sequence, as event
    and greatest pause.
    """

    events: set[str] = field(default_factory=set)
    values: dict[tuple[str, tuple[str, ...]], list[Predicate]] = field(default_factory=dict)
    traits: dict[tuple[str, ...], list[Predicate]] = field(default_factory=dict)
    counts: set[int] = field(default_factory=set)
    numbers: set[float] = field(default_factory=set)
    spans_ms: set[int] = field(default_factory=set)
    instants_ms: set[int] = field(default_factory=set)
    clocks_ms: set[int] = field(default_factory=set)
    points: set[tuple[float, float, float]] = field(default_factory=set)
    scripts: list[tuple[tuple[str, int], ...]] = field(default_factory=list)

    def add(self, node: model.Node) -> Literals:
        """Add what a rule names; return self."""
        for struct in structs_of(node):
            self._add_times(struct)
            for kind, read in _READERS:
                if isinstance(struct, kind):
                    read(self, struct)
        return self

    def _add_times(self, struct: msgspec.Struct) -> None:
        for name in struct.__struct_fields__:
            value = getattr(struct, name)
            if name.endswith("_ms") and type(value) is int and value > 0:
                times = self.spans_ms if value < _LONGEST_MS else self.instants_ms
                times.add(value)

    def select(self, names: tuple[str, ...], where: tuple[tuple[tuple[str, ...], Predicate], ...]) -> None:
        """Add the names and conditions of a selection of events."""
        found = [ANY if name == "*" else name for name in names]
        self.events.update(found)
        for path, test in where:
            if isinstance(test, TimeOfDay):
                self.clocks_ms.update((test.from_ms, test.to_ms))
            else:
                self.property(found, path, test)

    def property(self, names: list[str] | tuple[str, ...], path: tuple[str, ...], *tests: Predicate) -> None:
        """Add a property of events, and what it is compared with."""
        for name in names:
            self.values.setdefault((ANY if name == "*" else name, path), []).extend(tests)

    def count(self, test: Predicate) -> None:
        """Add what a count is compared with."""
        for operand in operands_of(test):
            if isinstance(operand, (int, float)) and not isinstance(operand, bool):
                self.counts.add(round(operand))

    def trait(self, path: tuple[str, ...], *tests: Predicate | None) -> None:
        """Add a trait, and what it is compared with."""
        self.traits.setdefault(path, []).extend(test for test in tests if test is not None)


def structs_of(value: Any) -> Iterator[msgspec.Struct]:
    """Yield the structs in a rule, from the top down.

    >>> [type(each).__name__ for each in structs_of(model.Not(model.KnownFor(5)))]
    ['Not', 'KnownFor']
    """
    if isinstance(value, msgspec.Struct):
        yield value
        value = tuple(getattr(value, name) for name in value.__struct_fields__)
    if isinstance(value, tuple):
        for each in value:
            yield from structs_of(each)


def operands_of(test: Predicate) -> Iterator[Any]:
    """Yield what a predicate compares with: the elements of a list one by one.

    >>> list(operands_of(Predicate((("in", ("a", "b")), ("ne", "c")))))
    ['a', 'b', 'c']
    """
    for _, operand in test.ops:
        yield from operand if isinstance(operand, tuple) else (operand,)


def _of_aggregate(found: Literals, node: Any) -> None:
    if node.function == "distinct":
        found.count(node.test)
        found.property(node.select.names, node.path)
    else:
        found.property(node.select.names, node.path, node.test)


def _of_step(found: Literals, step: Any) -> None:
    found.select(step.names, step.where)
    for path, _ in step.same_as:
        found.property(step.names, path)


def _of_sequence(found: Literals, node: Any) -> None:
    steps = node.sequence.steps
    found.scripts.append(
        tuple((step.names[0], step.within_ms or 0) for step in steps if step.names[0] != "*")
    )


def _of_session(found: Literals, node: Any) -> None:
    if node.path is not None:
        found.property(node.select.names, node.path, node.test)
    else:
        found.count(node.test)


def _of_anchor(found: Literals, window: Any) -> None:
    found.select(window.names, ())
    if window.same is not None:
        found.property(window.names, window.same)


def _of_number(found: Literals, node: Any) -> None:
    found.numbers.add(float(node.number))
    found.counts.add(round(node.number))


_Reader = Callable[[Literals, Any], None]
_READERS: Final[tuple[tuple[type | tuple[type, ...], _Reader], ...]] = (
    (model.Selection, lambda found, node: found.select(node.names, node.where)),
    (model.SequenceNode, _of_sequence),
    (SequenceStep, _of_step),
    ((model.Did, model.ActivePeriods, model.Sessions), lambda found, node: found.count(node.count)),
    (model.Regularly, lambda found, node: found.counts.update((node.k, node.periods))),
    (model.Aggregate, _of_aggregate),
    (AggregateFigure, lambda found, node: found.property(node.select.names, node.path)),
    (CountFigure, lambda found, node: found.select(node.select.names, node.select.where)),
    (model.SessionFigure, _of_session),
    ((model.Trait, model.HasBeen), lambda found, node: found.trait(node.path, node.test)),
    (TraitFigure, lambda found, node: found.trait(node.path)),
    (model.Changed, lambda found, node: found.trait(node.path, node.before, node.after)),
    (model.Ratio, lambda found, node: found.count(node.test)),
    (Number, _of_number),
    (SinceLast, _of_anchor),
    (model.Near, lambda found, node: found.points.add((node.lat, node.lon, node.radius_m))),
    (Circle, lambda found, node: found.points.add((*node.at, node.radius_m))),
    (Point, lambda found, node: found.points.add((*node.at, 1_000.0))),
)
