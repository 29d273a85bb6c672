"""Indexes from events to the features that they can change, and from features to segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from segops.core.events import Event
from segops.core.features import ANY_NAME, Extract, Feature, extractor, reducer_of
from segops.core.features.lists import adding
from segops.core.operators import Predicate
from segops.core.paths import Path, getter
from segops.core.rules.execution import Rule
from segops.core.values import lookup
from segops.core.windows import SinceLast

NO_SEGMENTS: Final[Mapping[int, int]] = MappingProxyType({})


class IndexedFeature(msgspec.Struct, frozen=True, gc=False):
    """A compiled feature: how to update it, and the indexes of the segments that it can change."""

    id: int
    names: tuple[str, ...]
    add: Callable[[Any, int, Any, int], Any]
    extract: Extract | None
    segments: frozenset[int]
    #: For a counting feature: number of entries kept -> the segments that a change can then affect. A profile
    #: may hold more entries from earlier definitions: then a change can affect all of them.
    by_size: tuple[frozenset[int], ...] | None
    where: tuple[tuple[Path, Predicate], ...]
    #: Of each condition: the function from an event to its value, and the predicate.
    conditions: tuple[tuple[Callable[[Event], Any], Predicate], ...] = ()
    #: For a history: the path of the trait.
    trait: Path | None = None

    def selects(self, event: Event, now_ms: int) -> bool:
        """Return whether an event matches the feature's ``where``."""
        return all(test.holds(get(event), now_ms) for get, test in self.conditions)


class Watch(msgspec.Struct, frozen=True):
    """The features that read events of one name: always, or for one value of a property only."""

    always: tuple[IndexedFeature, ...]
    by_value: tuple[tuple[Path, dict[str, tuple[IndexedFeature, ...]]], ...]

    def matching(self, properties: Mapping[str, Any]) -> Iterable[IndexedFeature]:
        """Return the features that an event with these properties may match."""
        if not self.by_value:
            return self.always
        found = list(self.always)
        for path, table in self.by_value:
            value = lookup(properties, path)
            if value.__class__ is str:
                found += table.get(value, ())
        return found


def prepare(rules: Iterable[tuple[int, Rule]]) -> tuple[list[IndexedFeature], dict[int, Feature]]:
    """Return every feature of these (segment index, rule) pairs once: compiled, and by its id.

    If several rules read a feature, it gets the largest capacity that any of them needs.
    """
    features: dict[int, Feature] = {}
    affected: dict[int, dict[int, int]] = {}
    for index, rule in rules:
        for use in rule.features:
            key = use.feature.id
            features[key] = use.feature.or_wider(features.get(key, use.feature))
            least = affected.setdefault(key, {})
            least[index] = min(use.least, least.get(index, use.least))
    return [compiled(key, feature, affected[key]) for key, feature in features.items()], features


def compiled(key: int, feature: Feature, least: Mapping[int, int] = NO_SEGMENTS) -> IndexedFeature:
    """Compile a feature; ``least``: index of each segment that reads it -> the entries that it needs."""
    by_size = None
    if feature.counts_entries:
        sizes = range((feature.capacity or 0) + 1)
        by_size = tuple(
            frozenset(index for index, needed in least.items() if needed <= size) for size in sizes
        )
    # Where a window begins with an anchor, the extractor tests the conditions: they are not the anchor's.
    where = () if isinstance(feature.window, SinceLast) else feature.static_where
    return IndexedFeature(
        id=key,
        names=feature.read_names,
        add=adding(feature, reducer_of(feature)),
        extract=extractor(feature),
        segments=frozenset(least),
        by_size=by_size,
        where=where,
        conditions=_conditions(where),
        trait=feature.path if feature.kind == "history" else None,
    )


def _conditions(
    where: tuple[tuple[Path, Predicate], ...],
) -> tuple[tuple[Callable[[Event], Any], Predicate], ...]:
    return tuple((getter(path), test) for path, test in where)


def histories(features: Iterable[IndexedFeature]) -> dict[str, tuple[tuple[Path, IndexedFeature], ...]]:
    """Map each top-level trait to the features that keep its history, each with the path of its value."""
    found: dict[str, list[tuple[Path, IndexedFeature]]] = {}
    for feature in features:
        if feature.trait is not None:
            found.setdefault(feature.trait[0], []).append((feature.trait, feature))
    return {name: tuple(features) for name, features in found.items()}


def by_trait(rules: Iterable[tuple[int, Rule]]) -> dict[str, frozenset[int]]:
    """Map each top-level trait to the indexes of the rules that read it."""
    found: dict[str, set[int]] = {}
    for index, rule in rules:
        for name in rule.traits:
            found.setdefault(name, set()).add(index)
    return {name: frozenset(indexes) for name, indexes in found.items()}


def watches(features: Iterable[IndexedFeature]) -> tuple[dict[str, Watch], Watch | None]:
    """Map event names to the features that read them; the second result serves every other name."""
    by_name: dict[str, dict[int, IndexedFeature]] = {}
    of_any = {feature.id: feature for feature in features if ANY_NAME in feature.names}
    for feature in features:
        for name in feature.names:
            by_name.setdefault(name, dict(of_any))[feature.id] = feature
    found = {name: _watch(features.values()) for name, features in by_name.items()}
    return found, _watch(of_any.values()) if of_any else None


def _watch(features: Iterable[IndexedFeature]) -> Watch:
    always: list[IndexedFeature] = []
    by_value: dict[Path, dict[str, list[IndexedFeature]]] = {}
    for feature in features:
        found = _equality(feature)
        if found is None:
            always.append(feature)
        else:
            path, test = found
            rest = tuple(condition for condition in feature.where if condition != found)
            by_value.setdefault(path, {}).setdefault(test.ops[0][1], []).append(
                msgspec.structs.replace(feature, where=rest, conditions=_conditions(rest))
            )
    tables = ((path, {v: tuple(fs) for v, fs in table.items()}) for path, table in by_value.items())
    return Watch(tuple(always), tuple(tables))


def _equality(feature: IndexedFeature) -> tuple[Path, Predicate] | None:
    """Return a condition that a property equals a string, which the index answers, or None."""
    for path, test in feature.where:
        if test.__class__ is Predicate and path[0]:
            name, operand = test.ops[0]
            if len(test.ops) == 1 and name == "eq" and isinstance(operand, str):
                return path, test
    return None
