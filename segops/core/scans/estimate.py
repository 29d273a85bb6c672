"""Estimate of a draft: how many profiles its rule holds for, node by node, with examples."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from segops.core.features.carrying import carried
from segops.core.memberships import compile_part
from segops.core.profile import Member, Profile
from segops.core.rules import model
from segops.core.rules.execution import Rule
from segops.core.rules.wording import label
from segops.core.scans.nearness import Nearest, NearProfile, flips, nearest
from segops.core.scans.needs import lacking
from segops.core.scans.references import with_references
from segops.core.scans.sampling import sampling_hash
from segops.core.scans.values import LeafValues, ValueSample, measured_leaves
from segops.core.segments import Definition, Segment, SegmentSet
from segops.core.views.explain import SegmentExplanation, explain, value_of

#: The most profiles that one estimate returns as examples.
MAX_SAMPLES: Final = 100


class NodeCount(msgspec.Struct):
    """One node of the rule, ``depth`` levels below the root.

    ``holds``: the profiles for which the node holds. ``passes``: those for which also the nodes before it
    hold, which are the earlier ones in the same ``all`` and in each ``all`` around it.
    """

    label: str
    depth: int
    holds: int = 0
    passes: int = 0


class SampledProfile(msgspec.Struct):
    """A profile for which the draft holds, and why. ``order``: its hash, by which samples are chosen."""

    order: int
    profile_id: str
    explanation: SegmentExplanation


class Estimate(msgspec.Struct):
    """The profiles for which a draft holds, among those of a sample.

    ``share``: the share of all profiles that belongs to the sample (1: all); ``evaluated``: the number of
    profiles in it; ``holds``: for how many of them the draft holds; ``failed``: for how many its rule fails.
    ``incomplete``: the features of the draft that profiles do not hold, or not in full, since no published
    segment needs them. ``funnel``: the nodes of the rule in the order in which they are written; empty if it
    was not requested. ``samples``: the profiles with the smallest hashes, at most ``wanted``. ``just_in``,
    ``just_out``: at most ``near`` profiles each for which the draft holds, or not, by the fewest leaves.
    ``values``: of the leaves that compare numbers, if nearness was requested.
    """

    share: float
    evaluated: int
    holds: int
    failed: int
    incomplete: list[str]
    funnel: list[NodeCount]
    wanted: int
    samples: list[SampledProfile]
    near: int = 0
    just_in: list[NearProfile] = []
    just_out: list[NearProfile] = []
    values: list[LeafValues] = []

    def merged(self, other: Estimate) -> Estimate:
        """Return the estimate over the profiles of both."""
        return Estimate(
            self.share,
            self.evaluated + other.evaluated,
            self.holds + other.holds,
            self.failed + other.failed,
            sorted({*self.incomplete, *other.incomplete}),
            [
                NodeCount(one.label, one.depth, one.holds + two.holds, one.passes + two.passes)
                for one, two in zip(self.funnel, other.funnel, strict=True)
            ],
            self.wanted,
            sorted([*self.samples, *other.samples], key=_order)[: self.wanted],
            self.near,
            nearest([*self.just_in, *other.just_in], self.near),
            nearest([*self.just_out, *other.just_out], self.near),
            [one.merged(two) for one, two in zip(self.values, other.values, strict=True)],
        )


_order = attrgetter("order")


class Draft(NamedTuple):
    """A draft compiled with all segments that it refers to, directly or not.

    ``drafts``: the segments of which profiles record no membership by this definition, in the order of
    evaluation; the last one is the draft itself. ``incomplete``: see ``Estimate``.
    """

    segments: SegmentSet
    drafts: tuple[Segment, ...]
    incomplete: tuple[str, ...]

    @property
    def segment(self) -> Segment:
        """The segment that is estimated."""
        return self.drafts[-1]


def draft_of(key: str, definitions: Iterable[Definition], live: SegmentSet) -> Draft:
    """Compile the segment ``key`` of some ``definitions``, which replace live ones with the same keys.

    Raises DefinitionError for a reference to a segment that is in neither, and for a cycle.
    """
    written = {definition.key: definition for definition in definitions}
    known = {definition.key: definition for definition in live.definitions} | written
    segments = SegmentSet(with_references([key], known), live)
    drafts = [segment for segment in segments.segments if segment.key in written and segment.key != key]
    incomplete = tuple(sorted(lacking(segments.features.values(), live.features)))
    return Draft(segments, (*drafts, segments.by_key[key]), incomplete)


class _Node(NamedTuple):
    rule: Rule
    counted: NodeCount
    is_all: bool
    below: tuple[_Node, ...]


class Estimator:
    """Evaluates profiles of a sample by a draft.

    ``share``: the share of the profiles to evaluate, by the hash of the id; ``samples``: how many of the
    profiles for which the draft holds to explain; ``funnel``: whether to count node by node; ``near``: how
    many profiles of each verdict to explain that are next to the other one. ``since``: the features of which
    no profile knows earlier events, as in ``segments.complete_since``.
    """

    def __init__(
        self,
        draft: Draft,
        *,
        share: float = 1.0,
        samples: int = 0,
        funnel: bool = False,
        near: int = 0,
        since: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self._draft = draft
        self._since = since
        self.share = share
        self._wanted = samples
        self._root = self._node(self._definition.when, 0) if funnel else None
        self._evaluated = self._holds = self._failed = 0
        self._samples: list[SampledProfile] = []
        self._near = _Near(draft, near) if near else None

    @property
    def _definition(self) -> Definition:
        return self._draft.segments.definitions[self._draft.segment.index]

    def _node(self, node: model.Node, depth: int) -> _Node:
        rules = {segment.key: segment.referred for segment in self._draft.segments.segments}
        rule = compile_part(node, rules[self._draft.segment.key], rules)
        below = tuple(self._node(child, depth + 1) for child in model.children(node))
        return _Node(rule, NodeCount(label(node), depth), isinstance(node, model.All), below)

    def visit(self, profile: Profile, now_ms: int) -> None:
        """Evaluate one profile."""
        now_ms = max(now_ms, profile.latest_ms)
        self._evaluated += 1
        view = self._view(profile)
        try:
            holds = self._draft_holds(view, now_ms)
        except Exception:  # as in the engine, a rule that fails changes no membership, and is counted
            self._failed += 1
            return
        if self._root is not None:
            self._pass(self._root, view, now_ms, reached=True)
        if self._near is not None:
            self._near.visit(view, now_ms, holds=holds, explained=lambda: self._explained(view, now_ms))
        if holds:
            self._holds += 1
            self._sample(view, now_ms)

    def _view(self, profile: Profile) -> Profile:
        """Return a copy with the features in the form that the draft reads; only memberships may change."""
        features = carried(profile.features, self._draft.segments.features, {})
        return msgspec.structs.replace(profile, features=features, members=profile.members.copy())

    def _draft_holds(self, view: Profile, now_ms: int) -> bool:
        """Return whether the draft holds, after recording the memberships of drafts that it refers to."""
        holds = False
        for segment in self._draft.drafts:
            holds = segment.rule.holds(view, now_ms)
            if segment is self._draft.segment:
                continue
            if not holds:
                view.members.pop(segment.key, None)
            elif segment.key not in view.members:
                view.members[segment.key] = Member(now_ms, segment.version)
        return holds

    def _pass(self, node: _Node, view: Profile, now_ms: int, *, reached: bool) -> bool:
        holds = _verdict(node.rule, view, now_ms)
        node.counted.holds += holds
        node.counted.passes += holds and reached
        for child in node.below:
            passed = self._pass(child, view, now_ms, reached=reached)
            if node.is_all:
                reached = reached and passed
        return holds

    def _sample(self, view: Profile, now_ms: int) -> None:
        samples, order = self._samples, sampling_hash(view.id) if self._wanted else 0
        if len(samples) >= self._wanted and (not samples or order >= samples[-1].order):
            return
        insort(samples, SampledProfile(order, view.id, self._explained(view, now_ms)), key=_order)
        del samples[self._wanted :]

    def _explained(self, view: Profile, now_ms: int) -> SegmentExplanation:
        explained = explain(self._draft.segments, view, now_ms, since=self._since)
        return explained.segments[self._draft.segment.index]

    def result(self) -> Estimate:
        """Return the estimate over the profiles visited so far."""
        return Estimate(
            self.share,
            self._evaluated,
            self._holds,
            self._failed,
            list(self._draft.incomplete),
            [] if self._root is None else _counts(self._root),
            self._wanted,
            self._samples,
            *(() if self._near is None else self._near.result()),
        )


class _Near:
    """The profiles that are next to the other verdict of a draft, and the values of its leaves."""

    def __init__(self, draft: Draft, wanted: int) -> None:
        self._wanted = wanted
        self._rule = draft.segments.definitions[draft.segment.index].when
        self._rules = {segment.key: segment.referred for segment in draft.segments.segments}
        self._own = self._rules[draft.segment.key]
        self._features = draft.segments.features
        self._kinds = {True: Nearest(wanted), False: Nearest(wanted)}
        self._leaves = measured_leaves(self._rule)
        self._values = {position: ValueSample() for position in self._leaves}
        #: The compiled leaves by the identity of their node: hashing a node takes longer than its rule.
        self._compiled: dict[int, Rule] = {}

    def visit(
        self, view: Profile, now_ms: int, *, holds: bool, explained: Callable[[], SegmentExplanation]
    ) -> None:
        """Take a profile into account for which the draft holds, or not."""

        def leaf(node: model.Node) -> bool:
            return _verdict(self._rule_of(node), view, now_ms)

        order = sampling_hash(view.id)
        for position, node in self._leaves.items():
            self._values[position].add(order, value_of(node, view, now_ms, self._features))
        found = flips(self._rule, leaf)
        number = found.to_fail if holds else found.to_hold
        if self._kinds[holds].takes(number, order):
            self._kinds[holds].add(NearProfile(number, order, view.id, explained()))

    def _rule_of(self, node: model.Node) -> Rule:
        rule = self._compiled.get(id(node))
        if rule is None:
            rule = self._compiled[id(node)] = compile_part(node, self._own, self._rules)
        return rule

    def result(self) -> tuple[int, list[NearProfile], list[NearProfile], list[LeafValues]]:
        """Return the last fields of an ``Estimate``."""
        values = [sample.result(position) for position, sample in self._values.items()]
        return self._wanted, self._kinds[True].found, self._kinds[False].found, values


def _verdict(rule: Rule, view: Profile, now_ms: int) -> bool:
    try:
        return rule.holds(view, now_ms)
    except Exception:  # a node that fails does not hold
        return False


def _counts(node: _Node) -> list[NodeCount]:
    found: Sequence[NodeCount] = [count for child in node.below for count in _counts(child)]
    return [node.counted, *found]
