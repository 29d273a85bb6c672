"""Inspect the quarantine, and request that a profile is released or discarded.

A control record with its state releases a profile. Sending a quarantined hand-over again releases it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.errors import SegopsError, StateError, UserError
from segops.core.messages import Handover, Release
from segops.core.profile import Profile
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.messages import HANDOVER, RELEASE, decode_message, encode_message
from segops.schemas.quarantine import (
    FOUND_HEADER,
    HANDOVER_MARK,
    ORIGIN_HEADER,
    QUARANTINE_HEADER,
    REASON_HEADER,
)
from segops.schemas.records import partition_of
from segops.schemas.state import body_of, decode_profile
from segops.schemas.ticks import TYPE_HEADER


class Quarantined(msgspec.Struct, frozen=True):
    """One record of the quarantine. ``found_in`` is ``profile``, or ``handover`` to another profile."""

    key: bytes
    profile_id: str
    of: str
    found_in: str
    reason: str
    origin: str
    since_ms: int
    data: bytes

    def readable(self) -> Profile | Handover:
        """Decode the bytes with this version. Raises StateError."""
        return _handover(self.data) if self.found_in == "handover" else decode_profile(self.data)

    def plain(self) -> Any:
        """Return the fields as plain values, for repair. Raises StateError when the bytes are unreadable."""
        body = self.data[1:] if self.found_in == "handover" else body_of(self.data)
        try:
            return msgspec.msgpack.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise StateError(f"invalid msgpack: {error}") from error

    def repaired(self, form: Any) -> Profile | Handover:
        """Convert repaired plain values to a profile or a hand-over. Raises StateError."""
        try:
            if self.found_in == "handover":
                return msgspec.convert(form, Handover, str_keys=True)
            return msgspec.convert(form, Profile, str_keys=True)
        except msgspec.MsgspecError as error:
            raise StateError(f"invalid repaired state: {error}") from error


def _handover(data: bytes) -> Handover:
    try:
        message = decode_message(data)
    except ValueError as error:
        raise StateError(str(error)) from error
    if not isinstance(message, Handover):
        raise StateError("expected a hand-over, got another message")
    return message


class PublishedQuarantine(msgspec.Struct):
    """The published state of a profile: its last sequence, and the segments it is a member of."""

    sequence: int = 0
    members: tuple[str, ...] = ()


async def quarantined(settings: Settings) -> list[Quarantined]:
    """Return everything in the quarantine, by partition."""
    topic = settings.topics.quarantine
    count = (await partition_counts(settings.kafka, [topic]))[topic]
    found: dict[bytes, Quarantined] = {}
    for record in await _read(settings, [TopicPartition(topic, number) for number in range(count)]):
        if record.value is None:
            found.pop(record.key, None)
        elif record.key is not None:
            found[record.key] = _quarantined(record)
    return list(found.values())


def _quarantined(record: Any) -> Quarantined:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    names = (QUARANTINE_HEADER, FOUND_HEADER, REASON_HEADER, ORIGIN_HEADER)
    of, found_in, reason, origin = (headers.get(name, "") for name in names)
    profile_id = record.key.partition(HANDOVER_MARK)[0].decode(errors="replace")
    return Quarantined(record.key, profile_id, of, found_in, reason, origin, record.timestamp, record.value)


async def find(settings: Settings, name: str) -> Quarantined:
    """Find a quarantine record by profile id or record name. Raises UserError unless exactly one matches."""
    found = [each for each in await quarantined(settings) if name in (each.profile_id, each.of)]
    if not found:
        raise UserError(f"{name!r} is not in the quarantine")
    if len(found) > 1:
        names = " and ".join(f"{each.of} ({each.found_in})" for each in found)
        raise UserError(f"{name!r} matches {names}: name one of them")
    return found[0]


async def release(settings: Settings, one: Quarantined, state: Profile | Handover | None) -> None:
    """Request that a profile continues from ``state``, or empty if None; send or discard a hand-over."""
    if one.found_in == "handover":
        if isinstance(state, Handover):
            await _request(settings, state.to, encode_message(state), HANDOVER)
        await _forget(settings, one)
        return
    if isinstance(state, Profile) and state.id != one.profile_id:
        raise UserError(f"expected the state of {one.profile_id!r}, got that of {state.id!r}")
    if isinstance(state, Handover):
        raise SegopsError(f"expected the state of {one.profile_id!r}, got a hand-over")
    known = await published(settings, one.profile_id)
    message = Release(one.profile_id, one.of, known.sequence, known.members, state)
    await _request(settings, one.profile_id, encode_message(message), RELEASE)


async def _request(settings: Settings, to: str, value: bytes, kind: bytes) -> None:
    topic, key = settings.topics.control, to.encode()
    partitions = (await partition_counts(settings.kafka, [topic]))[topic]
    async with running_producer(settings.kafka, max_request_size=len(value) + (1 << 20)) as producer:
        partition, headers = partition_of(key, partitions), [(TYPE_HEADER, kind)]
        await producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)


async def _forget(settings: Settings, one: Quarantined) -> None:
    topic = settings.topics.quarantine
    partitions = (await partition_counts(settings.kafka, [topic]))[topic]
    async with running_producer(settings.kafka) as producer:
        partition = partition_of(one.profile_id.encode(), partitions)
        await producer.send_and_wait(topic, None, key=one.key, partition=partition)


async def published(settings: Settings, profile_id: str) -> PublishedQuarantine:
    """Return the published state of a profile, from the state topic."""
    topic, prefix = settings.topics.membership_state, f"{profile_id}|".encode()
    count = (await partition_counts(settings.kafka, [topic]))[topic]
    partition = TopicPartition(topic, partition_of(profile_id.encode(), count))
    rows: dict[bytes, dict[str, Any]] = {}
    for record in await _read(settings, [partition], prefix):
        if record.value is None:
            rows.pop(record.key, None)
        else:
            rows[record.key] = json.loads(record.value)
    sequence = max((row["sequence"] for row in rows.values()), default=0)
    return PublishedQuarantine(sequence, tuple(row["segment_key"] for row in rows.values() if row["member"]))


async def _read(settings: Settings, partitions: Sequence[TopicPartition], prefix: bytes = b"") -> list[Any]:
    """Return the records whose keys begin with ``prefix``, up to the current ends of the partitions."""
    async with running_consumer(settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign(list(partitions))
        await consumer.seek_to_beginning(*partitions)
        records = read_to_end(consumer, partitions)
        return [record async for record in records if (record.key or b"").startswith(prefix)]
