"""Profiles that go their own ways again: by request, and where there is no room for both."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.changes import encode_change
from segops.schemas.messages import HANDOVER, SPLIT, decode_message, encode_message, split_of
from segops.schemas.records import partition_of
from segops.schemas.segments import load
from segops.schemas.state import encode_profile
from segops.schemas.ticks import TYPE_HEADER

from .helpers import START_MS, Sent, Stack, comparable, wait_until
from .test_identity import MINUTE, SEGMENTS, WALL_MS, Story, members, metric, rows, same_people
from .test_processors_together import Lanes, assert_people

TALKATIVE = """
version: 1
segments:
  - key: variety
    name: Many kinds
    when: {distinct: kind, of: Viewed, is: {gte: 6}}
"""


@pytest.fixture
def talkative(tmp_path: Path) -> list[Definition]:
    file = tmp_path / "segments.yaml"
    file.write_text(TALKATIVE)
    return load([file])


def viewed(number: int, *, size: int, **ids: str) -> bytes:
    form = {
        "type": "track",
        "event": "Viewed",
        "messageId": f"m{number}",
        "timestamp": format_instant(START_MS + number * MINUTE),
        "properties": {"kind": f"{number}" * size},
        **ids,
    }
    return json.dumps(form).encode()


def two_large_ones() -> list[bytes]:
    device = [viewed(number, size=400, anonymousId="a") for number in range(10, 18)]
    user = [viewed(number, size=400, userId="u") for number in range(20, 28)]
    return [
        *device,
        *user,
        viewed(30, size=1, userId="u", anonymousId="a"),
        viewed(31, size=1, anonymousId="a"),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_profiles_that_are_too_large_together_stay_two_whatever_crashes(
    talkative: list[Definition], seed: int
) -> None:
    dice = random.Random(seed)
    lanes = Lanes(talkative, 1 + seed % 3, max_state_bytes=8_000)
    left = list(enumerate(two_large_ones()))
    while left or lanes.behind():
        if left and (dice.random() < 0.3 or not lanes.behind()):
            lanes.post(left[0][1], left.pop(0)[0])
        else:
            lanes.read(dice.choice(lanes.behind()), dice.randrange(1, 4))
        if seed and dice.random() < 0.1:
            lanes.checkpoint(dice.randrange(lanes.number))
            lanes.crash(dice.randrange(lanes.number))
    stored = lanes.stored()
    user, device = stored["user_id:u"], stored["anonymous_id:a"]
    assert (user.merged_into, device.merged_into) == (None, None)
    # The last event may come while the device's profile is away: then it stays with the user.
    assert [len(each.seen) for each in (user, device)] in ([9, 9], [10, 8])
    assert all(len(encode_profile(each)) < 8_000 for each in (user, device))
    assert "identity_size" in lanes.noted
    assert user.members.keys() == device.members.keys() == {"variety"}
    rows = sorted(lanes.published.values(), key=lambda row: row["sequence"])
    assert [(row["action"], row["reason"]) for row in rows if row["profile_id"] == device.id] == [
        ("entered", "event"),
        ("exited", "merge"),
        ("entered", "split"),
    ]


def test_what_fits_is_joined(talkative: list[Definition]) -> None:
    lanes = Lanes(talkative, 2, max_state_bytes=20_000)
    for number, line in enumerate(two_large_ones()):
        lanes.post(line, number)
        lanes.rest()
    assert lanes.stored()["anonymous_id:a"].merged_into == "user_id:u"
    assert lanes.noted == []


def segops_split(stack: Stack, profile_id: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.name.rstrip("."),
    }
    command = [sys.executable, "-c", "from segops.cli import main; main()", "split", profile_id]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def split(story: Story, profile_id: str) -> None:
    """Here and there."""
    asked = segops_split(story.stack, profile_id)
    assert asked.returncode == 0, asked.stderr
    changes = story.replay.split(profile_id)
    story.expected |= {c.change_id: comparable(encode_change(c, 0)) for c in changes}


@pytest.mark.broker
def test_a_merge_is_undone_in_a_running_system_as_in_replay(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish(SEGMENTS)
    story = Story(stack)
    story.replay = Replay(SegmentSet(stack.definitions), wall_ms=WALL_MS, retain=True)
    stack.start()
    for _ in range(3):
        story.event("Product Viewed", "a1")
    story.event("Order Completed", "u1", home=1, properties={"total": 200})
    story.tell()
    story.event("Order Completed", "u1 a1", properties={"total": 150})
    story.tell()
    story.event("Product Viewed", "a1")
    story.tell()
    assert story.members("anonymous_id:a1") == set()
    split(story, "anonymous_id:a1")
    stack.wait_for_changes(story.expected)
    assert story.members("anonymous_id:a1") == {"viewers", "keen", "lately", "quiet"}
    split(story, "anonymous_id:a1")  # the same hand-over: it is undone already
    story.event("Product Viewed", "u1 a1")
    story.event("Product Viewed", "a1")
    story.tell()
    story.event("-", "u1", type="alias", previousId="u0")
    story.tell()
    wait_until(lambda: same_people(stack, story.replay), "the stored profiles", stack.diagnosis)
    assert story.replay.profiles["anonymous_id:a1"].merged_into is None
    assert rows(stack) == members(story.replay.profiles.values())
    assert metric(stack, "segops_splits_total") == 1
    refused = segops_split(stack, "anonymous_id:nobody")
    assert refused.returncode == 1 and "no hand-over of 'anonymous_id:nobody' is retained" in refused.stderr


@pytest.mark.broker
def test_what_is_no_request_to_split_is_put_aside(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    stack.start()
    topics = stack.settings.topics
    stack.send([Sent(0, b"\x01nonsense")], headers=[(TYPE_HEADER, SPLIT)], topic=topics.control)
    wait_until(lambda: stack.read(topics.dead_letters), "the dead letter", stack.diagnosis)
    headers = dict(stack.read(topics.dead_letters)[0].headers)
    assert (headers["segops-reason"], headers["segops-origin"]) == (
        b"no_request",
        f"{topics.control}:0:0".encode(),
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_request_is_applied_once_whatever_crashes(talkative: list[Definition], seed: int) -> None:
    dice = random.Random(seed)
    lanes, replay = (
        Lanes(talkative, 1 + seed % 3),
        Replay(SegmentSet(talkative), wall_ms=WALL_MS, retain=True),
    )
    lines = two_large_ones()
    for number, line in enumerate(lines):
        lanes.post(line, number)
        lanes.rest()
        list(replay.feed(line, default_id=""))
    handovers = (record for log in lanes.logs for record in log if (TYPE_HEADER, HANDOVER) in record.headers)
    asked = encode_message(split_of(decode_message(next(handovers).value)))
    device = b"anonymous_id:a"
    for _ in range(3):
        lanes.append(partition_of(device, lanes.number), device, asked, [(TYPE_HEADER, SPLIT)])
    while lanes.behind():
        lanes.read(dice.choice(lanes.behind()), dice.randrange(1, 3))
        if dice.random() < 0.3:
            lanes.checkpoint(dice.randrange(lanes.number))
        if seed and dice.random() < 0.3:
            lanes.crash(dice.randrange(lanes.number))
    list(replay.split("anonymous_id:a"))
    assert_people(lanes, replay)
    stored = lanes.stored()
    assert {key: len(each.seen) for key, each in stored.items()} == {"user_id:u": 18, "anonymous_id:a": 8}
    split_off = [row for row in lanes.published.values() if row["reason"] == "split"]
    assert [row["action"] for row in split_off] == ["entered"]
    assert set(lanes.noted) == {"identity_split"}
