"""Tables: compiled definitions in the form that the kernel reads (``src/tables.rs``).

What the kernel cannot evaluate is a question to Python (``answers.py``): a rule with the parts of the profile
that it reads, a feature with its state, a condition with the value. An indicator is left out: each event that
may change it is Python's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from segops.core.backfill import Collector
from segops.core.features import ANY_NAME, Feature
from segops.core.features.orders import ACTIONS
from segops.core.features.sequence import Sequence
from segops.core.features.since import since_reducer
from segops.core.identifiers import Rules
from segops.core.index import IndexedFeature, Watch
from segops.core.indicators import Indicator
from segops.core.memberships import PausedMembership
from segops.core.operators import Predicate
from segops.core.refresh import Refresh
from segops.core.rules import model
from segops.core.rules.execution import FIRST, IDENTIFIERS, LATEST, LISTS, LOCATION, Rule
from segops.core.rules.policy import Policy
from segops.core.segments import Segment, SegmentSet, references
from segops.core.windows import Between, Calendar, Fixed, SinceLast, Within, reach_ms
from segops.kernel.predicates import (
    Asked,
    LeftToPythonError,
    LocationTest,
    OtherFloatsError,
    condition,
    plain_path,
)
from segops.kernel.reducers import reducer_name
from segops.kernel.rules import Leaves

#: The version of the tables; the kernel was built for one.
VERSION: Final = 5
#: Where an address may be -> its number in the kernel.
EMAIL_SOURCES: Final = {"traits": 0, "context.traits": 1, "properties": 2}
#: The types of identifiers that the kernel reads -> their numbers there.
_TYPES: Final = {"user_id:": 0, "email:": 1, "anonymous_id:": 2}


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


class Exported(NamedTuple):
    """Tables, and what their numbers stand for: predicates, calendars and refreshes that Python knows.

    ``unlike``: segments with scores, by index, that the kernel computes otherwise than this Python.
    """

    tables: bytes
    tests: tuple[Predicate | LocationTest, ...]
    calendars: tuple[Calendar, ...]
    refreshes: tuple[Refresh, ...]
    unlike: frozenset[int] = frozenset()

    @classmethod
    def of(cls, tables: list[Any], asked: Asked, unlike: Iterable[int] = ()) -> Exported:
        """Return encoded tables with what they ask about."""
        encoded = msgspec.msgpack.encode(tables)
        known = (tuple(asked.tests), tuple(asked.calendars), tuple(asked.refreshes))
        return cls(encoded, *known, frozenset(unlike))


def exported(segments: SegmentSet, limits: Limits) -> Exported:
    """Return the tables of compiled definitions."""
    export = _Export(segments)
    return Exported.of(export.tables(limits), export.asked, export.unlike)


def exported_features(collector: Collector, limits: Limits) -> Exported:
    """Return tables without segments: of the features whose rows a backfill collects."""
    asked, features = Asked(), collector.features
    numbers = {key: number for number, key in enumerate(features)}
    watches = [*collector.watches.values(), *filter(None, (collector.watch_of_any,))]
    indexed = _indexed(watches, collector.histories)
    rows = [_feature(key, features[key], indexed[key], asked) for key in features]
    named = {name: _watch(watch, numbers, asked) for name, watch in collector.watches.items()}
    of_any = None if collector.watch_of_any is None else _watch(collector.watch_of_any, numbers, asked)
    histories = _histories(collector.histories, numbers)
    parts: list[list[int]] = [[] for _ in range(6)]
    rest = [parts, _limits(limits, collector.context_keys), limits.max_bytes, bool(asked.calendars)]
    tables = [VERSION, "", rows, [], named, of_any, {}, {}, histories, [], *rest]
    return Exported.of(tables, asked)


class _Export:
    def __init__(self, segments: SegmentSet) -> None:
        self.asked = Asked()
        self.unlike: set[int] = set()
        self._segments = segments
        self._numbers = {key: number for number, key in enumerate(segments.features)}
        self._definitions = {each.key: each for each in segments.definitions}
        self._dates: dict[tuple[str, ...], None] = {}

    def tables(self, limits: Limits) -> list[Any]:
        """Return the tables, in the order in which the kernel reads them."""
        of = self._segments
        rows = [self._segment(each) for each in of.units]
        watches = [*of.watches.values(), *([] if of.watch_of_any is None else [of.watch_of_any])]
        indexed = _indexed(watches, of.histories)
        return [
            VERSION,
            of.version,
            [_feature(key, feature, indexed[key], self.asked) for key, feature in of.features.items()],
            rows,
            {name: _watch(watch, self._numbers, self.asked) for name, watch in of.watches.items()},
            None if of.watch_of_any is None else _watch(of.watch_of_any, self._numbers, self.asked),
            _listed(of.by_trait),
            {
                name: [(path, sorted(kinds)) for path, kinds in each]
                for name, each in of.trait_readings.items()
            },
            _histories(of.histories, self._numbers),
            list(self._dates),
            [sorted(of.by_part[part]) for part in (FIRST, LATEST, LOCATION, IDENTIFIERS)]
            + [sorted(of.blank_members), sorted(of.by_part[LISTS])],
            _limits(limits, of.context_keys),
            limits.max_bytes,
            bool(self.asked.calendars),
        ]

    def _segment(self, unit: Segment | Indicator) -> list[Any]:
        """Return a segment with its rule, for the kernel and for Python; an indicator with neither."""
        if isinstance(unit, Indicator):
            return [unit.key, unit.version, False, False, None, None]
        paused = isinstance(unit.rule, PausedMembership)
        try:
            node = self._rule(unit)
        except LeftToPythonError as left:
            node = None
            if isinstance(left, OtherFloatsError):
                self.unlike.add(unit.index)
        return [unit.key, unit.version, unit.remembers, paused, node, self._dependencies(unit)]

    def _dependencies(self, unit: Segment) -> list[Any]:
        """Return the parts of a profile that the rule of a segment reads."""
        reads, features = unit.referred.reads, (use.feature.id for use in unit.referred.features)
        return [
            sorted({self._numbers[each] for each in features}),
            sorted(unit.referred.traits),
            sorted(self._segments.index_of[key] for key in self._referred(unit.key)),
            IDENTIFIERS in reads,
            LISTS in reads,
        ]

    def _referred(self, key: str) -> set[str]:
        """Return the segments whose memberships a rule may read: its own, and those that it refers to."""
        found = {key}
        for each in references(self._definitions[key].when):
            found |= self._referred(each)
        return found

    def _rule(self, unit: Segment) -> list[Any]:
        definition = self._definitions[unit.key]
        if isinstance(unit.rule, Rule):
            return self._node(definition.when)
        if isinstance(unit.rule, PausedMembership):
            raise LeftToPythonError(unit.key)  # no rule decides
        outside, inside = (model.side(definition.when, inside=each) for each in (False, True))
        of = definition.policy or Policy()
        limits = [of.min_stay_ms or 0, of.cool_down_ms or 0, of.max_entries]
        return ["membership", *limits, self._node(outside), self._node(inside)]

    def _node(self, written: model.Node) -> list[Any]:
        found = Leaves(self._numbers, self._inlined, self.asked)
        node = found.node(written)
        if found.is_far and (found.recurs or found.freezes):
            raise LeftToPythonError(written)
        self._dates |= found.dates
        return ["ahead", node] if found.is_far and found.unfolds else node

    def _inlined(self, key: str) -> model.Node | int:
        """Return the rule of a segment; of a paused one its number, by which its membership is read."""
        unit = self._segments.by_key[key]
        if isinstance(unit.rule, PausedMembership):
            return unit.index
        if not isinstance(unit.rule, Rule):
            raise LeftToPythonError(key)
        return self._definitions[key].when


def _watch(watch: Watch, numbers: Mapping[int, int], asked: Asked) -> list[Any]:
    by_value = [
        (
            path,
            {
                value: [_watched(each, numbers, asked) for each in features]
                for value, features in table.items()
            },
        )
        for path, table in watch.by_value
    ]
    return [[_watched(each, numbers, asked) for each in watch.always], by_value]


def _watched(feature: IndexedFeature, numbers: Mapping[int, int], asked: Asked) -> list[Any]:
    """Return the conditions that the kernel tests; all of those of a feature that it changes."""
    tested = (_condition(*each, asked) for each in feature.where)
    return [numbers[feature.id], [found for found in tested if found is not None]]


#: By the name of a trait: paths of values, with the features that keep their history.
_Histories = Mapping[str, tuple[tuple[tuple[str, ...], IndexedFeature], ...]]


def _histories(of: _Histories, numbers: Mapping[int, int]) -> dict[str, list[Any]]:
    return {name: [(path, numbers[each.id]) for path, each in pairs] for name, pairs in of.items()}


def _indexed(watches: Iterable[Watch], histories: _Histories) -> dict[int, IndexedFeature]:
    """Return the indexed form of each feature; a history, which reads no event, among them."""
    watches = list(watches)
    found = {each.id: each for watch in watches for each in watch.always}
    found |= {
        each.id: each for watch in watches for _, t in watch.by_value for fs in t.values() for each in fs
    }
    return found | {each.id: each for pairs in histories.values() for _, each in pairs}


def _listed(found: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    return {name: sorted(indexes) for name, indexes in found.items()}


def _condition(
    path: tuple[str, ...], test: Predicate, asked: Asked
) -> tuple[tuple[str, ...], list[Any] | int] | None:
    """Return a condition on an event; None for one on a value that the kernel does not read."""
    try:
        return plain_path(path), condition(test, asked)
    except LeftToPythonError:
        return None


# -- features ----------------------------------------------------------------------------------------------


def _feature(key: int, feature: Feature, indexed: IndexedFeature, asked: Asked) -> list[Any]:
    name, window = reducer_name(feature), feature.window
    since, until = (window.since_ms, window.until_ms) if isinstance(window, Fixed) else (None, None)
    by_size = None if indexed.by_size is None else [sorted(each) for each in indexed.by_size]
    length = reach_ms(window) if isinstance(window, Within | Between) else None
    if name == "history":
        length = reach_ms(window)
    is_read = name not in ("python", "history")
    refresh = None if feature.refresh is None or not is_read else asked.refresh(feature.refresh)
    calendar = asked.calendar(window) if is_read and isinstance(window, Calendar) else None
    days = None if feature.days is None or not is_read else asked.calendar(feature.days)
    anchor = _anchor(feature, feature.window, asked) if isinstance(feature.window, SinceLast) else None
    sequence = None
    if name == "sequence" and feature.sequence is not None:
        sequence = _sequence(feature.sequence, asked)
    path = None if name in ("python", "history", "orders") else feature.path
    statements = None
    if name == "orders" and feature.purchases is not None:
        length = feature.purchases.period_ms
        statements = [feature.kind == ACTIONS, feature.purchases.currency, feature.path]
    sizes = [sorted(indexed.segments), by_size]
    return [
        key,
        name,
        since,
        until,
        calendar,
        length,
        feature.capacity,
        anchor,
        sequence,
        statements,
        days,
        feature.length_ms,
        refresh,
        path,
        *sizes,
    ]


def _anchor(feature: Feature, window: SinceLast, asked: Asked) -> list[Any] | None:
    """Return what begins the window of a feature that the kernel changes."""
    if reducer_name(feature) == "python":
        return None
    conditions = [(plain_path(path), condition(test, asked)) for path, test in feature.static_where]
    return [window.names, window.same, conditions, since_reducer(feature, window).limit]


def _sequence(sequence: Sequence, asked: Asked) -> list[Any]:
    """Return the steps of a sequence; paths of compared values by number."""
    numbers = {path: number for number, path in enumerate(sequence.paths)}
    steps = [
        [
            None if ANY_NAME in step.names else step.names,
            [(plain_path(path), condition(test, asked)) for path, test in step.where],
            step.within_ms,
            step.absent,
            [(numbers[path], earlier) for path, earlier in step.same_as],
        ]
        for step in sequence.steps
    ]
    return [steps, sequence.paths, sequence.within_ms, sequence.strict]
