"""The current members of a segment: the newest ones, up to a limit, and the number of all."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts


class MemberRow(msgspec.Struct, frozen=True):
    """A member, in the form of the state topic: since when, why, and until when if nothing more happens."""

    profile_id: str
    occurred_at: int
    reason: str
    flips_at: int | None
    segment_version: int
    member: bool


class MembersNow(NamedTuple):
    """The newest members first; ``total`` counts all."""

    rows: list[MemberRow]
    total: int


_row = msgspec.json.Decoder(MemberRow)


async def newest_members(settings: Settings, segment_key: str, *, limit: int) -> MembersNow:
    """Read the state topic to its end; keep the ``limit`` members who entered last.

    Memory grows with the number of members, by a hash each. Raises UserError when the topic is missing.
    """
    topic, found = settings.topics.membership_state, _Newest(limit)
    counts = await partition_counts(settings.kafka, [topic])
    partitions = [TopicPartition(topic, number) for number in range(counts[topic])]
    end = f"|{segment_key}".encode()
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for record in read_to_end(consumer, partitions):
            if record.key is not None and record.key.endswith(end):
                found.apply(record.key, record.value)
    return found.result()


class _Newest:
    """Keeps the latest row of each member among the newest; forgets who left."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: dict[bytes, MemberRow] = {}
        self._members: set[int] = set()

    def apply(self, key: bytes, value: bytes | None) -> None:
        try:
            row = None if value is None else _row.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if row is None or not row.member:
            self._members.discard(hash(key))
            self._rows.pop(key, None)
            return
        self._members.add(hash(key))
        self._rows[key] = row
        if len(self._rows) > 2 * self._limit:
            self._rows = dict(self._greatest())

    def _greatest(self) -> list[tuple[bytes, MemberRow]]:
        return heapq.nlargest(
            self._limit, self._rows.items(), key=lambda item: (item[1].occurred_at, item[0])
        )

    def result(self) -> MembersNow:
        return MembersNow([row for _, row in self._greatest()], len(self._members))
