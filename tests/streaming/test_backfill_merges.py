"""Merges between partitions that are not equally far in their backfill, one step at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segops.core.messages import Rows
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.records import partition_of

from .backfill_network import WALL_MS, BackfillNetwork
from .helpers import START_MS
from .test_backfill import AFTER, BEFORE, END_MS, members, segments_in

PARTITIONS = 3
DAY = 86_400_000


def name_in(partition: int, kind: str) -> str:
    """Return an identifier of a kind whose profile is in a partition."""
    found = (f"n{number}@x" for number in range(100))
    return next(each for each in found if partition_of(f"{kind}:{each}".encode(), PARTITIONS) == partition)


DEVICE, OTHER, USER = name_in(0, "anonymous_id"), name_in(2, "anonymous_id"), name_in(1, "user_id")
DEVICE_AT, USER_AT, OTHER_AT = 0, 1, 2


class Story:
    """A network, and the replay of the same events with the later segments from the start."""

    def __init__(self, folder: Path, **bounds: int) -> None:
        after = segments_in(AFTER, folder)
        self.network = BackfillNetwork(segments_in(BEFORE, folder), PARTITIONS, **bounds)
        self.after = after
        self._replay = Replay(after, wall_ms=WALL_MS)
        self._count = 0

    def did(self, name: str, total: int = 0, **fields: Any) -> None:
        """Post an event with these identifiers."""
        self._count += 1
        event = {
            "type": "track",
            "event": name,
            "messageId": f"m{self._count}",
            "timestamp": format_instant(START_MS + self._count * 60_000),
            "properties": {"total": total},
            **fields,
        }
        line = json.dumps(event).encode()
        self.network.post(line, self._count)
        list(self._replay.feed(line, default_id=""))

    def past(self) -> None:
        """Post, and apply, the events of a device and of a user, before anything is published."""
        for _ in range(3):
            self.did("Viewed", anonymousId=DEVICE)
        for total in (160, 60):
            self.did("Bought", total, anonymousId=DEVICE)
        for total in (50, 40):
            self.did("Viewed", userId=USER)
            self.did("Bought", total, userId=USER)
        self.did("Viewed", anonymousId=OTHER)
        self.network.settle()

    def publish(self) -> None:
        """Let all partitions see the later segments, read and announce all rounds, but not switch."""
        network = self.network
        network.publish(self.after)
        for number in range(PARTITIONS):
            network.work(number, 1)
        while any([network.read_history(number, 50) for number in range(PARTITIONS)]):
            pass
        for _ in range(PARTITIONS):
            network.work(_, 50)
        while not all(each.backfill.is_ready for each in network.processors):
            for number in range(PARTITIONS):
                network.read(number, 50)
                if not network.processors[number].backfill.is_ready:
                    network.work(number, 50)

    def switch(self, number: int) -> None:
        """Let one partition evaluate by the later segments, and fold all its profiles."""
        while not self.network.processors[number].backfill.switched:
            self.network.work(number, 50)
        while self.network.work(number, 50):
            pass
        self.network.checkpoint(number)

    def end(self) -> None:
        """Let everything happen; the members must be those of the replay."""
        self.network.tick(END_MS)
        self.network.settle()
        list(self._replay.advance(END_MS))
        assert members(self.network) == {key: set(p.members) for key, p in self._replay.profiles.items()}


@pytest.fixture
def story(tmp_path: Path) -> Story:
    found = Story(tmp_path)
    found.past()
    found.publish()
    return found


def test_source_that_has_not_switched_brings_its_features_to_a_survivor_that_has(story: Story) -> None:
    story.switch(USER_AT)
    story.did("Viewed", userId=USER, anonymousId=DEVICE)
    story.network.read(USER_AT, 9)  # the user claims the device
    assert not story.network.processors[DEVICE_AT].backfill.switched
    story.network.read(DEVICE_AT, 9)  # the device is handed over
    story.network.read(USER_AT, 9)
    assert [each.ahead for each in story.network.moved] == [True]
    story.end()


def test_source_that_has_switched_brings_its_rows_to_a_survivor_that_has_not(story: Story) -> None:
    story.switch(DEVICE_AT)
    story.did("Viewed", anonymousId=DEVICE)
    story.network.read(DEVICE_AT, 9)
    story.did("Viewed", userId=USER, anonymousId=DEVICE)
    story.network.read(USER_AT, 9)
    story.network.read(DEVICE_AT, 9)
    story.network.read(USER_AT, 9)
    assert not story.network.processors[USER_AT].backfill.switched
    story.end()


@pytest.mark.parametrize("known", [True, False])
def test_survivor_is_folded_while_it_waits_for_another_source(story: Story, known: bool) -> None:
    """All events of a survivor that was unknown are held; the rows of its source count all the same."""
    mailed = {"context": {"traits": {"email": name_in(USER_AT, "email")}}}
    ids: dict[str, Any] = {"userId": USER} if known else mailed
    story.did("Viewed", **ids, anonymousId=DEVICE)
    story.did("Viewed", **ids, anonymousId=OTHER)
    story.network.read(USER_AT, 9)  # two claims
    story.network.read(DEVICE_AT, 9)
    story.network.read(USER_AT, 9)  # the device is taken in, but not merged yet
    story.switch(USER_AT)
    story.network.read(OTHER_AT, 9)
    story.network.read(USER_AT, 9)
    story.end()


def test_events_that_are_repeated_while_the_survivor_waits_are_folded(story: Story) -> None:
    """They are held, and passed over at the end: the survivor and its source have applied them already."""
    story.did("Viewed", userId=USER, anonymousId=DEVICE)
    story.did("Viewed", userId=USER, anonymousId=OTHER)
    for number in (USER_AT, DEVICE_AT, USER_AT):
        story.network.read(number, 9)  # the device is taken in, but not merged yet
    story.did("Bought", 160, anonymousId=DEVICE, messageId="m4")
    story.did("Bought", 50, userId=USER, messageId="m7")
    story.network.read(DEVICE_AT, 9)
    story.network.read(USER_AT, 9)
    story.switch(USER_AT)
    story.network.read(OTHER_AT, 9)
    story.network.read(USER_AT, 9)
    story.end()


def test_source_counts_from_its_merge_on_if_the_survivor_switches_before(story: Story) -> None:
    for device in (DEVICE, OTHER):
        story.did("Viewed", userId=USER, anonymousId=device)
    for number in (USER_AT, DEVICE_AT, USER_AT):
        story.network.read(number, 9)  # the device is taken in, but not merged yet
    story.switch(USER_AT)
    assert _entered(story, "backfill") == {"seekers"}
    for number in (OTHER_AT, USER_AT):
        story.network.read(number, 9)
    story.end()
    assert _entered(story, "backfill") == {"seekers"}
    assert _entered(story, "merge") >= {"dear", "spenders", "various", "viewers"}


def _entered(story: Story, reason: str) -> set[str]:
    """Return the segments that the user has entered for a reason."""
    rows = story.network.published.values()
    mine = [row for row in rows if row["profile_id"] == f"user_id:{USER}" and row["action"] == "entered"]
    return {row["segment_key"] for row in mine if row["reason"] == reason}


def test_profile_that_waits_is_folded_as_of_its_own_clock(tmp_path: Path) -> None:
    """Its clock stands still, so the windows of the next definitions end there, too."""
    story = Story(tmp_path)
    for total in (50, 60, 70):
        story.did("Bought", total, userId=USER)
    story.network.settle()
    story.publish()
    story.did("Viewed", userId=USER, anonymousId=DEVICE)
    story.network.tick(START_MS + 40 * DAY)
    for number in (DEVICE_AT, OTHER_AT, USER_AT, USER_AT):
        story.network.read(number, 9)  # the user claims the device, which has read the tick already
    assert story.network.processors[USER_AT].clock.now_ms == START_MS + 40 * DAY
    story.switch(USER_AT)
    story.network.settle()
    rows = [row for row in story.network.published.values() if row["segment_key"] == "various"]
    assert [(row["action"], row["reason"], row["occurred_at"]) for row in rows] == [
        ("entered", "backfill", START_MS + 4 * 60_000),
        ("exited", "time", START_MS + 60_000 + 30 * DAY),
    ]


def test_source_is_folded_for_a_survivor_whose_clock_stands_still(tmp_path: Path) -> None:
    story, mailed = Story(tmp_path), {"context": {"traits": {"email": name_in(DEVICE_AT, "email")}}}
    for total in (50, 60, 70):
        story.did("Bought", total, anonymousId=OTHER, **mailed)
    story.network.settle()
    story.publish()
    story.did("Viewed", userId=USER, anonymousId=OTHER)
    story.network.tick(START_MS + 40 * DAY)
    for number in (DEVICE_AT, OTHER_AT, USER_AT, USER_AT, DEVICE_AT):
        story.network.read(number, 9)  # the other device relays the claim when all have read the tick
    assert story.network.processors[DEVICE_AT].clock.now_ms == START_MS + 40 * DAY
    story.switch(DEVICE_AT)
    story.network.settle()
    rows = [row for row in story.network.published.values() if row["segment_key"] == "various"]
    assert [(row["action"], row["reason"], row["occurred_at"]) for row in rows] == [
        ("entered", "merge", START_MS + 4 * 60_000),
        ("exited", "time", START_MS + 60_000 + 30 * DAY),
    ]


@pytest.mark.parametrize("switched", [False, True])
def test_rows_and_hand_over_are_relayed_to_the_survivor_of_the_survivor(story: Story, switched: bool) -> None:
    """The receiver has become a redirect itself before they arrive."""
    network = story.network
    story.did("Viewed", anonymousId=DEVICE, context={"traits": {"email": "mine@x"}})
    network.drain()
    story.did("Viewed", userId=USER, context={"traits": {"email": "mine@x"}})
    if switched:
        story.switch(USER_AT)
    network.drain()
    story.end()
    assert any(isinstance(each, Rows) for each in network.moved)


def test_lost_rows_are_read_again_before_anything_is_applied(story: Story) -> None:
    network = story.network
    story.did("Viewed", userId=USER, anonymousId=DEVICE)
    network.checkpoint(DEVICE_AT)
    network.crash(DEVICE_AT, keep_store=False)
    backfill = network.processors[DEVICE_AT].backfill
    assert backfill.is_blocked and not backfill.is_ready
    network.read(USER_AT, 9)
    before = network.processors[DEVICE_AT].offset
    network.read(DEVICE_AT, 9)
    assert network.processors[DEVICE_AT].offset == before
    assert network.processors[DEVICE_AT].fire_due(9) == network.processors[DEVICE_AT].rescan(9) == 0
    story.end()


def test_sizes_say_what_waits_and_from_when_history_is_complete(tmp_path: Path) -> None:
    story = Story(tmp_path, figures_interval_ms=0)
    story.past()
    network, processor = story.network, story.network.processors[USER_AT]
    network.publish(segments_in(AFTER, tmp_path))
    network.work(USER_AT, 1)
    network.read_history(USER_AT, 2)
    progress = processor.backfill.progress
    assert progress is not None and 0 < progress.read < progress.total
    network.tick(START_MS + 3_600_000)
    network.drain()
    network.checkpoint(USER_AT)
    building = {key for key, size in network.sizes_of(USER_AT).items() if size.state == "building"}
    kept = {"loyal", "viewers", "spenders", "dear", "various", "seekers", "quiet"}
    assert building == kept | {"fillers", "shod", "invited"}
    assert {network.sizes_of(USER_AT)[key].progress for key in building} == {progress}
    assert processor.in_force.segments.by_key.keys() == {"keen", "loyal"}
    gap, lost_ms = processor.backfill.gap, START_MS + 5 * 3_600_000
    assert gap is not None
    assert processor.backfill.read((), gap[0], gap[0] + 1, since_ms=lost_ms)  # the log was cut off there
    story.end()
    sizes = network.sizes_of(USER_AT)
    assert {size.state for size in sizes.values()} == {"live"}
    assert {key: size.complete_since_ms for key, size in sizes.items() if key in building} == dict.fromkeys(
        building, lost_ms
    )
    assert sizes["keen"].complete_since_ms is None and sizes["dear"].progress is None
    network.tick(END_MS + 40 * 86_400_000)
    network.settle()
    sizes = network.sizes_of(USER_AT)
    assert (sizes["dear"].complete_since_ms, sizes["viewers"].complete_since_ms) == (None, lost_ms)


def test_rows_are_relayed_along_three_redirects_before_the_survivor_is_folded(tmp_path: Path) -> None:
    """The second redirect relays after its own partition announced the round: so a further round follows."""
    story = Story(tmp_path)
    network = story.network
    device, own, mail = name_in(0, "device_id"), name_in(1, "anonymous_id"), name_in(2, "email")
    user = name_in(0, "user_id")
    first: dict[str, Any] = {"device": {"id": device}}
    for total in (160, 90, 80):
        story.did("Viewed", context=first)
        story.did("Bought", total, context=first)
    for fields in (
        {"context": first, "anonymousId": own},
        {"anonymousId": own, "context": {"traits": {"email": mail}}},
        {"context": {"traits": {"email": mail}}, "userId": user},
    ):
        story.did("Seen", **fields)
        network.settle()
    network.publish(story.after)
    for number in range(PARTITIONS):
        network.work(number, 1)
        network.read_history(number, 50)
    for number in (*range(PARTITIONS), *range(PARTITIONS)):  # the device's rows are sent on; round 1
        network.work(number, 50)
    for number in (2, 1, 0, 0):  # round 2; the rows follow the announcement of partition 2 there
        network.read(number, 50)
    network.work(0, 50)
    assert not network.processors[0].backfill.switched
    story.end()
    assert {"viewers", "spenders"} <= members(network)[f"user_id:{user}"]
