"""Memberships at a past instant equal those of a replay that ends there."""

from __future__ import annotations

import json
import random

import pytest

from segops.core.events import Change
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.core.views.history import MembershipsAt
from segops.replay import Replay
from segops.testing import definition
from tests.rest import few_of

from .helpers import MONDAY as T
from .helpers import D, H, M

SEGMENTS = {
    "viewers": {"did": "A", "within": "3h"},
    "often": {"did": "A", "count": {"gte": 3}, "within": "1d"},
    "at-risk": {"last": "B", "is": {"older_than": "12h"}},
    "others": {"not": {"in_segment": "viewers"}},
}


def segment_set() -> SegmentSet:
    return SegmentSet([definition(key, rule) for key, rule in SEGMENTS.items()])


def stream(seed: int) -> list[tuple[int, bytes]]:
    """Return events of eight visitors, who log in now and then, over three days."""
    drawn = random.Random(seed)
    found, now_ms = [], T
    for number in range(300):
        now_ms += drawn.randrange(30 * M)
        visitor = drawn.randrange(8)
        ids = {"anonymousId": f"a{visitor}"}
        if drawn.random() < 0.1:
            ids["userId"] = f"u{visitor % 5}"
        event = {"type": "track", "event": drawn.choice("AAAB"), "messageId": f"m{number}", **ids}
        found.append((now_ms, json.dumps({**event, "timestamp": format_instant(now_ms)}).encode()))
    return found


def changes_of(events: list[tuple[int, bytes]], until_ms: int) -> tuple[Replay, list[Change]]:
    replay, changes = Replay(segment_set(), wall_ms=T + 90 * D), []
    for time_ms, line in events:
        if time_ms <= until_ms:
            changes += replay.feed(line, default_id=str(time_ms))
    changes += replay.advance(until_ms)
    return replay, changes


def members_of(replay: Replay) -> set[tuple[str, str]]:
    profiles = (profile for profile in replay.profiles.values() if profile.merged_into is None)
    return {(profile.id, key) for profile in profiles for key in profile.members}


def filled(found: MembershipsAt, changes: list[Change], *, retained_from: int = 0) -> MembershipsAt:
    """Add the changes that are retained, and the latest row of each membership."""
    rows = {(change.profile_id, change.segment_key): change for change in changes}
    for change in changes:
        if change.occurred_at >= retained_from:
            found.change(change)
    for row in rows.values():
        found.row(row)
    return found


@pytest.mark.parametrize("seed", few_of(range(5)))
def test_memberships_at_random_instants_equal_a_replay_until_then(seed: int) -> None:
    events = stream(seed)
    _, changes = changes_of(events, T + 10 * D)
    assert {"merge", "time", "event"} <= {change.reason for change in changes}
    drawn = random.Random(seed)
    for _ in range(40):
        at_ms = T + drawn.randrange(6 * D)
        replay, _ = changes_of(events, at_ms)
        for retained_from in (0, at_ms - 2 * H, at_ms + 1):
            found = filled(MembershipsAt(at_ms), changes, retained_from=retained_from).members()
            assert {(each.profile_id, each.segment_key) for each in found} == members_of(replay)
            assert all(each.since is None or each.since <= at_ms for each in found)
            assert all(each.until is None or each.until > at_ms for each in found)
        assert_entries_are_exact(changes, at_ms)


def assert_entries_are_exact(changes: list[Change], at_ms: int) -> None:
    """Verify start, reason and event against the entries, when all changes are retained."""
    entries = {(c.profile_id, c.segment_key, c.occurred_at): c for c in changes if c.member}
    for each in filled(MembershipsAt(at_ms), changes).members():
        assert each.since is not None
        entry = entries[each.profile_id, each.segment_key, each.since]
        assert (each.reason, each.event_id) == (entry.reason, entry.event_id)


def test_selection_by_segment_and_by_profile() -> None:
    _, changes = changes_of(stream(1), T + 2 * D)
    both = filled(MembershipsAt(T + D), changes).members()
    viewers = filled(MembershipsAt(T + D, segment_key="viewers"), changes).members()
    assert viewers == [each for each in both if each.segment_key == "viewers"] != []
    one = both[0].profile_id
    of_one = filled(MembershipsAt(T + D, profile_id=one), changes).members()
    assert of_one == [each for each in both if each.profile_id == one]


def test_a_merged_profile_names_the_survivor_from_the_merge_on() -> None:
    _, changes = changes_of(stream(2), T + 10 * D)
    merged = next(change for change in changes if change.merged_into is not None)
    for at_ms, into in ((merged.occurred_at, merged.merged_into), (merged.occurred_at - 1, None)):
        found = filled(MembershipsAt(at_ms, profile_id=merged.profile_id), changes)
        assert found.merged_into == into
