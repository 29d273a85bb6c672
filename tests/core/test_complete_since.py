"""From when on the counts of a profile are complete: after a fold that left events out, and in its views."""

from __future__ import annotations

from typing import Any

import pytest

from segops.cli.explain import segment_lines
from segops.core.backfill import Folded, fold, install
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features.states import EventTimes
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.views.explain import explain
from segops.core.views.profile import view_profile
from segops.schemas.state import decode_profile, encode_profile
from segops.streaming.partition.backfill.handovers import enclose, unfold
from segops.testing import segments

from .backfilling import rows_of
from .helpers import D

NOW = 100 * D
SPENT = {"sum": "p", "of": "A", "is": {"gte": 1}, "within": "90d"}
EVENTS = [Event("A", NOW - 80 * D + n * D, f"m{n}", {"p": n + 0.25}) for n in range(60)]


def built(**rules: dict[str, Any]) -> SegmentSet:
    return segments(**rules)


def cut_profile(found: SegmentSet, name: str = "user_id:u1") -> Profile:
    """Return a profile whose history did not fit."""
    profile, features = Profile(name, first_ms=0, latest_ms=NOW), found.features
    install(profile, fold(profile, rows_of(features, EVENTS), features, now_ms=NOW, max_bytes=600), features)
    (since,) = profile.complete_since.values()
    assert EVENTS[0].time_ms < since < EVENTS[-1].time_ms
    return profile


def test_what_was_left_out_is_stored_with_the_profile_and_shown() -> None:
    found = built(spent=SPENT, recent={"did": "A", "within": "1d"})
    only = built(spent=SPENT)
    profile = decode_profile(encode_profile(cut_profile(only)))
    (since,) = profile.complete_since.values()
    (feature,) = view_profile(only, profile, NOW).features
    assert feature.complete_since == since
    explained = {each.segment_key: each for each in explain(found, profile, NOW).segments}
    assert (explained["spent"].complete_since, explained["recent"].complete_since) == (since, None)
    assert "complete for events since" in list(segment_lines(explained["spent"]))[2]
    assert not any("complete" in line for line in segment_lines(explained["recent"]))


def test_it_matters_until_the_window_has_passed() -> None:
    only = built(spent=SPENT)
    profile = cut_profile(only)
    (since,) = profile.complete_since.values()
    for now_ms, expected in ((since + 90 * D - 2, since), (since + 90 * D - 1, None)):
        assert explain(only, profile, now_ms).segments[0].complete_since == expected
        assert view_profile(only, profile, now_ms).features[0].complete_since == expected


@pytest.mark.parametrize(("partition_ms", "later"), [(NOW - 79 * D, "profile"), (NOW - D, "partition")])
def test_the_later_of_profile_and_partition_counts(partition_ms: int, later: str) -> None:
    only = built(spent=SPENT)
    profile = cut_profile(only)
    ((key, since),) = profile.complete_since.items()
    expected = {"profile": since, "partition": partition_ms}[later]
    explained = explain(only, profile, NOW, since={key: partition_ms}).segments[0]
    assert explained.complete_since == expected
    assert view_profile(only, profile, NOW, {key: partition_ms}).features[0].complete_since == expected


def test_it_ends_with_the_feature_and_with_a_complete_fold() -> None:
    only = built(spent=SPENT)
    profile = cut_profile(only)
    install(profile, Folded({}), only.features)
    assert profile.complete_since == {}
    profile = cut_profile(only)
    Engine(built(other={"did": "B"})).on_definitions(profile, clock_ms=NOW)
    assert profile.complete_since == {}
    profile = cut_profile(only)
    Engine(only).on_definitions(profile, clock_ms=NOW)
    assert len(profile.complete_since) == 1


@pytest.mark.parametrize("own", [0, NOW - D])
def test_a_survivor_is_complete_since_the_later_instant(own: int) -> None:
    only = built(spent=SPENT)
    engine, source = Engine(only), cut_profile(only, "anonymous_id:a1")
    ((key, since),) = source.complete_since.items()
    survivor = engine.new_profile("user_id:u1")
    engine.on_event(survivor, Event("A", NOW, "m", {"p": 1}), clock_ms=NOW)
    survivor.complete_since = {key: own} if own else {}
    engine.on_merge(survivor, [source], clock_ms=NOW)
    assert survivor.complete_since == {key: max(own, since)}


def test_it_travels_enclosed_in_a_hand_over() -> None:
    only = built(spent=SPENT)
    (key,) = only.features
    state = Profile("user_id:u1", features={7: EventTimes([1])}, complete_since={7: 1})
    rows = rows_of(only.features, EVENTS)
    enclose(state, rows, only.features, max_bytes=600)
    since = cut_profile(only).complete_since[key]
    assert state.complete_since == {7: 1, ~key: since}
    unfold(state, only.features)
    assert state.complete_since == {7: 1, key: since}
