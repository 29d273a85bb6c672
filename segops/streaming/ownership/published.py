"""The published memberships of one partition, read from the state topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.core.events import RESTART, Change
from segops.kafka.batches import fetch
from segops.kafka.positions import LogPartition
from segops.schemas.changes import decode_change

_QUIET_S: Final = 0.5


class PublishedMemberships(NamedTuple):
    """The greatest sequence of any profile, and the most memberships published of one profile."""

    greatest: int
    most: int


class _Row(msgspec.Struct):
    profile_id: str
    member: bool
    sequence: int
    reason: str


_row = msgspec.json.Decoder(_Row)


async def survey(make: Callable[..., AIOKafkaConsumer], partition: LogPartition) -> PublishedMemberships:
    """Summarise a partition of the state topic."""
    greatest, true = 0, dict[bytes, str]()
    async for key, value in latest_rows(make, partition):
        row = _decoded(value)
        true.pop(key, None)
        if row is not None:
            greatest = max(greatest, row.sequence)
            if row.member:
                true[key] = row.profile_id
    return PublishedMemberships(greatest, max(Counter(true.values()).values(), default=0))


async def rows_before(
    make: Callable[..., AIOKafkaConsumer], partition: LogPartition, *, until: int
) -> dict[str, list[Change]]:
    """Return the memberships published up to the sequence ``until``, by profile, in key order.

    This includes those that a sweep has ended since.
    """
    rows: dict[bytes, bytes] = {}
    async for key, value in latest_rows(make, partition):
        row = _decoded(value)
        if value is not None and row is not None and _is_before(row, until):
            rows[key] = value
        else:
            rows.pop(key, None)
    by_profile: dict[str, list[Change]] = {}
    for _, value in sorted(rows.items()):
        change = decode_change(value)
        by_profile.setdefault(change.profile_id, []).append(change)
    return by_profile


def _is_before(row: _Row, until: int) -> bool:
    return row.member if row.sequence <= until else row.reason == RESTART


def _decoded(value: bytes | None) -> _Row | None:
    try:
        return None if value is None else _row.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


async def latest_rows(
    make: Callable[..., AIOKafkaConsumer], partition: LogPartition
) -> AsyncGenerator[tuple[bytes, bytes | None], None]:
    """Yield the records up to the current end offset; a later record of a key replaces an earlier one."""
    consumer, part = make(), TopicPartition(*partition)
    try:
        await consumer.start()
        consumer.assign([part])
        await consumer.seek_to_beginning(part)
        end: int = (await consumer.end_offsets([part]))[part]
        while await consumer.position(part) < end:
            for _, fetched in await fetch(consumer, _QUIET_S):
                for key, value in fetched.latest()[1].items():
                    yield key, value
    finally:
        await consumer.stop()
