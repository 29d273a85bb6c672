"""Read the membership topics: segment sizes, and live membership changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.events import Change
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.changes import decode_change

_POLL_MS: Final = 1_000
_REMEMBERED: Final = 10_000


class _Row(msgspec.Struct):
    member: bool


_row = msgspec.json.Decoder(_Row)


class Sizes:
    """The number of members of each segment, from the ``profile|segment`` rows of the state topic.

    Keeps one 64-bit hash per member instead of the id: with a million members, two profiles collide with a
    probability of about 1 in 30 million.

    >>> sizes = Sizes()
    >>> sizes.apply(b"user_id:u1|vip", b'{"member":true}')
    >>> sizes.apply(b"user_id:u2|vip", b'{"member":true}')
    >>> sizes.apply(b"user_id:u1|vip", None)
    >>> sizes.counts()
    {'vip': 1}
    """

    def __init__(self) -> None:
        self._members: dict[str, set[int]] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Apply one record of the state topic; skip it if it is unreadable."""
        profile, bar, segment = (key or b"").rpartition(b"|")
        if not bar:
            return
        try:
            member = value is not None and _row.decode(value).member
            self._set(profile, segment.decode(), member=member)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return

    def note(self, change: Change) -> int:
        """Apply a change and return the resulting size of its segment."""
        self._set(change.profile_id.encode(), change.segment_key, member=change.member)
        return len(self._members[change.segment_key])

    def counts(self) -> dict[str, int]:
        """Return the number of members by segment key, sorted by key."""
        return {segment: len(members) for segment, members in sorted(self._members.items())}

    def _set(self, profile: bytes, segment: str, *, member: bool) -> None:
        members = self._members.setdefault(segment, set())
        if member:
            members.add(hash(profile))
        else:
            members.discard(hash(profile))


class Memberships:
    """The current segment sizes, then the live changes."""

    def __init__(self, consumer: AIOKafkaConsumer, state: Sequence[TopicPartition]) -> None:
        self.sizes = Sizes()
        self._consumer = consumer
        self._state = state
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def catch_up(self) -> None:
        """Read the state topic from its beginning to its current end."""
        await self._consumer.seek_to_beginning(*self._state)
        async for record in read_to_end(self._consumer, self._state):
            self.sizes.apply(record.key, record.value)
        self._consumer.pause(*self._state)

    async def changes(self) -> AsyncGenerator[tuple[Change, bytes, int], None]:
        """Yield each change, its published record and the resulting size of its segment. Runs until closed.

        Skips repetitions of a change and invalid records.
        """
        while True:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS)
            for record in (record for records in found.values() for record in records):
                change = _change(record.value)
                if change is not None and self._is_new(change.change_id):
                    yield change, record.value, self.sizes.note(change)

    def _is_new(self, change_id: str) -> bool:
        if change_id in self._seen:
            return False
        self._seen[change_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


def _change(value: bytes | None) -> Change | None:
    try:
        return None if value is None else decode_change(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


@asynccontextmanager
async def memberships(settings: Settings) -> AsyncIterator[Memberships]:
    """Follow the memberships; call ``catch_up`` first. Raises UserError when a topic is missing."""
    names = [settings.topics.membership_changes, settings.topics.membership_state]
    counts = await partition_counts(settings.kafka, names)
    changes, state = ([TopicPartition(name, p) for p in range(counts[name])] for name in names)
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign([*changes, *state])
        # Resolve the positions before reading the state: a change in between is seen twice, but never missed.
        await consumer.seek_to_end(*changes)
        for part in changes:
            await consumer.position(part)
        yield Memberships(consumer, state)
