"""Marks: the last record read identifies a topic, so that a recreated topic is detected.

The id of a topic is not available (the client speaks Metadata v5); the records are.
"""

from __future__ import annotations

import zlib
from typing import Final

from segops.schemas.origin import Mark
from segops.schemas.records import Record

_SEPARATOR: Final = "|"


def mark_of(record: Record) -> Mark:
    """Return the mark of a record: its offset, its timestamp, and a checksum of key, value and headers."""
    crc = zlib.crc32(record.value or b"", zlib.crc32(record.key or b""))
    for name, value in record.headers:
        crc = zlib.crc32(value or b"", zlib.crc32(name.encode(), crc))
    return Mark(record.offset, record.timestamp, crc)


class LastRecord:
    """The last record read. Its mark is computed on demand, once per checkpoint."""

    __slots__ = ("_mark", "_record")

    def __init__(self, mark: Mark | None = None) -> None:
        self._mark = mark
        self._record: Record | None = None

    def read(self, record: Record) -> None:
        """Set the last record read."""
        self._record = record

    @property
    def mark(self) -> Mark | None:
        """The mark of the last record; None when no record was read."""
        if self._record is not None:
            self._mark, self._record = mark_of(self._record), None
        return self._mark


def with_mark(metadata: str, mark: Mark | None) -> str:
    """Return the metadata of an offset commit with the mark of the last record before that offset.

    >>> with_mark("1;5;", Mark(7, 1760000000000, 255))
    '1;5;|7,1760000000000,255'
    >>> split_mark("1;5;|7,1760000000000,255")
    ('1;5;', Mark(offset=7, timestamp=1760000000000, crc=255))
    >>> split_mark("1;5;"), split_mark("1;5;|a,b")
    (('1;5;', None), ('1;5;', None))
    """
    if mark is None:
        return metadata
    return f"{metadata}{_SEPARATOR}{mark.offset},{mark.timestamp},{mark.crc}"


def split_mark(metadata: str) -> tuple[str, Mark | None]:
    """Split what ``with_mark`` returned into metadata and mark; None for a missing or unreadable mark."""
    text, bar, mark = metadata.partition(_SEPARATOR)
    try:
        return text, Mark(*map(int, mark.split(","))) if bar else None
    except (TypeError, ValueError):
        return text, None
