"""Segments: their definitions, and sets of them, compiled and indexed by what can change a membership."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from segops.core.bulk import collector_paused
from segops.core.errors import DefinitionError, Issue
from segops.core.features.carrying import carried, former_ids
from segops.core.features.feature import context_keys
from segops.core.index import by_trait, histories, prepare, watches
from segops.core.indicators import Indicator, compile_indicator
from segops.core.lookups import Column
from segops.core.memberships import Membership, PausedMembership, compile_membership
from segops.core.profile import Member, Profile
from segops.core.rescoring import accumulated, edited_keys
from segops.core.rules.alerts import Alert
from segops.core.rules.blocks import unfitted_scores
from segops.core.rules.execution import FIRST, IDENTIFIERS, LATEST, LISTS, LOCATION, Rule
from segops.core.rules.figures import PublishedFigure
from segops.core.rules.model import InSegment, Node, children, identity
from segops.core.rules.policy import Policy
from segops.core.skips import trait_readings
from segops.core.static_lists import versions_read
from segops.core.windows import reaches

#: The longest chain of segments in which each refers to the next.
MAX_REFERENCES = 100


class Definition(msgspec.Struct, frozen=True):
    """A validated segment. ``written`` is its rule as written; ``version`` rises when its meaning changes.

    An indicator that is published is one, too: ``when`` is a ``PublishedFigure``, and the key has a prefix.
    """

    key: str
    name: str
    when: Node
    description: str = ""
    version: int = 1
    written: Any = None
    source: str = ""
    #: The file's ``rfm`` block as written, for a rule that reads it.
    rfm: Any = None
    #: Those of the file's ``places`` that the rule reads, as written.
    areas: Any = None
    #: The indicators as written that the rule reads, by key.
    indicators: Any = None
    #: The columns of look-up tables that the rule reads.
    columns: tuple[Column, ...] = ()
    #: The static lists in force that are bound to the rule, as in its record, by key.
    lists: Any = None
    #: Those of the file's declared ``scores`` that the rule reads, as written.
    scores: Any = None
    #: The models that the rule reads, in their file form by name.
    models: Any = None
    policy: Policy | None = None
    #: Not part of the meaning, which decides memberships.
    alerts: tuple[Alert, ...] = ()
    #: Members may be shown to browsers (``segops serve``). Not part of the meaning either.
    expose: bool = False
    #: The memberships are frozen. An operator sets this; it is not part of the meaning.
    paused: bool = False

    @property
    def is_indicator(self) -> bool:
        """Whether it defines an indicator."""
        return isinstance(self.when, PublishedFigure)

    @property
    def identity(self) -> str:
        """A hash of the canonical form of the rule, and of the policy if there is one."""
        of_rule = identity(self.when)
        if self.policy is None:
            return of_rule
        policy = msgspec.json.encode(self.policy, order="sorted")
        return hashlib.sha256(of_rule.encode() + policy).hexdigest()


def version_after(former: Definition | None, definition: Definition) -> int:
    """Return the version of a definition that replaces ``former``: it rises if the meaning changes.

    >>> from segops.core.rules.model import KnownFor
    >>> day, week = (Definition("old", "Old", KnownFor(days * 86_400_000), version=3) for days in (1, 7))
    >>> version_after(None, day), version_after(day, day), version_after(day, week)
    (1, 3, 4)
    """
    if former is None:
        return 1
    return former.version + (former.identity != definition.identity)


def edited(former: Iterable[Definition], new: Iterable[Definition]) -> list[Definition]:
    """Return all definitions after an edit: the new ones, with their versions, replace those with their keys.

    >>> from segops.core.rules.model import KnownFor
    >>> day, week = (Definition("old", "Old", KnownFor(days * 86_400_000)) for days in (1, 7))
    >>> [(each.key, each.version) for each in edited([day], [week])]
    [('old', 2)]
    """
    found = {each.key: each for each in former}
    for each in new:
        version = version_after(found.get(each.key), each)
        found[each.key] = msgspec.structs.replace(each, version=version)
    return list(found.values())


class Segment(msgspec.Struct, frozen=True):
    """A compiled definition. ``index`` is its position in the order of evaluation.

    ``rule`` decides the membership; ``in_segment`` reads ``referred``, which is the same object if the
    membership depends on the rule alone. ``remembers``: earlier memberships are recorded.
    """

    key: str
    version: int
    index: int
    rule: Rule | Membership | PausedMembership
    referred: Rule
    remembers: bool


def complete_since(segment: Segment, since: Mapping[int, int], now_ms: int) -> int | None:
    """Return from when on a segment counts all events; None if no earlier one matters now.

    ``since``: id of each feature whose earlier events are unknown -> from when on its events are complete.
    """
    uses = (use.feature for use in segment.referred.features)
    found = (
        since[each.id] for each in uses if each.id in since and reaches(each.window, since[each.id], now_ms)
    )
    return max(found, default=None)


class SegmentSet:
    """Compiled segments in the order of evaluation, referred segments first, else by key; then indicators.

    The order does not depend on the order of ``definitions``. It decides the sequence numbers of the changes
    of one instant, on which all workers with the same segments must agree.

    ``former``: the set before this one. Segments of both are compiled once, and a profile last evaluated by
    ``former`` needs to be evaluated only by the segments that ``changed_since`` its version.

    Raises DefinitionError for an unknown segment, a cycle (with its path) and a duplicate key.

    >>> from segops.core.rules.model import KnownFor, Not
    >>> old = Definition("old", "Old", KnownFor(86_400_000))
    >>> new = Definition("new", "New", Not(InSegment("old")))
    >>> [segment.key for segment in SegmentSet([new, old]).segments]
    ['old', 'new']
    """

    EMPTY: SegmentSet

    @collector_paused()
    def __init__(self, definitions: Iterable[Definition], former: SegmentSet | None = None) -> None:
        #: Those of segments and indicators.
        self.all_definitions = _ordered(list(definitions))
        self._by_key = {definition.key: definition for definition in self.all_definitions}
        self.definitions = [each for each in self.all_definitions if not each.is_indicator]
        self._identities = _identities(self.all_definitions, former)
        self.segments = _compiled(self.definitions, self._identities, former)
        self.indicators = _compiled_indicators(self.all_definitions, len(self.segments), former)
        self.units: tuple[Segment | Indicator, ...] = (*self.segments, *self.indicators)
        self.version = _version(self.all_definitions, self._identities)
        self.changed_since = {} if former is None else _changed_since(self, former)
        #: Of these, the keys whose meaning differs by more than the models of scores.
        self.edited_since = {} if former is None else _edited_since(self, former)
        self.by_key = {segment.key: segment for segment in self.segments}
        #: The position of each segment and indicator in the order of evaluation.
        self.index_of = {each.key: each.index for each in self.units}
        self.remembered = frozenset(segment.key for segment in self.segments if segment.remembers)
        rules = [*_rules(self.segments), *((each.index, each.rule) for each in self.indicators)]
        indexed, self.features = prepare(rules)
        self._former = former_ids(self.features.values())
        self.watches, self.watch_of_any = watches(indexed)
        #: The parts of an event's context that the rules read.
        self.context_keys = context_keys(self.features.values())
        self.by_trait = by_trait(rules)
        self.trait_readings = trait_readings(each.when for each in self.definitions)
        self.by_part = {
            part: frozenset(index for index, rule in rules if part in rule.reads)
            for part in (FIRST, LATEST, LOCATION, IDENTIFIERS, LISTS)
        }
        self.histories = histories(indexed)
        self.lists = versions_read(each.when for each in self.definitions)
        #: Segments that contain a profile without events; indicators that have a value from its first on.
        self.blank_members = _blank_members(self.segments) | _blank_values(self.indicators)

    def convert_features(self, profile: Profile) -> None:
        """Drop the features that these segments do not read, and convert the others to their current form."""
        profile.features = carried(profile.features, self.features, self._former)
        for note in profile.counted.values():
            note.keep(self.features)
        if profile.complete_since:
            known = profile.complete_since.items()
            profile.complete_since = {key: ms for key, ms in known if key in self.features}

    def same(self, definition: Definition, identity: str) -> Segment | None:
        """Return the segment whose rule, policy and version equal the definition's, or None."""
        known = self.by_key.get(definition.key)
        if known is None or known.version != definition.version:
            return None
        return known if self._identities[definition.key] == identity else None

    def identity_of(self, definition: Definition) -> str | None:
        """Return the identity of this very definition object, or None if the set does not contain it."""
        if self._by_key.get(definition.key) is not definition:
            return None
        return self._identities[definition.key]


def _identities(definitions: Iterable[Definition], former: SegmentSet | None) -> dict[str, str]:
    known = (lambda _: None) if former is None else former.identity_of
    return {each.key: (None if each.scores else known(each)) or _identity_of(each) for each in definitions}


def _identity_of(definition: Definition) -> str:
    # A set is another one once a declared score is fitted: profiles are then evaluated by its model.
    unfitted = unfitted_scores(definition.when) if definition.scores else ()
    marks = "".join(f"|unfitted {name}" for name in unfitted)
    return f"{definition.identity}{'|paused' if definition.paused else ''}{marks}"


def check_references(definitions: Iterable[Definition]) -> None:
    """Check the references between definitions.

    Raises DefinitionError as ``SegmentSet`` does, and for a chain of more than ``MAX_REFERENCES`` segments.
    """
    depths: dict[str, int] = {}
    for each in _ordered(list(definitions)):
        depths[each.key] = max((depths[key] + 1 for key in references(each.when)), default=0)
        if depths[each.key] > MAX_REFERENCES:
            reason = f"in_segment: a chain of more than {MAX_REFERENCES} segments"
            raise DefinitionError([Issue(each.source, f"{each.key}.when", reason)])


def _compiled(
    definitions: Iterable[Definition], identities: Mapping[str, str], former: SegmentSet | None
) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    referred: dict[str, Rule] = {}
    for index, d in enumerate(definitions):
        known = None if former is None else former.same(d, identities[d.key])
        if former is not None and known is not None and _refers_to_the_same(d, referred, former):
            referred[d.key] = known.referred
            segments.append(known if known.index == index else msgspec.structs.replace(known, index=index))
            continue
        compiled = compile_membership(d.key, d.when, d.policy, referred)
        rule = PausedMembership(d.key, compiled) if d.paused else compiled
        referred[d.key] = rule if isinstance(rule, Rule) else rule.referred
        remembers = d.policy is not None and d.policy.remembers
        segments.append(Segment(d.key, d.version, index, rule, referred[d.key], remembers))
    return tuple(segments)


def _compiled_indicators(
    definitions: Iterable[Definition], first: int, former: SegmentSet | None
) -> tuple[Indicator, ...]:
    """Compile the indicators, by key, or take them over from ``former``; their indexes begin at ``first``."""
    known = {} if former is None else {each.key: each for each in former.indicators}
    found: list[Indicator] = []
    for each in definitions:
        if isinstance(each.when, PublishedFigure):
            compiled = known.get(each.key)
            if compiled is None or not compiled.is_of(each.version, each.when):
                compiled = compile_indicator(each.key, each.version, each.when)
            found.append(msgspec.structs.replace(compiled, index=first + len(found)))
    return tuple(found)


def _rules(segments: Iterable[Segment]) -> Iterator[tuple[int, Rule]]:
    return ((segment.index, segment.referred) for segment in segments)


def _refers_to_the_same(definition: Definition, referred: Mapping[str, Rule], former: SegmentSet) -> bool:
    return all(
        key in former.by_key and referred[key] is former.by_key[key].referred
        for key in references(definition.when)
    )


def _changed_since(segments: SegmentSet, former: SegmentSet) -> dict[str, frozenset[str]]:
    """Map the versions of the latest former sets to the keys of the segments recompiled since."""
    rules = {each.key: each.rule for each in former.units}
    changed = frozenset(each.key for each in segments.units if each.rule is not rules.get(each.key))
    return accumulated(former.changed_since, former.version, changed)


def _edited_since(segments: SegmentSet, former: SegmentSet) -> dict[str, frozenset[str]]:
    changed = segments.changed_since[former.version]
    edited = edited_keys(changed, segments.all_definitions, former.all_definitions)
    return accumulated(former.edited_since, former.version, edited)


def _blank_members(segments: Iterable[Segment]) -> frozenset[int]:
    """Return the segments that contain a profile without events; that does not depend on the instant."""
    blank = Profile("")
    for segment in segments:
        if _holds(segment, blank):
            blank.members[segment.key] = Member(0, segment.version)
    return frozenset(segment.index for segment in segments if segment.key in blank.members)


def _blank_values(indicators: Iterable[Indicator]) -> frozenset[int]:
    return frozenset(each.index for each in indicators if each.is_blank_value)


def _holds(segment: Segment, blank: Profile) -> bool:
    try:
        return segment.rule.holds(blank, 0)
    except Exception:  # a rule that fails has no members yet; the failure counts when a profile is evaluated
        return False


def version_of(definitions: Iterable[Definition]) -> str:
    """Return the version of the set of these definitions, which need not be compiled.

    >>> version_of([]) == SegmentSet.EMPTY.version
    True
    """
    listed = list(definitions)
    return _version(listed, {each.key: _identity_of(each) for each in listed})


def _version(definitions: Iterable[Definition], identities: Mapping[str, str]) -> str:
    parts = sorted(f"{d.key}|{d.version}|{identities[d.key]}" for d in definitions)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def references(node: Node) -> Iterable[str]:
    """Yield the keys of the segments that a rule refers to."""
    if isinstance(node, InSegment):
        yield node.key
    for child in children(node):
        yield from references(child)


def _ordered(definitions: list[Definition]) -> list[Definition]:
    by_key = {definition.key: definition for definition in definitions}
    issues = _reference_issues(definitions, by_key)
    done: dict[str, Definition] = {}
    for definition in sorted(definitions, key=lambda definition: definition.key):
        issues += _visit(definition, by_key, done)
    if issues:
        raise DefinitionError(issues)
    return list(done.values())


def _reference_issues(definitions: list[Definition], by_key: Mapping[str, Definition]) -> list[Issue]:
    twice = [d for d in definitions if by_key[d.key] is not d]
    issues = [Issue(d.source, d.key, f"duplicate key {d.key!r}") for d in twice]
    for definition in definitions:
        issues += [
            Issue(definition.source, f"{definition.key}.when", f"in_segment: unknown segment {key}")
            for key in sorted(set(references(definition.when)))
            if key not in by_key
        ]
    return issues


def _visit(
    first: Definition, by_key: Mapping[str, Definition], done: dict[str, Definition]
) -> Iterable[Issue]:
    """Put a definition into ``done`` after those that it refers to, and yield the cycles found on the way."""
    path: dict[str, Iterator[str]] = {}
    key: str | None = first.key
    while key is not None:
        if key not in done and key not in path:
            path[key] = iter(sorted(set(references(by_key[key].when)) & by_key.keys()))
        elif key in path:
            cycle = " -> ".join([*list(path)[list(path).index(key) :], key])
            yield Issue(by_key[key].source, f"{key}.when", f"in_segment forms a cycle: {cycle}")
        key = _next(path, by_key, done)


def _next(
    path: dict[str, Iterator[str]], by_key: Mapping[str, Definition], done: dict[str, Definition]
) -> str | None:
    """Return the next reference of the last segment in ``path``, moving exhausted segments to ``done``."""
    while path:
        last = next(reversed(path))
        following = next(path[last], None)
        if following is not None:
            return following
        done[last] = by_key[last]
        del path[last]
    return None


SegmentSet.EMPTY = SegmentSet([])
