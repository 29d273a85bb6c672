"""Members at past instants in a running system: equal to a replay of the same events until then."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from segops.core.errors import UserError
from segops.core.segments import SegmentSet
from segops.core.values import format_instant, parse_instant
from segops.operations.history import members_at, memberships_at
from segops.replay import Replay
from segops.wall_clock import wall_ms

from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, shop_events

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS
USERS = 80
SENT = shop_events(600, users=USERS, partitions=3, seed=8)


@pytest.fixture
def stack(stack: Stack) -> Stack:
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


def test_a_thousand_pairs_of_profile_and_instant_equal_a_replay_until_then(stack: Stack) -> None:
    drawn = random.Random(4)
    keys = [definition.key for definition in stack.definitions]
    profiles = sorted({change["profile_id"] for change in stack.changes().values()})

    async def members(at_ms: int) -> dict[tuple[str, str], int | None]:
        found = [each for key in keys for each in await members_at(stack.settings, key, at_ms)]
        return {(each.profile_id, each.segment_key): each.since for each in found}

    for _ in range(1_000 // USERS + 1):  # each instant compares all profiles
        at_ms = START_MS + drawn.randrange(2 * DAY_MS)
        wanted = replayed(stack, at_ms)
        assert asyncio.run(members(at_ms)) == wanted
        profile_id = drawn.choice(profiles)
        asked, found = asyncio.run(memberships_at(stack.settings, profile_id, at_ms))
        assert asked == profile_id
        assert {(asked, each.segment_key): each.since for each in found} == {
            key: since for key, since in wanted.items() if key[0] == profile_id
        }


def test_instants_beyond_the_retained_changes_and_in_the_future_are_refused(stack: Stack) -> None:
    before = wall_ms() - DAY_MS
    topic = stack.settings.topics.membership_changes
    asyncio.run(_delete_first(stack, TopicPartition(topic, 1)))
    with pytest.raises(
        UserError, match=r"are unknown: the changes are retained from 20.* on \(SEGOPS_RETENTION\)"
    ):
        asyncio.run(members_at(stack.settings, "buyers", before))
    now = {each.profile_id for each in asyncio.run(members_at(stack.settings, "buyers", None))}
    assert now == {profile for profile, key in replayed(stack, FINAL_MS) if key == "buyers"}
    later = wall_ms() + DAY_MS
    with pytest.raises(UserError, match=f"{format_instant(later)} is in the future"):
        asyncio.run(members_at(stack.settings, "buyers", later))
    with pytest.raises(UserError, match="no membership change of 'user_id:unknown' is retained"):
        asyncio.run(memberships_at(stack.settings, "user_id:unknown", wall_ms()))


async def _delete_first(stack: Stack, partition: TopicPartition) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    await client.start()
    await client.delete_records({partition: RecordsToDelete(1)})
    await client.close()
