"""The access audit of a running system: what people did and read in the console, the newest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.values import MAX_MS
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import single_partition
from segops.schemas.access_audit import AccessEntry, decode_entry
from segops.schemas.erasures import hashed

#: Records that one question reads: those at the end of its time range.
MOST: Final = 100_000


@dataclass(frozen=True)
class AccessQuery:
    """Which entries to find; "" and None leave a field open.

    ``user`` and ``action`` are whole; an ``action`` that ends with a dot, ``segment.``, is all of its kind.
    ``text`` is part of the object or the data, or an identifier of a person. ``before``: an offset; only
    entries that began before it.
    """

    user: str = ""
    action: str = ""
    text: str = ""
    since_ms: int = 0
    until_ms: int = MAX_MS
    before: int | None = None
    limit: int = 100

    def fits(self, entry: AccessEntry) -> bool:
        """Return whether an entry is asked for."""
        if not self.since_ms <= entry.at_ms < self.until_ms or self.user not in ("", entry.user):
            return False
        prefix = self.action.endswith(".") and entry.action.startswith(self.action)
        if self.action and not prefix and self.action != entry.action:
            return False
        if not self.text:
            return True
        searched = _searched(entry)
        return self.text.lower() in searched or hashed(self.text) in searched


def _searched(entry: AccessEntry) -> str:
    return f"{entry.object}\n{msgspec.json.encode(entry.data).decode()}".lower()


class Accessed(NamedTuple):
    """Entries with their offsets, the newest first.

    ``after``: the offset for ``AccessQuery.before`` that continues the list; None at its end. ``complete``:
    whether all records of the time range were looked at.
    """

    entries: list[tuple[int, AccessEntry]]
    after: int | None
    complete: bool
    unreadable: int


async def read_entries(settings: Settings, query: AccessQuery) -> Accessed:
    """Return the entries that a query asks for. Raises UserError without the topic; Unreachable."""
    partition = await single_partition(settings.kafka, settings.topics.access_audit)
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign([partition])
        first = await _offset_at(consumer, partition, query.since_ms)
        end = (await consumer.end_offsets([partition]))[partition]
        start = max(first, end - MOST)
        consumer.seek(partition, start)
        records = [record async for record in read_to_end(consumer, [partition])]
    return found_in(records, query, complete=start == first)


async def _offset_at(consumer: AIOKafkaConsumer, partition: TopicPartition, since_ms: int) -> int:
    """Return the first offset from an instant on: the end of the log if there is none."""
    if since_ms <= 0:
        return int((await consumer.beginning_offsets([partition]))[partition])
    found = (await consumer.offsets_for_times({partition: since_ms}))[partition]
    ends = await consumer.end_offsets([partition])
    return int(ends[partition] if found is None else found.offset)


def found_in(records: Iterable[Any], query: AccessQuery, *, complete: bool) -> Accessed:
    """Return the entries of records that a query asks for; a change and its result are one entry."""
    known: dict[str, tuple[int, AccessEntry]] = {}
    unreadable = 0
    for record in records:
        try:
            entry = decode_entry(record.value or b"")
        except msgspec.MsgspecError:
            unreadable += 1
            continue
        offset, begun = known.get(entry.id, (record.offset, entry))
        known[entry.id] = offset, msgspec.structs.replace(entry, at_ms=begun.at_ms)
    fitting = [
        (offset, entry)
        for offset, entry in reversed(known.values())
        if query.fits(entry) and (query.before is None or offset < query.before)
    ]
    after = fitting[query.limit - 1][0] if len(fitting) > query.limit else None
    return Accessed(fitting[: query.limit], after, complete, unreadable)
