"""Replay: the changes of the engine alone, in order of time over all profiles."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.errors import RejectedEvent
from segops.core.events import Change
from segops.core.values import format_instant
from segops.replay import Replay
from segops.testing import segments
from tests.core.helpers import MONDAY as T
from tests.core.helpers import D, S

RULES = {"a": {"did": "A", "within": "10s"}, "calm": {"did_not": "A", "within": "5s"}}


def line(user: str, name: str, time_ms: int, **fields: Any) -> bytes:
    event = {"type": "track", "event": name, "userId": user, "timestamp": format_instant(time_ms), **fields}
    return msgspec.json.encode(event)


def summaries(changes: list[Change]) -> list[tuple[str, str, str, int]]:
    return [(c.profile_id[8:], c.segment_key, c.action, c.occurred_at) for c in changes]


def run(replay: Replay, *lines: bytes) -> list[Change]:
    return [change for n, text in enumerate(lines, 1) for change in replay.feed(text, default_id=f"line:{n}")]


def test_changes_are_ordered_by_time_over_all_profiles() -> None:
    replay = Replay(segments(**RULES), wall_ms=T + D)
    changes = run(replay, line("u1", "A", T), line("u2", "A", T + S), line("u3", "B", T + 60 * S))
    assert summaries(changes) == [
        ("u1", "a", "entered", T),
        ("u2", "a", "entered", T + S),
        ("u1", "calm", "entered", T + 5 * S),
        ("u2", "calm", "entered", T + 6 * S),
        ("u1", "a", "exited", T + 10 * S),
        ("u2", "a", "exited", T + 11 * S),
        ("u3", "calm", "entered", T + 60 * S),
    ]
    assert replay.sizes == {"a": 0, "calm": 3}


def test_late_event_is_evaluated_at_the_greatest_event_time_so_far() -> None:
    replay = Replay(segments(**RULES), wall_ms=T + D)
    changes = run(replay, line("u1", "B", T + 9 * S), line("u2", "A", T))
    assert summaries(changes)[-1] == ("u2", "calm", "entered", T + 9 * S)
    assert summaries(changes)[-2] == ("u2", "a", "entered", T + 9 * S)
    assert summaries(list(replay.advance(T + D))) == [("u2", "a", "exited", T + 10 * S)]


def test_clock_is_monotonic() -> None:
    replay = Replay(segments(**RULES), wall_ms=T + D)
    run(replay, line("u1", "A", T))
    assert len(list(replay.advance(T + 7 * S))) == 1
    assert list(replay.advance(T)) == []
    assert replay.clock_ms == T + 7 * S


def test_duplicate_is_counted_and_changes_nothing() -> None:
    replay = Replay(segments(two={"did": "A", "count": {"gte": 2}}), wall_ms=T + D)
    again = line("u1", "A", T, messageId="m1")
    assert run(replay, again, again) == []
    assert (replay.events, replay.duplicates) == (2, 1)


def test_lines_without_a_message_id_are_distinct_events() -> None:
    replay = Replay(segments(two={"did": "A", "count": {"gte": 2}}), wall_ms=T + D)
    (change,) = run(replay, line("u1", "A", T), line("u1", "A", T))
    assert change.event_id is None


def test_invalid_event_changes_nothing() -> None:
    replay = Replay(segments(**RULES), wall_ms=T + D)
    run(replay, line("u1", "A", T))
    with pytest.raises(RejectedEvent):
        run(replay, line("null", "A", T + D))
    with pytest.raises(RejectedEvent):
        run(replay, b"{}")
    assert (replay.clock_ms, replay.events, list(replay.profiles)) == (T, 1, ["user_id:u1"])


def test_processed_at_is_the_instant_of_the_change_so_runs_are_equal() -> None:
    lines = [line("u1", "A", T), line("u2", "A", T + S), line("u1", "B", T + 60 * S)]
    first, second = (run(Replay(segments(**RULES), wall_ms=wall), *lines) for wall in (T + D, T + 9 * D))
    assert first == second
    assert all(change.evaluated_at == change.occurred_at for change in first)


def test_profiles_merge_at_the_event_that_connects_them() -> None:
    rules = {"three": {"did": "A", "count": {"gte": 3}}, "once": {"did": "A", "within": "10s"}}
    replay = Replay(segments(**rules), wall_ms=T + D)
    anonymous = {"userId": None, "anonymousId": "a1"}
    changes = run(
        replay,
        line("", "A", T, messageId="m1", **anonymous),
        line("", "A", T + S, messageId="m2", **anonymous),
        line("u1", "B", T + 2 * S, messageId="m3", anonymousId="a1"),
        line("", "A", T + 3 * S, messageId="m4", **anonymous),
        line("u1", "B", T + 60 * S, messageId="m5"),
    )
    seen = [(c.profile_id, c.segment_key, c.action, c.reason, c.occurred_at - T) for c in changes]
    assert seen == [
        ("anonymous_id:a1", "once", "entered", "event", 0),
        ("anonymous_id:a1", "once", "exited", "merge", 2 * S),
        ("user_id:u1", "once", "entered", "merge", 2 * S),
        ("user_id:u1", "three", "entered", "event", 3 * S),
        ("user_id:u1", "once", "exited", "time", 13 * S),
    ]
    assert changes[1].merged_into == "user_id:u1"
    assert replay.sizes == {"three": 1, "once": 0}
    assert (replay.counts["merged"], replay.counts["relayed"]) == (1, 1)
