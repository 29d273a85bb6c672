"""The example segments: valid, and all of them in use over the demo's history."""

from __future__ import annotations

from collections import Counter

from segops.core.segments import SegmentSet
from segops.demo.environment import SEGMENTS
from segops.demo.history import read_history
from segops.replay import Replay
from segops.schemas.segments import load_checked

FAR_MS = 4_000_000_000_000


def test_the_examples_are_valid_and_described() -> None:
    loaded = load_checked([SEGMENTS])
    assert not loaded.warnings
    assert 8 <= len(loaded.definitions) <= 12
    for definition in loaded.definitions:
        assert definition.name != definition.key
        assert definition.description


def test_every_example_is_entered_and_left() -> None:
    history = read_history(6_000)
    replay = Replay(SegmentSet(load_checked([SEGMENTS]).definitions), wall_ms=FAR_MS)
    seen = Counter(
        (change.segment_key, change.action)
        for event in history.events
        for change in replay.feed(event.line, default_id="")
    )
    for change in replay.advance(history.final_ms):
        seen[change.segment_key, change.action] += 1
    assert replay.failures == replay.duplicates == 0
    assert (replay.take_skipped(), replay.repairs) == ([], {})
    for key in replay.sizes:
        assert seen[key, "entered"] > 0, key
        assert seen[key, "exited"] > 0, key
