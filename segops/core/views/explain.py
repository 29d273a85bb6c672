"""Explanations of memberships: every node of the rule with its value, threshold and next change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import msgspec

from segops.core.features import Feature, reducer_of
from segops.core.features.scanning import Scanning
from segops.core.features.since import SinceReducer
from segops.core.geo import distance_m
from segops.core.memberships import compile_part, past_of
from segops.core.names import has_identifier
from segops.core.profile import Profile
from segops.core.rules import model
from segops.core.rules.execution import (
    VIEWS,
    Rule,
    at_refresh,
    changes_of,
    feature_of,
    figure_value,
    held_since,
    ratio_value,
    session_figure,
)
from segops.core.rules.figures import Number, figures_of
from segops.core.rules.policy import Policy
from segops.core.rules.wording import label, threshold
from segops.core.segments import Definition, Segment, SegmentSet, complete_since
from segops.core.static_lists import listed_as
from segops.core.values import format_duration, format_instant, lookup, nearest, share_of
from segops.core.views.indicators import IndicatorView
from segops.core.views.notes import note_of
from segops.core.views.score_views import ScoreView


class RulePart(msgspec.Struct, frozen=True):
    """One node of a rule at one instant; times are milliseconds.

    ``holds`` is None if the node fails to evaluate. ``value`` is compared with ``threshold``: a count, an
    aggregate, a trait, two figures in a list; for ages the instant that they count from (ISO 8601), for
    groups the number of children that hold. ``value_is_least``: the value is at least that, since the
    profile keeps only what the rule needs. ``changed_at`` is when the verdict last changed. For a traced
    profile it is exact, and None means not since the first event. For a stored profile it is derived from
    memberships (``in_segment`` of a current one, its negation, and the rule of a member itself), and None
    means unknown. ``changes_at`` is when the verdict changes without another event (None: never).
    ``note`` states a limit of exactness, and of a node with a refresh as of when it holds.
    """

    label: str
    holds: bool | None
    value: Any = None
    value_is_least: bool = False
    threshold: str | None = None
    changed_at: int | None = None
    changes_at: int | None = None
    note: str | None = None
    parts: tuple[RulePart, ...] = ()


class Thresholds(msgspec.Struct, frozen=True):
    """The constraints of a segment's policy on a profile; times are milliseconds.

    A member cannot leave before ``stays_until``; a non-member cannot enter before ``enters_from`` (None: no
    constraint). ``entries`` so far is None if they are not recorded, ``max_entries`` if there is no limit.
    """

    stays_until: int | None
    enters_from: int | None
    entries: int | None
    max_entries: int | None


class SegmentExplanation(msgspec.Struct, frozen=True):
    """A profile's membership of one segment: since when, caused by which event, until when, and why.

    ``event_id`` is None if no event with an id caused it, but for example time or a definition. ``flips_at``
    is when the membership changes without another event (None: never). With hysteresis, ``rule`` is the one
    that applies to the profile: for members, or for non-members. ``limits`` are those of the policy, if there
    is one. ``complete_since``: earlier events that its windows include are unknown; None: none are.
    """

    segment_key: str
    name: str
    version: int
    member: bool
    since: int | None
    event_id: str | None
    flips_at: int | None
    rule: RulePart
    limits: Thresholds | None = None
    complete_since: int | None = None


class Explanation(msgspec.Struct, frozen=True):
    """One profile at ``now_ms`` in every segment, in the order of evaluation, its indicators and scores."""

    profile_id: str
    now_ms: int
    segments: tuple[SegmentExplanation, ...]
    indicators: tuple[IndicatorView, ...] = ()
    scores: tuple[ScoreView, ...] = ()


#: Node (by its ``trace_key``) -> when its verdict last changed.
Changed = Mapping[bytes, int | None]


def explain(
    segments: SegmentSet,
    profile: Profile,
    now_ms: int,
    changed: Changed | None = None,
    *,
    since: Mapping[int, int] = MappingProxyType({}),
    keys: Collection[str] | None = None,
) -> Explanation:
    """Explain a profile that these segments have evaluated up to ``now_ms``, without changing it.

    ``keys``: the segments to explain; None: all.
    ``changed`` is the result of tracing the profile; without it, ``changed_at`` is derived from memberships.
    ``since``: features of which no profile knows earlier events, as in ``segments.complete_since``.

    >>> segments = SegmentSet([Definition("old", "Old", model.KnownFor(10))])
    >>> old = explain(segments, Profile("user_id:u1", first_ms=100), 105).segments[0]
    >>> old.member, old.rule.label, old.rule.holds, old.flips_at
    (False, 'known for 10ms', False, 110)
    """
    rules = {segment.key: segment.referred for segment in segments.segments}
    view = _View(profile, now_ms, rules, segments.features, changed, known_since(profile, since))
    both = zip(segments.definitions, segments.segments, strict=True)
    chosen = ((d, segment) for d, segment in both if keys is None or d.key in keys)
    return Explanation(profile.id, now_ms, tuple(_segment(d, segment, view) for d, segment in chosen))


class _View(msgspec.Struct, frozen=True):
    profile: Profile
    now_ms: int
    rules: Mapping[str, Rule]
    features: Mapping[int, Feature]
    changed: Changed | None
    since: Mapping[int, int]


def known_since(profile: Profile, since: Mapping[int, int]) -> Mapping[int, int]:
    """Return from when on the features of a profile are complete: by ``since``, and by what was left out."""
    cut = profile.complete_since
    return {**since, **{key: max(ms, since.get(key, ms)) for key, ms in cut.items()}} if cut else since


def trace_key(key: str, node: model.Node) -> bytes:
    """Return the key by which a node is traced: equal nodes share it, unless they depend on a membership."""
    form = model.canonical(node)
    return form if model.side(node, inside=True) is node else f"{key} ".encode() + form


def _segment(definition: Definition, segment: Segment, view: _View) -> SegmentExplanation:
    membership = view.profile.members.get(definition.key)
    rule = _part(definition.when, definition.key, view)
    since = None if membership is None else membership.since_ms
    exact = definition.policy is None or not definition.policy.timed
    if view.changed is None and since is not None and rule.holds and exact:
        rule = msgspec.structs.replace(rule, changed_at=since)
    return SegmentExplanation(
        definition.key,
        definition.name,
        definition.version,
        membership is not None,
        since,
        None if membership is None else membership.event_id,
        rule.changes_at if isinstance(segment.rule, Rule) else _flips_at(segment, view),
        rule,
        None if definition.policy is None else _limits(definition.key, definition.policy, view),
        complete_since(segment, view.since, view.now_ms),
    )


def _flips_at(segment: Segment, view: _View) -> int | None:
    try:
        return segment.rule.next_flip(view.profile, view.now_ms, segment.key in view.profile.members)
    except Exception:  # a rule that fails has no next change
        return None


def _limits(key: str, policy: Policy, view: _View) -> Thresholds:
    member, past = view.profile.members.get(key), past_of(view.profile, key)
    stays = None if member is None else member.since_ms + (policy.min_stay_ms or 0)
    blocked = member is None and past.left_ms is not None
    enters = (past.left_ms or 0) + (policy.cool_down_ms or 0) if blocked else None
    return Thresholds(
        stays if stays is not None and stays > view.now_ms else None,
        enters if enters is not None and enters > view.now_ms else None,
        past.entries if policy.remembers else None,
        policy.max_entries,
    )


def _part(node: model.Node, key: str, view: _View) -> RulePart:
    parts = tuple(_part(child, key, view) for child in model.children(node))
    holds, changes_at = _verdict(node, key, view)
    value, least = _read(node, parts, view)
    return RulePart(
        label(node),
        holds,
        value,
        least,
        threshold(node),
        _changed_at(node, key, parts, view),
        changes_at,
        note_of(node, view.now_ms, view.profile),
        parts,
    )


def _verdict(node: model.Node, key: str, view: _View) -> tuple[bool | None, int | None]:
    try:
        rule = compile_part(node, view.rules[key], view.rules)
        holds = rule.holds(view.profile, view.now_ms)
        return holds, rule.next_flip(view.profile, view.now_ms, holds)
    except Exception:  # a rule that fails has no verdict: ``holds`` is None
        return None, None


def _changed_at(node: model.Node, key: str, parts: tuple[RulePart, ...], view: _View) -> int | None:
    if view.changed is not None:
        return view.changed.get(trace_key(key, node))
    if isinstance(node, model.InSegment):
        membership = view.profile.members.get(node.key)
        return None if membership is None else membership.since_ms
    return parts[0].changed_at if len(parts) == 1 else None


def _read(node: model.Node, parts: tuple[RulePart, ...], view: _View) -> tuple[Any, bool]:
    if parts:
        single = isinstance(node, (model.Not, model.Hysteresis))
        return (None if single else sum(part.holds is True for part in parts)), False
    if isinstance(node, model.Frozen):
        profile, now_ms = at_refresh(node, view.profile, view.now_ms)
        return _read(node.of, (), msgspec.structs.replace(view, profile=profile, now_ms=now_ms, features={}))
    read = _VALUES.get(type(node))
    if read is None:
        return None, False
    try:
        value = plain(read(node, view))
    except Exception:  # the node has no verdict either
        return None, False
    return value, is_least(_shared_feature(node, view), value)


def value_of(node: model.Node, profile: Profile, now_ms: int, features: Mapping[int, Feature]) -> Any:
    """Return the value that a leaf compares, as ``explain`` shows it. ``features``: those in force, by id."""
    return _read(node, (), _View(profile, now_ms, {}, features, None, {}))[0]


def is_least(feature: Feature | None, value: Any) -> bool:
    """Return whether a count has reached its feature's capacity, so that the true value may be higher."""
    if feature is None or feature.capacity is None or value is None or value < feature.capacity:
        return False
    reducer = reducer_of(feature)
    if isinstance(reducer, SinceReducer):
        return bool(value >= reducer.limit)
    return not isinstance(reducer, Scanning)


def plain(value: Any) -> Any:
    """Return a value for JSON; an exact number becomes the nearest float or integer."""
    if not isinstance(value, (Decimal, Fraction)):
        return value
    try:
        return nearest(value)
    except OverflowError:
        return str(value)


def _shared_feature(node: model.Node, view: _View) -> Feature | None:
    """Return the feature with the capacity that it has for all rules."""
    feature = feature_of(node)
    return None if feature is None else view.features.get(feature.id, feature)


def _state(node: model.Node, view: _View) -> Any:
    feature = _shared_feature(node, view)
    if feature is None:
        return None
    return reducer_of(feature).read(view.profile.features.get(feature.id), view.now_ms)


def _count(node: model.Did | model.Visited, view: _View) -> int | None:
    """Return the number of events; None without the anchor of the window."""
    found = _state(node, view)
    count: int | None = found[0] if isinstance(found, tuple) else found
    return count


def _figure(node: model.Aggregate, view: _View) -> Any:
    return VIEWS[node.function](_state(node, view))


def _compared(node: model.Compare | model.Distance, view: _View) -> Any:
    """Return the value of the figure; of two figures, both values."""
    values = [plain(figure_value(figure, view.profile, view.now_ms)) for figure in figures_of(node)]
    return values[0] if isinstance(node, model.Distance) or isinstance(node.right, Number) else values


def _ratio(node: model.Ratio, view: _View) -> Any:
    return ratio_value(*(figure_value(figure, view.profile, view.now_ms) for figure in figures_of(node)))


def _instant(ms: int | None) -> str | None:
    return None if ms is None else format_instant(ms)


def _held_since(node: model.HasBeen, view: _View) -> str | None:
    """Return since when the predicate has held, no further back than the rule needs."""
    feature, profile = feature_of(node), view.profile
    if feature is None or profile.first_ms is None:
        return None
    history: Any = profile.features.get(feature.id)
    known = (profile.first_ms, node.length_ms)
    return _instant(held_since(history, node.test, known, view.now_ms))


def _changed_at_last(node: model.Changed, view: _View) -> str | None:
    """Return when the trait last changed as the node says, whether in its window or not."""
    return _instant(max(changes_of(node, _state(node, view)), default=None))


def _distance(node: model.Near, view: _View) -> int | None:
    location = _last_location(node, view)
    return None if location is None else round(distance_m(location, (node.lat, node.lon)))


def _last_location(node: model.Near | model.Located, view: _View) -> Any:
    return view.profile.location if node.by is None else _state(node, view)


def _location(node: model.Located, view: _View) -> str | None:
    location = _last_location(node, view)
    return None if location is None else f"{location[0]}, {location[1]}"


def _score(node: model.ScoreNode | model.RfmNode, view: _View) -> Any:
    read = view.profile if feature_of(node) is None else _state(node, view)
    return node.scorer.value(read, view.now_ms)


def _value_of_score(node: model.ScoreNode, view: _View) -> Any:
    if node.model is None:
        return _score(node, view)
    return figure_value(node.untested, view.profile, view.now_ms)


def _digits(node: model.RfmNode, view: _View) -> str | None:
    digits = _score(node, view)
    if digits is None:
        return None
    tier = node.rfm.tier(digits)
    return f"{tier or 'no tier'} ({digits.recency}, {digits.frequency}, {digits.monetary})"


def _session_figure(node: model.SessionFigure, view: _View) -> Any:
    value = session_figure(node, _state(node, view))
    return format_duration(value) if node.figure == "duration" and value is not None else value


#: Node -> the value that is compared with its threshold.
_VALUES: dict[type, Callable[[Any, _View], Any]] = {
    model.Did: _count,
    model.Aggregate: _figure,
    model.Occurrence: lambda node, view: _instant(_state(node, view)),
    model.Trait: lambda node, view: lookup(view.profile.traits, node.path),
    model.KnownFor: lambda _node, view: _instant(view.profile.first_ms),
    model.HasBeen: _held_since,
    model.Changed: _changed_at_last,
    model.HasIdentifier: lambda node, view: ", ".join(
        kind for kind in node.types if has_identifier(view.profile, kind)
    ),
    model.OnList: lambda node, view: listed_as(view.profile, node),
    model.Near: _distance,
    model.Located: _location,
    model.Visited: _count,
    model.RfmNode: _digits,
    model.ScoreNode: _value_of_score,
    model.Bucket: lambda node, view: share_of(node.salt, view.profile.id) / 100,
    **dict.fromkeys((model.ActivePeriods, model.Sessions, model.Regularly, model.LifecycleNode), _state),
    model.SessionFigure: _session_figure,
    **dict.fromkeys((model.Compare, model.Distance), _compared),
    model.Ratio: _ratio,
}
