"""The cost of segments: the state stored per profile, and the leaves that change with time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from segops.core.features import Feature, reducer_of
from segops.core.features.orders import OrderStatement
from segops.core.features.states import Frozen
from segops.core.operators import Predicate
from segops.core.profile import Member, Past, PublishedValue
from segops.core.rules import model
from segops.core.rules.execution import compile_rule
from segops.core.rules.figures import (
    AggregateFigure,
    CountFigure,
    DistanceFigure,
    Figure,
    Number,
    TraitFigure,
    leaf_figures,
)
from segops.core.rules.policy import Policy
from segops.core.values import format_instant
from segops.core.windows import Between, Calendar, Fixed, SinceLast, Window, Within, span

#: The number of entries assumed where no capacity bounds it.
TYPICAL_ENTRIES = 32
_NOW_MS = 1_767_225_600_000
_MONTH_MS = 30 * 86_400_000
_TEXT = "typical-value"
_encode = msgspec.msgpack.Encoder().encode


class _Definition(Protocol):
    """A segment as defined."""

    @property
    def key(self) -> str: ...
    @property
    def when(self) -> model.Node: ...
    @property
    def policy(self) -> Policy | None: ...


class _Segment(Protocol):
    """A compiled segment; ``remembers``: it stores past memberships."""

    @property
    def key(self) -> str: ...
    @property
    def remembers(self) -> bool: ...


class Segments(Protocol):
    """A set of active segments and all features that they read."""

    @property
    def all_definitions(self) -> Sequence[_Definition]: ...
    @property
    def segments(self) -> Sequence[_Segment]: ...
    @property
    def features(self) -> Mapping[int, Feature]: ...


class Cost(msgspec.Struct, frozen=True):
    """The cost of one segment or indicator, not counting segments that it references.

    ``shared`` of its ``features`` serve other segments, too; ``timed_leaves`` of its ``leaves`` can change
    their verdict by time alone. ``state_bytes`` estimates what a busy profile stores for this segment:
    the membership and its features, each full, or with TYPICAL_ENTRIES entries if unbounded.
    """

    segment_key: str
    leaves: int
    features: int
    shared: int
    timed_leaves: int
    state_bytes: int


class Costs(msgspec.Struct, frozen=True):
    """The cost of each segment, in evaluation order, and of all segments together.

    The total counts a shared feature once, with the capacity that its most demanding segment needs.
    """

    segments: tuple[Cost, ...]
    features: int
    state_bytes: int


def costs(segments: Segments) -> Costs:
    """Return the cost of each segment and of all together.

    >>> from segops.core.segments import Definition, SegmentSet
    >>> of_all = costs(SegmentSet([Definition("old", "Old", model.KnownFor(86_400_000))]))
    >>> of_all.segments[0].timed_leaves, of_all.features
    (1, 0)
    """
    leaves = {d.key: list(_leaves(d.when)) for d in segments.all_definitions}
    features = {key: _features(nodes) for key, nodes in leaves.items()}
    bytes_of = {
        key: {id: len(typical_state(f)) for id, f in found.items()} for key, found in features.items()
    }
    timed: dict[str, int] = {}
    moving: set[str] = set()
    for key, policy in ((d.key, d.policy) for d in segments.all_definitions):
        timed[key] = sum(_timed(leaf, moving) for leaf in leaves[key])
        if timed[key] or (policy is not None and policy.timed):
            moving.add(key)
    membership = {s.key: _membership_bytes(s) for s in segments.segments}
    membership |= {key: _published_bytes(key) for key in leaves.keys() - membership.keys()}
    found = []
    for key in leaves:
        others = {id for other, ids in features.items() if other != key for id in ids}
        own = features[key]
        size = membership[key] + sum(bytes_of[key].values())
        found.append(Cost(key, len(leaves[key]), len(own), len(own.keys() & others), timed[key], size))
    kept = sum(len(typical_state(feature)) for feature in segments.features.values())
    return Costs(tuple(found), len(segments.features), kept + sum(membership.values()))


def _leaves(node: model.Node) -> Iterable[model.Node]:
    below = model.children(node)
    if not below:
        yield node
    for child in below:
        yield from _leaves(child)


def _features(nodes: Iterable[model.Node]) -> dict[int, Feature]:
    found: dict[int, Feature] = {}
    for node in nodes:
        if not isinstance(node, model.InSegment):
            for use in compile_rule("cost", node, {}).features:
                key = use.feature.id
                found[key] = use.feature.or_wider(found.get(key, use.feature))
    return found


def _membership_bytes(segment: _Segment) -> int:
    key = segment.key
    kept = [{key: Member(_NOW_MS, 1, _TEXT)}, {key: _NOW_MS}, {key: Past(1, _NOW_MS)}]
    return sum(len(_encode(each)) for each in kept[: 3 if segment.remembers else 2])


def _published_bytes(key: str) -> int:
    """Return the size of what a profile stores of an indicator, beside its features."""
    return len(_encode({key: PublishedValue(99.9, _NOW_MS, 1)})) + len(_encode({key: _NOW_MS}))


# -- leaves that time changes --------------------------------------------------------------------------


def _moves(window: Window, tests: Iterable[Predicate]) -> bool:
    return isinstance(window, (Within, Between, Calendar)) or any(test.timed for test in tests)


def _conditions(select: model.Selection) -> list[Predicate]:
    return [test for _, test in select.where]


def _figure_moves(figure: Figure | Number) -> bool:
    """Return whether time alone can change a figure."""
    match figure:
        case CountFigure(select=select, window=window) | AggregateFigure(select=select, window=window):
            return _moves(window, _conditions(select))
        case DistanceFigure(within_ms=within_ms):
            return within_ms is not None
    return not isinstance(figure, (Number, TraitFigure))


def _timed(node: model.Node, moving: Collection[str]) -> bool:
    """Return whether time alone can change a leaf; ``moving`` are the referenced segments that it can."""
    if isinstance(node, model.InSegment):
        return node.key in moving
    return _TIMED[type(node)](node)


#: Leaf -> whether its verdict can change by time alone.
_TIMED: dict[type, Callable[[Any], bool]] = {
    model.Did: lambda node: _moves(node.window, _conditions(node.select)),
    model.Aggregate: lambda node: _moves(node.window, [node.test, *_conditions(node.select)]),
    model.Occurrence: lambda _node: True,
    model.Trait: lambda node: node.test.timed,
    model.KnownFor: lambda _node: True,
    model.HasBeen: lambda _node: True,
    **dict.fromkeys((model.Changed, model.Visited), lambda node: _moves(node.window, ())),
    model.HasIdentifier: lambda _node: False,
    model.OnList: lambda node: node.expires_ms is not None,
    model.Near: lambda node: node.within_ms is not None,
    model.Located: lambda node: node.within_ms is not None,
    model.Bucket: lambda _node: False,
    model.RfmNode: lambda _node: True,
    model.ScoreNode: lambda _node: True,
    **dict.fromkeys(
        (model.Compare, model.Ratio, model.Distance, model.PublishedFigure),
        lambda node: any(map(_figure_moves, leaf_figures(node))),
    ),
    model.SequenceNode: lambda node: node.sequence.within_ms is not None or node.sequence.steps[-1].absent,
    model.ActivePeriods: lambda node: _moves(node.window, _conditions(node.select)),
    model.Sessions: lambda node: _moves(node.window, ()),
    **dict.fromkeys((model.SessionFigure, model.Regularly, model.LifecycleNode), lambda _node: True),
    model.Frozen: lambda _node: True,
}


# -- a typical state -----------------------------------------------------------------------------------


def typical_state(feature: Feature) -> bytes:
    """Encode a feature's id and its state in a busy profile, as in a stored profile."""
    reducer, state, number = reducer_of(feature), None, feature.capacity or TYPICAL_ENTRIES
    now_ms = _now(feature.window)
    for index, time_ms in enumerate(_times(feature, number, now_ms)):
        state = reducer.add(state, time_ms, _value(feature, index), now_ms) or state
    if isinstance(state, Frozen):
        state.base = state.live
    return _encode({feature.id: state})


def _now(window: Window) -> int:
    """Return an instant well inside the window."""
    if isinstance(window, Calendar):
        return span(window, _NOW_MS)[0] + 23 * 3_600_000
    if not isinstance(window, Fixed):
        return _NOW_MS
    return window.until_ms - 1 if window.until_ms is not None else max(_NOW_MS, window.since_ms or 0)


def _times(feature: Feature, number: int, now_ms: int) -> list[int]:
    """Return event times spread over the window, oldest first."""
    after, upto = span(feature.window, now_ms)
    if feature.sequence is not None and feature.sequence.within_ms is not None:
        after = now_ms - feature.sequence.within_ms
    if feature.purchases is not None:
        after = now_ms - feature.purchases.period_ms
    after = max(after, upto - _MONTH_MS)
    return [after + max(1, (upto - after) * index // number) for index in range(1, number + 1)]


def _value(feature: Feature, index: int) -> Any:
    if feature.sequence is not None:
        return 1 << index % len(feature.sequence.steps), (_TEXT,) * len(feature.sequence.paths)
    if feature.purchases is not None:
        return OrderStatement("orders", f"{_TEXT}-{index}", Decimal("49.9"))
    if feature.length_ms is not None:
        return None if feature.path is None else (_TEXT,)
    value = str(index) if feature.days is not None else _plain(feature.kind, index)
    if feature.kind == "history":
        return value
    if isinstance(feature.window, SinceLast):
        key = None if feature.window.same is None else _TEXT
        return value, (False, key, *(format_instant(_NOW_MS) for _ in feature.timed_where))
    if feature.keeps_events:
        return value, (format_instant(_NOW_MS),) * len(feature.timed_where)
    return value


def _plain(kind: str, index: int) -> Any:
    if kind in ("count", "first", "last"):
        return None
    # Falling values for max and rising ones for min: then every entry is stored.
    figures = {"sum": 49.9, "max": 999.9 - index, "min": 99.9 + index}
    text = f"{_TEXT}-{index}"
    return [text] if kind == "most_frequent" else figures.get(kind, text)
