"""The cost of segments: counted features are stored ones, and untimed segments never flip."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from segops.core.engine import Engine
from segops.core.features import CAPACITIES
from segops.core.features.states import State
from segops.core.rules.analysis.cost import TYPICAL_ENTRIES, Cost, costs, typical_state
from segops.core.segments import SegmentSet
from segops.testing import segments

from .strategies import streams
from .test_equivalence import segment_sets


def cost(rule: dict[str, Any], **others: dict[str, Any]) -> Cost:
    found = costs(segments(rule=rule, **others)).segments
    return next(each for each in found if each.segment_key == "rule")


@settings(max_examples=60)
@given(segment_sets(), streams())
def test_counted_features_are_stored_and_only_timed_segments_flip(
    known: SegmentSet, steps: list[tuple[str, Any]]
) -> None:
    found = costs(known)
    assert found.features == len(known.features)
    timed = {d.key for d in known.definitions if d.policy is not None and d.policy.timed}
    still = {each.segment_key for each in found.segments if not each.timed_leaves} - timed
    engine = Engine(known)
    profile = engine.new_profile("user_id:u1")
    for kind, arg in steps:
        if kind == "event":
            engine.on_event(profile, arg, clock_ms=arg.time_ms)
            assert not still & profile.flips.keys()


def test_shared_features_are_counted_once() -> None:
    view = {"did": "A", "count": {"gte": 3}, "within": "1h"}
    found = costs(segments(a={"all": [view, {"did": "B"}]}, b={"any": [view, {"in_segment": "a"}]}))
    a, b = found.segments
    assert (a.leaves, a.features, a.shared, a.timed_leaves) == (2, 2, 1, 1)
    assert (b.leaves, b.features, b.shared, b.timed_leaves) == (2, 1, 1, 2)
    assert found.features == 2
    assert found.state_bytes < a.state_bytes + b.state_bytes


@pytest.mark.parametrize(
    ("rule", "timed"),
    [
        ({"did": "A"}, 0),
        ({"did": "A", "since": "2026-01-01"}, 0),
        ({"did": "A", "within": "1h"}, 1),
        ({"did": "A", "calendar": {"this": "day"}}, 1),
        ({"did": "A", "where": {"p": {"in_next": "1d"}}}, 1),
        ({"latest": "p", "of": "A", "is": {"in_last": "1d"}}, 1),
        ({"trait": "p", "is": {"eq": 1}}, 0),
        ({"trait": "p", "is": {"older_than": "1d"}}, 1),
        ({"near": {"lat": 1, "lon": 1, "radius": "1km"}}, 0),
        ({"bucket": {"salt": "s", "from": 0, "to": 5}}, 0),
        ({"sequence": [{"did": "A"}, {"did": "B"}]}, 0),
        ({"sequence": [{"did": "A"}, {"did_not": "B", "within": "1h"}]}, 1),
        ({"not": {"in_segment": "other"}}, 1),
        ({"active_days": "A", "is": {"gte": 2}}, 0),
        ({"active_days": "A", "is": {"gte": 2}, "within": "7d"}, 1),
        ({"sessions": "A", "is": {"gte": 2}}, 0),
        ({"sessions": "A", "is": {"gte": 2}, "calendar": {"this": "day"}}, 1),
        ({"session": "events", "of": "A", "is": {"gte": 2}}, 1),
        ({"regularly": "A", "every": "7d", "k": 3, "of": 4}, 1),
        ({"lifecycle": {"of": "A", "period": "28d", "is": "new"}}, 1),
    ],
    ids=str,
)
def test_timed_leaves_are_counted(rule: dict[str, Any], timed: int) -> None:
    assert cost(rule, other={"known_for": "1d"}).timed_leaves == timed


def test_bytes_grow_with_stored_state() -> None:
    sizes = [cost({"did": "A", "count": {"gte": k}, "within": "48h"}).state_bytes for k in CAPACITIES]
    assert sizes == sorted(set(sizes))
    once, many = cost({"did": "A"}), cost({"sum": "p", "of": "A", "is": {"gte": 1}, "within": "1h"})
    assert once.state_bytes < 100 < many.state_bytes


def test_shared_feature_is_sized_by_the_greatest_threshold() -> None:
    few, many = ({"did": "A", "count": {"gte": k}, "within": "48h"} for k in (3, 60))
    found = costs(segments(few=few, many=many))
    alone = [costs(segments(**{key: rule})).state_bytes for key, rule in (("few", few), ("many", many))]
    assert [each.state_bytes for each in found.segments] == alone
    assert [each.shared for each in found.segments] == [1, 1]
    assert found.features == 1
    assert found.state_bytes == sum(alone) - cost_of_feature(few)


def cost_of_feature(rule: dict[str, Any]) -> int:
    (feature,) = segments(rule=rule).features.values()
    return len(typical_state(feature))


@settings(max_examples=60)
@given(segment_sets())
def test_every_typical_state_can_be_stored(known: SegmentSet) -> None:
    for segment in known.segments:
        for use in segment.referred.features:
            data = typical_state(use.feature)
            (state,) = msgspec.msgpack.decode(data, type=dict[int, State]).values()
            entries = getattr(state, "times", None) or getattr(state, "entries", None) or [state]
            assert 1 <= len(entries) <= max(TYPICAL_ENTRIES, use.feature.capacity or 1)
