"""Splitting merged profiles, by request and when the merged profile would be too large."""

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
from tests.rest import rest

from .helpers import START_MS, Sent, Stack, comparable, wait_until
from .test_identity import MINUTE, SEGMENTS, WALL_MS, Story, members, metric, rows, same_people
from .test_processors_together import ProcessorNetwork, assert_profiles

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
def test_profiles_too_large_to_merge_stay_apart_despite_crashes(
    talkative: list[Definition], seed: int
) -> None:
    rng = random.Random(seed)
    network = ProcessorNetwork(talkative, 1 + seed % 3, max_state_bytes=8_000)
    left = list(enumerate(two_large_ones()))
    while left or network.lagging():
        if left and (rng.random() < 0.3 or not network.lagging()):
            network.post(left[0][1], left.pop(0)[0])
        else:
            network.read(rng.choice(network.lagging()), rng.randrange(1, 4))
        if seed and rng.random() < 0.1:
            network.checkpoint(rng.randrange(network.number))
            network.crash(rng.randrange(network.number))
    stored = network.stored()
    user, device = stored["user_id:u"], stored["anonymous_id:a"]
    assert (user.merged_into, device.merged_into) == (None, None)
    # An event that arrives while the device's profile is being handed over stays with the user.
    assert [len(each.seen) for each in (user, device)] in ([9, 9], [10, 8])
    assert all(len(encode_profile(each)) < 8_000 for each in (user, device))
    assert "identity_size" in network.noted
    assert user.members.keys() == device.members.keys() == {"variety"}
    rows = sorted(network.published.values(), key=lambda row: row["sequence"])
    assert [(row["action"], row["reason"]) for row in rows if row["profile_id"] == device.id] == [
        ("entered", "event"),
        ("exited", "merge"),
        ("entered", "split"),
    ]


def test_profiles_that_fit_are_merged(talkative: list[Definition]) -> None:
    network = ProcessorNetwork(talkative, 2, max_state_bytes=20_000)
    for number, line in enumerate(two_large_ones()):
        network.post(line, number)
        network.drain()
    assert network.stored()["anonymous_id:a"].merged_into == "user_id:u"
    assert network.noted == []


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
    """Split a profile in the running system and in the replay."""
    asked = segops_split(story.stack, profile_id)
    assert asked.returncode == 0, asked.stderr
    changes = story.replay.split(profile_id)
    story.expected |= {c.change_id: comparable(encode_change(c, 0)) for c in changes}


@pytest.mark.broker
@rest
def test_split_in_a_running_system_matches_replay(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish(SEGMENTS)
    story = Story(stack)
    story.replay = Replay(SegmentSet(stack.definitions), wall_ms=WALL_MS, retain=True)
    stack.start()
    for _ in range(3):
        story.event("Product Viewed", "a1")
    story.event("Order Completed", "u1", home=1, properties={"total": 200})
    story.publish()
    story.event("Order Completed", "u1 a1", properties={"total": 150})
    story.publish()
    story.event("Product Viewed", "a1")
    story.publish()
    assert story.members("anonymous_id:a1") == set()
    split(story, "anonymous_id:a1")
    stack.wait_for_changes(story.expected)
    assert story.members("anonymous_id:a1") == {"viewers", "keen", "lately", "quiet"}
    split(story, "anonymous_id:a1")  # the same hand-over again, which is already undone
    story.event("Product Viewed", "u1 a1")
    story.event("Product Viewed", "a1")
    story.publish()
    story.event("-", "u1", type="alias", previousId="u0")
    story.publish()
    wait_until(lambda: same_people(stack, story.replay), "the stored profiles", stack.diagnosis)
    assert story.replay.profiles["anonymous_id:a1"].merged_into is None
    assert rows(stack) == members(story.replay.profiles.values())
    assert metric(stack, "segops_splits_total") == 1
    refused = segops_split(stack, "anonymous_id:nobody")
    assert refused.returncode == 1 and "no hand-over of 'anonymous_id:nobody' is retained" in refused.stderr


@pytest.mark.broker
def test_invalid_split_requests_become_dead_letters(stack: Stack) -> None:
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
def test_split_request_is_applied_once_despite_crashes(talkative: list[Definition], seed: int) -> None:
    rng = random.Random(seed)
    network, replay = (
        ProcessorNetwork(talkative, 1 + seed % 3),
        Replay(SegmentSet(talkative), wall_ms=WALL_MS, retain=True),
    )
    lines = two_large_ones()
    for number, line in enumerate(lines):
        network.post(line, number)
        network.drain()
        list(replay.feed(line, default_id=""))
    handovers = (
        record for log in network.logs for record in log if (TYPE_HEADER, HANDOVER) in record.headers
    )
    asked = encode_message(split_of(decode_message(next(handovers).value)))
    device = b"anonymous_id:a"
    for _ in range(3):
        network.append(partition_of(device, network.number), device, asked, [(TYPE_HEADER, SPLIT)])
    while network.lagging():
        network.read(rng.choice(network.lagging()), rng.randrange(1, 3))
        if rng.random() < 0.3:
            network.checkpoint(rng.randrange(network.number))
        if seed and rng.random() < 0.3:
            network.crash(rng.randrange(network.number))
    list(replay.split("anonymous_id:a"))
    assert_profiles(network, replay)
    stored = network.stored()
    assert {key: len(each.seen) for key, each in stored.items()} == {"user_id:u": 18, "anonymous_id:a": 8}
    split_off = [row for row in network.published.values() if row["reason"] == "split"]
    assert [row["action"] for row in split_off] == ["entered"]
    assert set(network.noted) == {"identity_split"}
