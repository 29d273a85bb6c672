"""Members at past instants in a running system: equal to a replay of the same events until then."""

from __future__ import annotations

import asyncio
import json
import random
import signal

import pytest

from segops.core.errors import UserError
from segops.core.segments import SegmentSet
from segops.core.values import format_instant, parse_instant
from segops.operations.history import members_at, memberships_at
from segops.replay import Replay
from segops.wall_clock import wall_ms
from tests.rest import rest

from .archives import Archives
from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, shop_events, wait_until
from .test_archive import delete_before

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS
USERS = 80
SENT = shop_events(600, users=USERS, partitions=3, seed=8)


@pytest.fixture
def travelled(stack: Stack) -> Stack:
    stack.publish()
    stack.start()
    stack.send(SENT, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(SENT, stack.definitions, FINAL_MS))
    stack.stop()
    return stack


def time_of(sent: Sent) -> int:
    found = parse_instant(json.loads(sent.value)["timestamp"])
    assert found is not None
    return found


def replayed(stack: Stack, at_ms: int) -> dict[tuple[str, str], int]:
    """Return the start of each membership (profile, segment) at an instant, by a replay until then."""
    replay = Replay(SegmentSet(stack.definitions), wall_ms=wall_ms())
    for sent in sorted(SENT, key=time_of):
        if time_of(sent) <= at_ms:
            list(replay.feed(sent.value, default_id=""))
    list(replay.advance(at_ms))
    return {
        (profile.id, key): member.since_ms
        for profile in replay.profiles.values()
        for key, member in profile.members.items()
    }


def members(stack: Stack, at_ms: int) -> dict[tuple[str, str], int | None]:
    """Return what ``members_at`` finds of all segments, as ``replayed`` does."""

    async def found() -> dict[tuple[str, str], int | None]:
        keys = [definition.key for definition in stack.definitions]
        all_of = [each for key in keys for each in await members_at(stack.settings, key, at_ms)]
        return {(each.profile_id, each.segment_key): each.since for each in all_of}

    return asyncio.run(found())


@rest
def test_a_thousand_pairs_of_profile_and_instant_equal_a_replay_until_then(travelled: Stack) -> None:
    drawn = random.Random(4)
    profiles = sorted({change["profile_id"] for change in travelled.changes().values()})

    for _ in range(1_000 // USERS + 1):  # each instant compares all profiles
        at_ms = START_MS + drawn.randrange(2 * DAY_MS)
        wanted = replayed(travelled, at_ms)
        assert members(travelled, at_ms) == wanted
        profile_id = drawn.choice(profiles)
        asked, found = asyncio.run(memberships_at(travelled.settings, profile_id, at_ms))
        assert asked == profile_id
        assert {(asked, each.segment_key): each.since for each in found} == {
            key: since for key, since in wanted.items() if key[0] == profile_id
        }


def test_instants_beyond_the_retained_changes_and_in_the_future_are_refused(travelled: Stack) -> None:
    before = wall_ms() - DAY_MS
    delete_before(travelled, travelled.settings.topics.membership_changes, 1, 1)
    with pytest.raises(
        UserError, match=r"are unknown: the changes are retained from 20.* on \(SEGOPS_RETENTION\)"
    ):
        asyncio.run(members_at(travelled.settings, "buyers", before))
    now = {each.profile_id for each in asyncio.run(members_at(travelled.settings, "buyers", None))}
    assert now == {profile for profile, key in replayed(travelled, FINAL_MS) if key == "buyers"}
    later = wall_ms() + DAY_MS
    with pytest.raises(UserError, match=f"{format_instant(later)} is in the future"):
        asyncio.run(members_at(travelled.settings, "buyers", later))
    with pytest.raises(UserError, match="no membership change of 'user_id:unknown' is retained"):
        asyncio.run(memberships_at(travelled.settings, "user_id:unknown", wall_ms()))


@rest
def test_the_archive_answers_for_what_the_topic_has_deleted(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives, topic = Archives(stack), stack.settings.topics.membership_changes
    half = len(SENT) // 2
    stack.publish()
    stack.start()
    archive = archives.start()
    stack.send(SENT[:half], final_ms=time_of(SENT[half]) - 1)
    expected = expected_changes(SENT[:half], stack.definitions, time_of(SENT[half]) - 1)
    stack.wait_for_changes(expected)
    wait_until(lambda: len(archives.held(topic)) == len(expected), "archived", archives.log().read_text)
    archive.send_signal(signal.SIGTERM)
    assert archive.wait(40) == 0
    ends = [archives.end(topic, partition) for partition in range(stack.partitions)]
    for partition, end in enumerate(ends):
        delete_before(stack, topic, partition, end)
    stack.send(SENT[half:], final_ms=FINAL_MS)
    later = expected_changes(SENT, stack.definitions, FINAL_MS).keys() - expected.keys()
    wait_until(
        lambda: set(stack.changes()) == later, "the other changes, alone in the topic", stack.diagnosis
    )
    early = time_of(SENT[half // 2])
    with pytest.raises(UserError, match=r"are unknown: .* on \(SEGOPS_RETENTION\)"):
        members(stack, early)
    monkeypatch.setenv("SEGOPS_ARCHIVE_URL", f"file://{archives.folder}")
    drawn, profiles = random.Random(6), sorted({change["profile_id"] for change in expected.values()})
    for at_ms in (early, *(START_MS + drawn.randrange(DAY_MS) for _ in range(3))):  # 80 profiles each
        wanted = replayed(stack, at_ms)
        assert members(stack, at_ms) == wanted
        profile_id = drawn.choice(profiles)
        _, found = asyncio.run(memberships_at(stack.settings, profile_id, at_ms))
        assert {(profile_id, each.segment_key): each.since for each in found} == {
            key: since for key, since in wanted.items() if key[0] == profile_id
        }
    delete_before(stack, topic, 1, ends[1] + 1)  # before it is archived
    with pytest.raises(UserError, match=r"retained from 20.* on \(SEGOPS_RETENTION, SEGOPS_ARCHIVE_URL\)"):
        members(stack, early)
