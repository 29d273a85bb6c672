"""The timeline of a person in a running system: all that was sent, in order, from topics and archive."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from segops.api.timeline import RecentTimeline, TimelineRequest
from segops.core.errors import UserError
from segops.core.values import format_instant, parse_instant
from segops.core.views.profile import ProfileView
from segops.operations import recent
from tests.rest import rest

from .archives import Archives
from .helpers import Stack, wait_until
from .test_archive import delete_before
from .test_identity import SEGMENTS, Story

pytestmark = pytest.mark.broker


def listed(stack: Stack, identifier: str, *options: str) -> tuple[list[dict[str, Any]], str]:
    """Return what ``segops timeline`` lists, and its last line."""
    found = stack.segops("timeline", identifier, "--format", "jsonl", *options)
    assert found.exit_code == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()], found.stderr.splitlines()[-1]


def sent_by(story: Story, *people: str) -> list[tuple[Any, ...]]:
    """Return time, name, message id and properties of the events that name one of these people."""
    events = [json.loads(one.value) for one in story.sent]
    return [
        (parse_instant(each["timestamp"]), each["event"], each["messageId"], each.get("properties", {}))
        for each in events
        if {each.get("userId"), each.get("anonymousId")} & {*people}
    ]


def of_kind(entries: list[dict[str, Any]], kind: str, *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(each[field] for field in fields) for each in entries if each["kind"] == kind]


def visit(story: Story) -> None:
    """Add events of a device, of a user, and of another person."""
    for total in range(3):
        story.event("Product Viewed", "anna-1", properties={"total": total})
    story.event("Order Completed", "u1ada", properties={"total": 200})
    story.event("Product Viewed", "u2bob")
    story.publish()


def assert_whole(story: Story, entries: list[dict[str, Any]]) -> None:
    """Assert that Ada's entries, with those of her device, are all that was sent and published, in order."""
    fields = ("time_ms", "name", "message_id", "properties")
    assert of_kind(entries, "event", *fields) == sent_by(story, "u1ada", "anna-1")
    hers = [each for each in story.expected.values() if each["profile_id"] != "user_id:u2bob"]
    change = ("time_ms", "profile_id", "segment_key", "action", "reason", "event_id")
    assert sorted(of_kind(entries, "change", *change), key=str) == sorted(
        (tuple(each[{"time_ms": "occurred_at"}.get(name, name)] for name in change) for each in hers), key=str
    )
    times = [each["time_ms"] for each in entries]
    assert times == sorted(times)


@rest
def test_timeline_is_what_was_sent_also_after_a_merge_and_from_the_archive(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = Archives(stack)
    stack.publish(SEGMENTS)
    story = Story(stack)
    stack.start()
    archives.start()
    visit(story)
    entries, last = listed(stack, "anonymous_id:anna-1")
    assert of_kind(entries, "event", "name", "time_ms") == [
        (name, time) for time, name, _, _ in sent_by(story, "anna-1")
    ]
    assert last.endswith(
        "of anonymous_id:anna-1; events are retained from the beginning, changes from the beginning"
    )
    story.event("Order Completed", "u1ada anna-1", properties={"total": 200})  # the two become one
    story.publish()
    story.event("Product Viewed", "anna-1", properties={"total": 9})  # relayed
    story.publish()
    events, changes = archives.topics
    wait_until(
        lambda: all(archives.held(topic) == archives.logged(topic) for topic in archives.topics),
        "all is archived",
        archives.log().read_text,
    )
    for topic in (events, changes):
        for partition in range(stack.partitions):
            delete_before(stack, topic, partition, archives.end(topic, partition))
    monkeypatch.setenv("SEGOPS_ARCHIVE_URL", f"file://{archives.folder}")
    for identifier in ("anonymous_id:anna-1", "user_id:u1ada"):
        entries, last = listed(stack, identifier)
        assert_whole(story, entries)
        assert "entries of user_id:u1ada; events are retained from the beginning, changes from" in last
    begin, end = entries[2]["time_ms"], entries[-1]["time_ms"]
    bounds = ("--from", format_instant(begin), "--to", format_instant(end))
    inside = [each for each in entries if begin <= each["time_ms"] < end]
    assert 2 < len(inside) < len(entries)
    assert listed(stack, "user_id:u1ada", *bounds)[0] == inside
    part, last = listed(stack, "user_id:u1ada", *bounds, "--limit", "2")
    assert part == inside[:2]
    assert last.startswith(f"{len(inside)} entries of user_id:u1ada, the first 2 listed; ")
    table = stack.segops("timeline", "user_id:u1ada").stdout.splitlines()
    assert len(table) == len(entries) + 1
    assert table[1].split()[:2] == [format_instant(entries[0]["time_ms"]), "anonymous_id:anna-1"]
    monkeypatch.delenv("SEGOPS_ARCHIVE_URL")
    found = stack.segops("timeline", "user_id:u2bob").exception
    assert isinstance(found, UserError)
    assert "change of 'user_id:u2bob' is known; events are retained from 20" in str(found)


def read_page(stack: Stack, identifier: str, query: str = "") -> Any:
    status, body = stack.get(f"/profiles/{quote(identifier, safe='')}/timeline{query}")
    assert status == 200, (status, body)
    return json.loads(body)


@rest
def test_page_is_the_newest_part_of_what_the_command_lists(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.publish(SEGMENTS)
    story = Story(stack)
    stack.start()
    visit(story)
    story.event("Order Completed", "u1ada anna-1", properties={"total": 200})  # the two become one
    story.publish()
    story.event("Product Viewed", "anna-1", properties={"total": 9})  # relayed
    story.publish()
    entries, _ = listed(stack, "user_id:u1ada")
    assert_whole(story, entries)
    found = read_page(stack, "anonymous_id:anna-1")
    assert found == {
        "profile_id": "user_id:u1ada",
        "entries": entries,
        "left_out": 0,
        "events_since_ms": 0,
        "changes_since_ms": 0,
    }
    begin, end = (entries[at]["time_ms"] for at in (2, -1))
    inside = [each for each in entries if begin <= each["time_ms"] < end]
    part = read_page(
        stack, "user_id:u1ada", f"?from={format_instant(begin)}&to={format_instant(end)}&limit=2"
    )
    assert (part["entries"], part["left_out"]) == (inside[-2:], len(inside) - 2)
    assert stack.get("/profiles/user_id%3Anobody/timeline")[0] == 404
    cut = asyncio.run(cut_timeline(stack, monkeypatch))
    assert cut.events_since_ms > 0 and cut.changes_since_ms > 0
    shown = [json.loads(msgspec.json.encode(each)) for each in cut.entries]
    assert len(shown) < len(entries) and all(each in entries for each in shown)
    assert stack.segops("erase", "--profile", "user_id:u1ada", "--wait", "60").exit_code == 0
    wait_until(lambda: stack.get("/profiles/user_id%3Au1ada/timeline")[0] == 404, "erased", stack.diagnosis)
    story.event("Product Viewed", "u1ada", properties={"total": 1})
    stack.send(story.sent[-1:])
    wait_until(
        lambda: stack.get("/profiles/user_id%3Au1ada/timeline")[0] == 200, "she is back", stack.diagnosis
    )
    back = [each for each in read_page(stack, "user_id:u1ada")["entries"] if each["kind"] == "event"]
    assert [each["message_id"] for each in back] == [json.loads(story.sent[-1].value)["messageId"]]


async def cut_timeline(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> RecentTimeline:
    """Return the timeline of Ada from the last two offsets of each partition."""
    monkeypatch.setattr(recent, "MAX_OFFSETS", 2)
    profile = msgspec.json.decode(stack.get("/profiles/user_id%3Au1ada")[1], type=ProfileView)
    return await recent.recent(stack.settings, profile, TimelineRequest())
