"""Tables: compiled definitions in the form that the kernel reads (``src/tables.rs``).

What the kernel cannot evaluate is left out: a segment without a rule is Python's, and so is each event that
may change it. A feature that it cannot change is Python's, and so is each event that the feature selects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from segops.core.features import Feature
from segops.core.identifiers import Rules
from segops.core.index import IndexedFeature, Watch
from segops.core.operators import EDGES, Predicate
from segops.core.rules import model
from segops.core.rules.counts import boundaries
from segops.core.rules.execution import FIRST, IDENTIFIERS, LATEST, LISTS, LOCATION, Rule, feature_of
from segops.core.segments import SegmentSet
from segops.core.values import exact, kind
from segops.core.windows import Fixed, Within

#: The version of the tables; the kernel was built for one.
VERSION: Final = 2
#: Further ahead, Python ends its search for a flip after so many steps; the kernel counts them otherwise.
_LOOK_AHEAD_MS: Final = 3_653 * 86_400_000

_ORDERED: Final = frozenset(("eq", "ne", "lt", "lte", "gt", "gte"))
_SEVERAL: Final = frozenset(("in", "not_in", "between"))
_TEXTS: Final = frozenset(("contains", "starts_with", "ends_with"))
_DATES: Final = frozenset(("before", "after", "in_last", "in_next", "older_than", "newer_than"))
#: Where an address may be -> its number in the kernel.
EMAIL_SOURCES: Final = {"traits": 0, "context.traits": 1, "properties": 2}
#: The types of identifiers that the kernel reads -> their numbers there.
_TYPES: Final = {"user_id:": 0, "email:": 1, "anonymous_id:": 2}
_KINDS: Final = frozenset(("count", "sum", "min", "max", "distinct", "latest", "earliest", "first", "last"))


class LeftToPythonError(Exception):
    """A node, a predicate or a feature that the kernel does not evaluate."""


class Limits(msgspec.Struct, frozen=True):
    """The rules for identifiers, and the size in bytes from which a profile is Python's."""

    blocked: tuple[str, ...]
    email_sources: tuple[str, ...]
    rules: Rules
    max_bytes: int


def _limits(limits: Limits, context_keys: Iterable[str]) -> list[Any]:
    rules, sources = limits.rules, [EMAIL_SOURCES[each] for each in limits.email_sources]
    order = [_TYPES[each] for each in rules.ordered(_TYPES)]
    most = [list(each) for each in rules.limits]
    return [limits.blocked, sources, order, rules.priority, most, rules.default_limit, sorted(context_keys)]


def tables_of(segments: SegmentSet, limits: Limits) -> bytes:
    """Return the tables of compiled definitions."""
    return msgspec.msgpack.encode(_Export(segments).tables(limits))


class _Export:
    def __init__(self, segments: SegmentSet) -> None:
        self._segments = segments
        self._numbers = {key: number for number, key in enumerate(segments.features)}
        self._nodes = {each.key: each.when for each in segments.definitions}
        self._dates: dict[tuple[str, ...], None] = {}

    def tables(self, limits: Limits) -> list[Any]:
        """Return the tables, in the order in which the kernel reads them."""
        of = self._segments
        rows = [self._segment(each) for each in of.units]
        indexed = _indexed(of)
        return [
            VERSION,
            of.version,
            rows,
            [_feature(key, feature, indexed[key]) for key, feature in of.features.items()],
            {name: self._watch(watch) for name, watch in of.watches.items()},
            None if of.watch_of_any is None else self._watch(of.watch_of_any),
            _listed(of.by_trait),
            {
                name: [(path, sorted(kinds)) for path, kinds in each]
                for name, each in of.trait_readings.items()
            },
            list(of.histories),
            list(self._dates),
            [sorted(of.by_part[part]) for part in (FIRST, LATEST, LOCATION, IDENTIFIERS)]
            + [sorted(of.blank_members), sorted(of.by_part[LISTS])],
            _limits(limits, of.context_keys),
            limits.max_bytes,
        ]

    def _segment(self, unit: Any) -> list[Any]:
        try:
            node = self._rule(unit)
        except LeftToPythonError:
            node = None
        return [unit.key, unit.version, node]

    def _rule(self, unit: Any) -> list[Any]:
        if unit.key not in self._nodes or not isinstance(unit.rule, Rule):
            raise LeftToPythonError(unit.key)  # an indicator, a policy, hysteresis, a paused segment
        found = _Leaves(self._numbers, self._inlined)
        node = found.node(self._nodes[unit.key])
        if found.unfolds and found.is_far:
            raise LeftToPythonError(unit.key)
        self._dates |= found.dates
        return node

    def _inlined(self, key: str) -> model.Node:
        if not isinstance(self._segments.by_key[key].rule, Rule):
            raise LeftToPythonError(key)
        return self._nodes[key]

    def _watch(self, watch: Watch) -> list[Any]:
        by_value = [
            (path, {value: [self._watched(each) for each in features] for value, features in table.items()})
            for path, table in watch.by_value
        ]
        return [[self._watched(each) for each in watch.always], by_value]

    def _watched(self, feature: IndexedFeature) -> list[Any]:
        """Return the conditions that the kernel tests; all of those of a feature that it changes."""
        return [self._numbers[feature.id], [found for each in feature.where if (found := _condition(*each))]]


def _indexed(of: SegmentSet) -> dict[int, IndexedFeature]:
    """Return the indexed form of each feature; a history, which reads no event, among them."""
    watches = [*of.watches.values(), *([] if of.watch_of_any is None else [of.watch_of_any])]
    found = {each.id: each for watch in watches for each in watch.always}
    found |= {
        each.id: each for watch in watches for _, t in watch.by_value for fs in t.values() for each in fs
    }
    return found | {each.id: each for pairs in of.histories.values() for _, each in pairs}


def _listed(found: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    return {name: sorted(indexes) for name, indexes in found.items()}


def _condition(path: tuple[str, ...], test: Predicate) -> tuple[tuple[str, ...], list[Any]] | None:
    """Return a condition on an event; None for one that the kernel cannot test."""
    try:
        return (_plain_path(path), _predicate(test)) if test.__class__ is Predicate else None
    except LeftToPythonError:
        return None


def _plain_path(path: tuple[str, ...]) -> tuple[str, ...]:
    if not path or not path[0]:
        raise LeftToPythonError(path)  # of the context, of a look-up, or the time
    return path


# -- features ----------------------------------------------------------------------------------------------


def _feature(key: int, feature: Feature, indexed: IndexedFeature) -> list[Any]:
    name, window = _reducer(feature), feature.window
    since, until = (window.since_ms, window.until_ms) if isinstance(window, Fixed) else (None, None)
    by_size = None if indexed.by_size is None else [sorted(each) for each in indexed.by_size]
    length = window.length_ms if isinstance(window, Within) else None
    path = None if name == "python" else feature.path
    return [key, name, since, until, length, feature.capacity, path, sorted(indexed.segments), by_size]


def _reducer(feature: Feature) -> str:
    """Return the name of the kernel's reducer; ``python`` for a feature that it does not change."""
    if _is_special(feature) or not isinstance(feature.window, Fixed | Within) or feature.kind not in _KINDS:
        return "python"
    if feature.path is not None and not feature.path[0]:
        return "python"
    if any(_condition(*each) is None for each in feature.where):
        return "python"
    if isinstance(feature.window, Fixed):
        return f"run_{feature.kind}"
    return "slide_sum" if feature.kind == "count" and feature.capacity is None else f"slide_{feature.kind}"


def _is_special(feature: Feature) -> bool:
    more = (
        feature.sequence,
        feature.purchases,
        feature.convert,
        feature.money,
        feature.located,
        feature.days,
    )
    timed = (feature.length_ms, feature.refresh)
    return feature.keeps_events or any(each is not None for each in (*more, *timed))


# -- predicates --------------------------------------------------------------------------------------------


def _predicate(test: Predicate, *, dates: bool = False) -> list[Any]:
    if test.__class__ is not Predicate:
        raise LeftToPythonError(test)  # of a converted value
    return [[name, _operand(name, operand, dates=dates)] for name, operand in test.ops]


def _operand(name: str, operand: Any, *, dates: bool) -> Any:
    if name in _ORDERED:
        return _literal(operand)
    if name in _SEVERAL:
        return [_literal(each) for each in operand]
    if name in _TEXTS or name == "exists" or (dates and name in _DATES):
        return operand
    raise LeftToPythonError(name)


def _literal(value: Any) -> Any:
    of = kind(value)
    if of in ("string", "boolean"):
        return value
    if of != "number" or not isinstance(value, int | float) or not math.isfinite(value):
        raise LeftToPythonError(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise LeftToPythonError(value)
    return value


def _exact(test: Predicate) -> list[Any]:
    """Return a predicate of a sum, its numbers as texts of the decimals that were written."""
    found = []
    for name, operand in test.ops:
        if name == "exists":
            found.append([name, operand])
        elif name in _ORDERED:
            found.append([name, _decimal(operand)])
        elif name in _SEVERAL:
            found.append([name, [_decimal(each) for each in operand]])
        else:
            raise LeftToPythonError(name)
    return found


def _decimal(value: Any) -> str:
    if kind(value) != "number":
        raise LeftToPythonError(value)
    return str(exact(value))


# -- nodes -------------------------------------------------------------------------------------------------


class _Leaves:
    """The export of one rule. ``unfolds``: a leaf changes with time as often as it has entries.

    ``is_far``: a leaf may change beyond the time in which Python searches without counting steps.
    ``dates``: the paths of traits that are read as dates.
    """

    def __init__(self, numbers: Mapping[int, int], inlined: Callable[[str], model.Node]) -> None:
        self.unfolds = self.is_far = False
        self.dates: dict[tuple[str, ...], None] = {}
        self._numbers = numbers
        self._inlined = inlined

    def node(self, node: model.Node) -> list[Any]:
        """Return a node. Raises LeftToPythonError."""
        make = _NODES.get(type(node))
        if make is None:
            raise LeftToPythonError(node)
        return make(self, node)

    def feature(self, node: model.Node) -> tuple[int, str, int | None]:
        """Return the number of a leaf's feature, its reducer, and the length of its sliding window."""
        feature = feature_of(node)
        name = "python" if feature is None else _reducer(feature)
        if feature is None or name == "python":
            raise LeftToPythonError(node)
        length = feature.window.length_ms if isinstance(feature.window, Within) else None
        if length is not None and length > _LOOK_AHEAD_MS:
            raise LeftToPythonError(node)
        return self._numbers[feature.id], name, length

    def count(self, node: model.Node, test: Predicate) -> list[Any]:
        """Return a leaf that counts events or distinct values."""
        number, name, length = self.feature(node)
        if name == "slide_sum":
            self.unfolds = True
            return ["sum", number, "count", length, _exact(test)]
        falling = [] if length is None else boundaries(test)[::-1]
        return ["count", number, length, _predicate(test), falling]

    def aggregate(self, node: model.Aggregate) -> list[Any]:
        """Return a leaf that reads values."""
        if node.function == "distinct":
            return self.count(node, node.test)
        number, _, length = self.feature(node)
        self.unfolds |= length is not None
        if node.function in ("sum", "avg"):
            return ["sum", number, node.function, length, _exact(node.test)]
        return ["picked", number, node.function, length, _predicate(node.test)]

    def occurrence(self, node: model.Occurrence) -> list[Any]:
        """Return a leaf about the age of an event."""
        ages = (node.older_than_ms, node.newer_than_ms)
        self.is_far |= max(age or 0 for age in ages) > _LOOK_AHEAD_MS
        return ["age", self.feature(node)[0], *ages]

    def trait(self, node: model.Trait) -> list[Any]:
        """Return a leaf about a trait; a date in it may be far away."""
        if any(name in _DATES for name, _ in node.test.ops):
            self.dates[node.path] = None
        self.is_far |= any(name in EDGES for name, _ in node.test.ops)
        return ["trait", _plain_path(node.path), _predicate(node.test, dates=True)]

    def known_for(self, node: model.KnownFor) -> list[Any]:
        """Return a leaf about the age of the profile."""
        self.is_far |= node.length_ms > _LOOK_AHEAD_MS
        return ["known_for", node.length_ms]

    def in_segment(self, node: model.InSegment) -> list[Any]:
        """Return the rule of the segment."""
        return self.node(self._inlined(node.key))


_NODES: Final[Mapping[type, Callable[[_Leaves, Any], list[Any]]]] = {
    model.All: lambda of, node: ["all", [of.node(each) for each in node.of]],
    model.Any: lambda of, node: ["any", [of.node(each) for each in node.of]],
    model.Not: lambda of, node: ["not", of.node(node.of)],
    model.AtLeast: lambda of, node: ["at_least", node.k, [of.node(each) for each in node.of]],
    model.Did: lambda of, node: of.count(node, node.count),
    model.Aggregate: _Leaves.aggregate,
    model.Occurrence: _Leaves.occurrence,
    model.Trait: _Leaves.trait,
    model.KnownFor: _Leaves.known_for,
    model.Bucket: lambda _, node: ["bucket", node.salt, node.low, node.high],
    model.HasIdentifier: lambda _, node: ["has_identifier", list(node.types)],
    model.InSegment: _Leaves.in_segment,
}
