"""Published indicators in a replay: identities, history, files of values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from segops.cli import cli
from segops.core.errors import DefinitionError, UserError
from segops.core.segments import Definition, SegmentSet, edited
from segops.kafka.definitions import DefinitionLog
from segops.operations.definitions import plan, plan_pause
from segops.operations.rollout import versions_of
from segops.replay import Publication, Replay
from segops.schemas.segments import definition_from_record, definition_to_record, load_checked

AT = "2026-01-05T00:00:{:02}Z"
T = 1_767_571_200_000
DAY_MS = 86_400_000
BLOCK: dict[str, Any] = {"views": {"did": "View"}, "plan": {"trait": "plan"}}


def defined(tmp_path: Path, block: dict[str, Any], **more: Any) -> list[Definition]:
    file = tmp_path / "file.json"
    file.write_bytes(msgspec.json.encode({"version": 1, "indicators": block, **more}))
    return load_checked([file]).all_definitions


def line(number: int, event: str = "View", **call: Any) -> bytes:
    named = {"type": "track", "event": event} if event[0].isupper() else {"type": event}
    return msgspec.json.encode({**named, "messageId": f"m{number}", "timestamp": AT.format(number), **call})


def taken(replay: Replay) -> list[tuple[str, str, Any, str, int]]:
    return [
        (v.profile_id, v.indicator, v.value, v.reason, (v.occurred_at - T) // 1000)
        for v in replay.take_values()
    ]


def feed(replay: Replay, *lines: bytes) -> None:
    for each in lines:
        list(replay.feed(each, default_id="-"))


def test_merge_withdraws_one_profile_and_a_split_publishes_it_again(tmp_path: Path) -> None:
    replay = Replay(SegmentSet(defined(tmp_path, BLOCK)), wall_ms=T + DAY_MS, retain=True)
    feed(replay, line(0, anonymousId="a"), line(1, userId="u"), line(2, userId="u"))
    assert taken(replay) == [
        ("anonymous_id:a", "views", 1, "event", 0),
        ("user_id:u", "views", 1, "event", 1),
        ("user_id:u", "views", 2, "event", 2),
    ]
    feed(replay, line(3, "identify", userId="u", anonymousId="a"))
    merged = taken(replay)
    assert ("anonymous_id:a", "views", None, "merge", 3) in merged
    assert ("user_id:u", "views", 3, "merge", 3) in merged
    assert len(merged) == 2
    list(replay.split("anonymous_id:a"))
    assert ("anonymous_id:a", "views", 1, "split", 3) in taken(replay)


def test_new_indicator_is_filled_from_history_and_published_once(tmp_path: Path) -> None:
    first, both = defined(tmp_path, {"plan": BLOCK["plan"]}), defined(tmp_path, BLOCK)
    replay = Replay(SegmentSet(first), wall_ms=T + DAY_MS)
    publication = Publication(replay, SegmentSet(edited(first, both)))
    for number in range(3):
        owner, event = replay.read(line(number, userId="u", traits={"plan": "x"}), default_id="-")
        publication.note(owner, event, arrival_ms=T)
        list(replay.apply(owner, event))
    assert taken(replay) == [("user_id:u", "plan", "x", "event", 0)]
    assert list(publication.adopt()) == []
    assert taken(replay) == [("user_id:u", "views", 3, "backfill", 2)]
    feed(replay, line(4, userId="u"))
    assert taken(replay) == [("user_id:u", "views", 4, "event", 4)]


def test_definitions_travel_in_records_with_versions(tmp_path: Path) -> None:
    block: dict[str, Any] = {
        "tier": {"rfm": "tier"},
        "views": {"did": "View", "change_by": 2, "at_most": 1, "per": "1h"},
    }
    found = defined(tmp_path, block, rfm={"frequency": [1, 3]})
    log = DefinitionLog()
    for change in plan(log, found, prune=False):
        assert (change.action, change.version) == ("added", 1)
        log.apply(change.key.encode(), change.record)
    assert log.definitions() == [msgspec.structs.replace(each, source="segments topic") for each in found]
    assert log.live["indicator:tier"].rfm == {"frequency": [1, 3]}
    assert [each.action for each in plan(log, found, prune=False)] == ["unchanged", "unchanged"]
    block["views"]["change_by"] = 3
    edit = plan(log, defined(tmp_path, block, rfm={"frequency": [1, 3]}), prune=False)
    assert [(each.key, each.action, each.version) for each in edit] == [
        ("indicator:tier", "unchanged", 1),
        ("indicator:views", "changed", 2),
    ]
    assert versions_of(edit) == {}
    (gone, kept) = plan(log, found[:1], prune=True)[::-1]
    assert (gone.key, gone.action, kept.action) == ("indicator:views", "retired", "unchanged")
    log.apply(gone.key.encode(), gone.record)
    with pytest.raises(DefinitionError, match="a retired key cannot be reused"):
        plan(log, found, prune=False)
    with pytest.raises(UserError, match="an indicator has no memberships"):
        plan_pause(log, ["indicator:tier"], paused=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "views"}, "key: expected indicator:KEY, got 'views'"),
        ({"key": 5}, "key: expected indicator:KEY, got 5"),
        ({"version": 0}, "version: expected an integer"),
        ({"indicator": {"did": "View", "publish": False}}, "expected an indicator that is published"),
        ({"indicator": {"did": "View", "change_by": -1}}, "change_by: expected a number above 0"),
        ({"indicator": 5}, "indicators.views: expected a figure"),
        ({"key": "indicator:A"}, "expected a key of at most 64 lower-case letters"),
    ],
    ids=str,
)
def test_damaged_record_of_an_indicator_is_refused(change: dict[str, Any], reason: str) -> None:
    record = {"key": "indicator:views", "version": 1, "indicator": {"did": "View"}}
    assert definition_from_record(msgspec.json.encode(record)) is not None
    with pytest.raises(DefinitionError, match=reason):
        definition_from_record(msgspec.json.encode({**record, **change}))


def test_record_of_a_segment_has_the_figures_only(tmp_path: Path) -> None:
    when = {"indicator": "views", "is": {"gte": 2}}
    block = {"views": {"did": "View", "change_by": 2, "at_most": 1, "per": "1h"}}
    segment, indicator = defined(tmp_path, block, segments=[{"key": "s", "when": when}])
    assert msgspec.json.decode(definition_to_record(segment))["indicators"] == {"views": {"did": "View"}}
    assert msgspec.json.decode(definition_to_record(indicator))["indicator"] == block["views"]


def test_file_of_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    for text in ("version: 1", "{version: 1, segments: [], indicators: {a: {did: A}}}"):
        file.write_text(text)
        with pytest.raises(DefinitionError, match="segments"):
            load_checked([file])


def test_condition_that_never_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"indicators.views.where.price"):
        defined(tmp_path, {"views": {"did": "View", "where": {"price": {"gt": 5, "lt": 4}}}})


def test_replay_writes_values_and_explain_shows_them(tmp_path: Path) -> None:
    defined(tmp_path, BLOCK)
    events, out = tmp_path / "events.jsonl", tmp_path / "values.jsonl"
    events.write_bytes(b"\n".join([line(0, userId="u"), line(1, userId="u", traits={"plan": "x"})]))
    given = ["--segments", str(tmp_path / "file.json"), "--events", str(events)]
    result = CliRunner().invoke(cli, ["replay", *given, "--indicators", str(out)])
    assert (result.exit_code, result.stdout) == (0, "")
    records = [msgspec.json.decode(each) for each in out.read_bytes().splitlines()]
    assert [(each["indicator"], each["value"]) for each in records] == [
        ("views", 1),
        ("plan", "x"),
        ("views", 2),
    ]
    shown = CliRunner().invoke(cli, ["explain", *given, "--profile", "user_id:u"])
    assert "views (number of View): 2, published 2 at 2026-01-05T00:00:01.000Z" in shown.output
    checked = CliRunner().invoke(cli, ["check", "--cost", str(tmp_path / "file.json")])
    assert "0 segments, 2 published indicators, 1 feature: OK" in checked.output
    assert "indicator:views" in checked.output
