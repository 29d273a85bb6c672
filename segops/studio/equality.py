"""Whether two rules mean the same: by their canonical forms, else by the memberships on generated streams.

Equal memberships on streams are evidence, not proof; a difference is proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.segments import Definition, SegmentSet
from segops.studio.catalogue import StudioCatalogue
from segops.studio.literals import Literals
from segops.studio.streams import STAND_IN, Streams

#: Enough for each mutant of the sentences' rules to be told apart (``tests/studio/test_equality.py``).
STREAMS: Final = 600
_ONE, _OTHER = "one", "other"


def same_rule(
    one: Definition, other: Definition, catalogue: StudioCatalogue, now_ms: int, *, streams: int = STREAMS
) -> bool:
    """Return whether two rules have the same canonical form, or the same members on each generated stream.

    Scores, RFM, segments, lists and shares of customers are drawn as traits of their own: their values are
    independent of the events there. The answer is always the same for the same rules.
    """
    if one.identity == other.identity:
        return True
    return difference(one.when, other.when, catalogue, now_ms, streams=streams) is None


def difference(
    one: model.Node, other: model.Node, catalogue: StudioCatalogue, now_ms: int, *, streams: int = STREAMS
) -> int | None:
    """Return an instant (ms) from which only one of two rules holds on some stream; None if there is none."""
    nodes = stand_in(one), stand_in(other)
    found = Literals().add(nodes[0]).add(nodes[1])
    seed = "".join(sorted(map(model.identity, nodes)))
    drawn = Streams(found, catalogue, now_ms, seed)
    engine = Engine(SegmentSet([Definition(_ONE, _ONE, nodes[0]), Definition(_OTHER, _OTHER, nodes[1])]))
    for _ in range(streams):
        at_ms = _apart(engine, drawn)
        if at_ms is not None:
            return at_ms
    return None


def _apart(engine: Engine, streams: Streams) -> int | None:
    """Return an instant at which the memberships begin to differ on the next stream."""
    profile = engine.new_profile("user_id:u")
    clock_ms = 0
    changes: list[Change] = []
    for event in streams.draw():
        clock_ms = event.time_ms
        changes += engine.on_event(profile, event, clock_ms=clock_ms).changes
    changes += engine.on_timer(profile, clock_ms=clock_ms + 2 * streams.longest_ms).changes
    turned = {(each.occurred_at, each.action, each.segment_key == _ONE) for each in changes}
    ones, others = ({turn[:2] for turn in turned if turn[2] is side} for side in (True, False))
    return min((at_ms for at_ms, _ in ones ^ others), default=None)


def stand_in(node: model.Node) -> model.Node:
    """Return a rule in which traits stand for what is not drawn: scores, RFM, segments, lists, shares.

    >>> stand_in(model.InSegment("vip")).path[1:]
    ('segment', 'vip')
    """
    match node:
        case model.All(of=of) | model.Any(of=of) | model.AtLeast(of=of):
            return msgspec.structs.replace(node, of=tuple(map(stand_in, of)))
        case model.Not(of=child):
            return model.Not(stand_in(child))
    return _STAND_INS[type(node)](node) if type(node) in _STAND_INS else node


_TRUE: Final = Predicate((("eq", True),))


def _trait(what: str, name: str, test: Predicate) -> model.Trait:
    return model.Trait((STAND_IN, what, name), test)


def _of_rfm(node: model.RfmNode) -> model.Node:
    if node.tiers:
        return _trait("rfm", "tier", Predicate((("in", node.tiers),)))
    return model.All(tuple(_trait("rfm", name, test) for name, test in node.tests))


def _of_bucket(node: model.Bucket) -> model.Node:
    return _trait("bucket", node.salt, Predicate((("gte", node.low), ("lt", node.high))))


_STAND_INS: Final[Mapping[type, Callable[[Any], model.Node]]] = {
    model.ScoreNode: lambda node: _trait("score", node.untested.title, node.test),
    model.InSegment: lambda node: _trait("segment", node.key, _TRUE),
    model.OnList: lambda node: _trait("list", node.key, _TRUE),
    model.Bucket: _of_bucket,
    model.RfmNode: _of_rfm,
}
