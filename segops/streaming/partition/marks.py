"""Marks: by the last record read a topic is recognised, also one that was deleted and made anew.

The id of a topic cannot be asked for (the client speaks Metadata v5); the records can.
"""

from __future__ import annotations

import zlib
from typing import Final

from segops.schemas.origin import Mark
from segops.schemas.records import Record

_SEPARATOR: Final = "|"


def mark_of(record: Record) -> Mark:
    """The mark of a record: its place, its time, and a checksum of key, value and headers."""
    crc = zlib.crc32(record.value or b"", zlib.crc32(record.key or b""))
    for name, value in record.headers:
        crc = zlib.crc32(value or b"", zlib.crc32(name.encode(), crc))
    return Mark(record.offset, record.timestamp, crc)


class LastRecord:
    """Remembers the last record read; its mark is made when it is asked for, once a checkpoint."""

    __slots__ = ("_mark", "_record")

    def __init__(self, mark: Mark | None = None) -> None:
        self._mark = mark
        self._record: Record | None = None

    def read(self, record: Record) -> None:
        """It is this one now."""
        self._record = record

    @property
    def mark(self) -> Mark | None:
        """Its mark; None when nothing was ever read."""
        if self._record is not None:
            self._mark, self._record = mark_of(self._record), None
        return self._mark


def with_mark(metadata: str, mark: Mark | None) -> str:
    """The metadata of an offset commit with the mark of the last record before that offset.

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
    """The two parts of what ``with_mark`` made; None where there is no mark, or none that can be read."""
    text, bar, mark = metadata.partition(_SEPARATOR)
    try:
        return text, Mark(*map(int, mark.split(","))) if bar else None
    except (TypeError, ValueError):
        return text, None
