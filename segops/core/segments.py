"""Segments: their definitions, and a set of them compiled and indexed by what can change them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from segops.core.errors import DefinitionError, Issue
from segops.core.features import Extract, Feature, extractor, reducer_of
from segops.core.operators import Test
from segops.core.profile import Profile
from segops.core.rules.compile import Rule, compile_rule
from segops.core.rules.model import InSegment, Node, Path, children, identity
from segops.core.values import lookup


class Definition(msgspec.Struct, frozen=True):
    """A checked segment. ``written`` is its rule as the author wrote it; ``version`` rises with its sense."""

    key: str
    name: str
    when: Node
    description: str = ""
    version: int = 1
    written: Any = None
    source: str = ""

    @property
    def identity(self) -> str:
        """The hash of the rule's canonical form."""
        return identity(self.when)


class Segment(msgspec.Struct, frozen=True):
    """A definition made ready. ``index`` is its place in the order of judging."""

    key: str
    version: int
    index: int
    rule: Rule


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A feature made ready: how it is kept, and the segments that it can move."""

    id: int
    names: tuple[str, ...]
    add: Callable[[Any, int, Any, int], Any]
    extract: Extract | None
    segments: frozenset[int]
    where: tuple[tuple[Path, Test], ...]

    def selects(self, properties: Mapping[str, Any], now_ms: int) -> bool:
        """Whether an event with these properties is one of the feature's."""
        return all(test.holds(lookup(properties, path), now_ms) for path, test in self.where)


class Watch(msgspec.Struct, frozen=True):
    """The features that an event name concerns: for every such event, and for one value of a property."""

    always: tuple[Kept, ...]
    by_value: tuple[tuple[Path, dict[str, tuple[Kept, ...]]], ...]

    def concerned(self, properties: Mapping[str, Any]) -> Iterable[Kept]:
        """The features that an event with these properties may belong to."""
        if not self.by_value:
            return self.always
        found = list(self.always)
        for path, table in self.by_value:
            value = lookup(properties, path)
            if value.__class__ is str:
                found += table.get(value, ())
        return found


class SegmentSet:
    """Segments in the order of judging: those that others refer to first, else by key.

    The order does not depend on how they are given: it decides the sequence of the changes of one instant,
    and whoever judges by the same segments must number them alike.

    Raises DefinitionError for a reference to no segment, a cycle (with its path) and a key given twice.

    >>> from segops.core.rules.model import KnownFor, Not
    >>> old = Definition("old", "Old", KnownFor(86_400_000))
    >>> new = Definition("new", "New", Not(InSegment("old")))
    >>> [segment.key for segment in SegmentSet([new, old]).segments]
    ['old', 'new']
    """

    EMPTY: SegmentSet

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self.definitions = _ordered(list(definitions))
        rules: dict[str, Rule] = {}
        for definition in self.definitions:
            rules[definition.key] = compile_rule(definition.key, definition.when, rules)
        self.segments = tuple(
            Segment(d.key, d.version, index, rules[d.key]) for index, d in enumerate(self.definitions)
        )
        self.version = _version(self.definitions)
        self.by_key = {segment.key: segment for segment in self.segments}
        kept = _kept(self.segments)
        self.feature_ids = frozenset(feature.id for feature in kept)
        self.watches = _watches(kept)
        self.by_trait = _by_trait(self.segments)
        self.reads_first = frozenset(s.index for s in self.segments if s.rule.reads_first)
        # A profile of which nothing is known yet: who is a member does not depend on the instant.
        blank = Profile("")
        self.blank_members = frozenset(s.index for s in self.segments if _holds(s, blank))


def _holds(segment: Segment, blank: Profile) -> bool:
    try:
        return segment.rule.holds(blank, 0)
    except Exception:  # a rule that fails has no members yet, and is counted when a profile is judged
        return False


def _version(definitions: Iterable[Definition]) -> str:
    parts = sorted(f"{d.key}|{d.version}|{d.identity}" for d in definitions)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def references(node: Node) -> Iterable[str]:
    """The keys of the segments that a rule refers to."""
    if isinstance(node, InSegment):
        yield node.key
    for child in children(node):
        yield from references(child)


def _ordered(definitions: list[Definition]) -> list[Definition]:
    by_key = {definition.key: definition for definition in definitions}
    issues = _reference_issues(definitions, by_key)
    if issues:
        raise DefinitionError(issues)
    done: dict[str, Definition] = {}
    for definition in sorted(definitions, key=lambda definition: definition.key):
        _visit(definition, by_key, done, [])
    return list(done.values())


def _reference_issues(definitions: list[Definition], by_key: Mapping[str, Definition]) -> list[Issue]:
    twice = [d for d in definitions if by_key[d.key] is not d]
    issues = [Issue(d.source, d.key, f"the key {d.key} is used twice") for d in twice]
    for definition in definitions:
        issues += [
            Issue(definition.source, f"{definition.key}.when", f"in_segment: there is no segment {key}")
            for key in sorted(set(references(definition.when)) - set(by_key))
        ]
    return issues


def _visit(
    definition: Definition, by_key: Mapping[str, Definition], done: dict[str, Definition], path: list[str]
) -> None:
    if definition.key in done:
        return
    if definition.key in path:
        cycle = " -> ".join([*path[path.index(definition.key) :], definition.key])
        raise DefinitionError(
            [Issue(definition.source, f"{definition.key}.when", f"in_segment is a cycle: {cycle}")]
        )
    for key in sorted(references(definition.when)):
        _visit(by_key[key], by_key, done, [*path, definition.key])
    done[definition.key] = definition


def _kept(segments: Iterable[Segment]) -> list[Kept]:
    features: dict[int, Feature] = {}
    concerned: dict[int, set[int]] = {}
    for segment in segments:
        for feature in segment.rule.features:
            features[feature.id] = feature
            concerned.setdefault(feature.id, set()).add(segment.index)
    return [
        Kept(
            key,
            feature.names,
            reducer_of(feature).add,
            extractor(feature),
            frozenset(concerned[key]),
            feature.static_where,
        )
        for key, feature in features.items()
    ]


def _watches(kept: Iterable[Kept]) -> dict[str, Watch]:
    by_name: dict[str, list[Kept]] = {}
    for feature in kept:
        for name in feature.names:
            by_name.setdefault(name, []).append(feature)
    return {name: _watch(features) for name, features in by_name.items()}


def _watch(features: Iterable[Kept]) -> Watch:
    always: list[Kept] = []
    by_value: dict[Path, dict[str, list[Kept]]] = {}
    for feature in features:
        found = _equality(feature)
        if found is None:
            always.append(feature)
        else:
            path, test = found
            rest = tuple(condition for condition in feature.where if condition != found)
            by_value.setdefault(path, {}).setdefault(test.ops[0][1], []).append(
                msgspec.structs.replace(feature, where=rest)
            )
    tables = ((path, {v: tuple(fs) for v, fs in table.items()}) for path, table in by_value.items())
    return Watch(tuple(always), tuple(tables))


def _equality(kept: Kept) -> tuple[Path, Test] | None:
    """The condition that a property equals a text, which the index answers; None if there is none."""
    for path, test in kept.where:
        name, operand = test.ops[0]
        if len(test.ops) == 1 and name == "eq" and isinstance(operand, str):
            return path, test
    return None


def _by_trait(segments: Iterable[Segment]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for segment in segments:
        for name in segment.rule.traits:
            found.setdefault(name, set()).add(segment.index)
    return {name: frozenset(indexes) for name, indexes in found.items()}


SegmentSet.EMPTY = SegmentSet([])
