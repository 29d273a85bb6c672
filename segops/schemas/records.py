"""Kafka records: headers, partitioning and origins, shared by all producers and consumers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

SOURCE_HEADER: Final = "segops-source"
TIME_HEADER: Final = "segops-time"
#: Of an event or dead letter from the collector: its source.
COLLECTOR_HEADER: Final = "segops-collector-source"
#: Of an event that was mapped: where its record is, ``topic:partition:offset``.
FROM_HEADER: Final = "segops-from"

Headers = Sequence[tuple[str, bytes]]


class Record(Protocol):
    """A Kafka record without its topic and partition."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


def partition_of(profile_id: bytes, partitions: int) -> int:
    """Return the partition of a profile, as every client with CRC-32 partitioning ("consistent") does.

    >>> partition_of(b"user_id:u1", 8)
    2
    """
    return zlib.crc32(profile_id) % partitions


def origin_of(headers: Headers) -> tuple[bytes, int]:
    """Return the source (``<partition>:<offset>``) and the event time in ms of a forwarded record.

    Raises ValueError when a header is missing or unreadable.
    """
    if len(headers) == 2 and headers[0][0] == SOURCE_HEADER and headers[1][0] == TIME_HEADER:
        return headers[0][1], int(headers[1][1])
    found = dict(headers)
    try:
        return found[SOURCE_HEADER], int(found[TIME_HEADER])
    except KeyError as error:
        raise ValueError(f"missing header {error}") from None


def profile_ids(records: Iterable[Record], start: int) -> list[str]:
    """Return the profile ids of the records from the offset ``start`` on."""
    ids = []
    for record in records:
        if record.key is not None and record.offset >= start:
            ids.append(record.key.decode(errors="replace"))
    return ids
