"""The example segments: valid, and all of them in use over the demo's history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from segops.core.events import Change
from segops.core.rules.blocks import names_of_models
from segops.core.segments import Definition, SegmentSet, edited
from segops.demo.environment import HALF_WAY, PREDICTED, SEGMENTS
from segops.demo.history import OrderHistory, read_history
from segops.demo.input_events import InputEvent
from segops.replay import Publication, Replay
from segops.schemas.segments import load_checked, load_drafts

FAR_MS = 4_000_000_000_000


def test_the_examples_are_valid_and_described() -> None:
    loaded = load_checked([SEGMENTS])
    assert not loaded.warnings
    assert 8 <= len(loaded.definitions) <= 14
    for definition in loaded.definitions:
        assert definition.name != definition.key
        assert definition.description


def everything() -> list[Definition]:
    return edited(load_checked([SEGMENTS]).definitions, load_drafts([HALF_WAY]).definitions)


def test_the_edit_is_valid_and_described() -> None:
    loaded = load_drafts([HALF_WAY])
    assert not loaded.warnings
    assert all(each.description for each in loaded.definitions)
    versions = {each.key: each.version for each in everything()}
    assert {each.key: versions[each.key] for each in loaded.definitions} == {"regulars": 1, "vip": 2}


def test_predicted_segments_read_the_model_and_are_described() -> None:
    (read,) = {frozenset(names_of_models(each.when)) for each in load_drafts([PREDICTED]).definitions}
    assert read == {"buying"}
    assert all(each.description for each in load_drafts([PREDICTED]).definitions)


def fed(replay: Replay, events: Iterable[InputEvent]) -> list[Change]:
    return [change for event in events for change in replay.feed(event.line, default_id="")]


def published(replay: Replay, history: OrderHistory, *, past: bool) -> list[Change]:
    """Replay half of the history and publish the edit; without ``past``, no earlier event counts for it."""
    number = history.until(history.half_ms)
    publication = Publication(replay, SegmentSet(everything()))
    for event in history.events[:number]:
        profile_id, read = replay.read(event.line, default_id="")
        if past:
            publication.note(profile_id, read, arrival_ms=replay.clock_ms or 0)
        list(replay.apply(profile_id, read))
    return list(publication.adopt())


@pytest.mark.parametrize("past", [True, False])
def test_the_edit_is_as_if_it_had_been_there_from_the_start_only_with_its_history(past: bool) -> None:
    history = read_history(2_000)
    from_start = Replay(SegmentSet(everything()), wall_ms=FAR_MS)
    fed(from_start, history.events[: history.until(history.half_ms)])
    replay = Replay(SegmentSet(load_checked([SEGMENTS]).definitions), wall_ms=FAR_MS)
    changes = published(replay, history, past=past)
    moved = Counter((change.segment_key, change.action, change.reason) for change in changes)
    as_live = [key for key, size in from_start.sizes.items() if replay.sizes[key] == size > 0]
    assert {"regulars", "vip"}.issubset(as_live) is past
    if past:
        assert moved.keys() == {
            ("regulars", "entered", "backfill"),
            ("vip", "entered", "definition"),
            ("vip", "exited", "definition"),
        }


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
