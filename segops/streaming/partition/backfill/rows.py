"""The rows of past events of one partition, by the profile that they belong to."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from segops.core.backfill import Row
from segops.schemas.rows import decode_row
from segops.stores.base import ProfileStore, RowWrite

_OWNERS: Final = 500
#: About the most bytes of rows in one message.
_MESSAGE_BYTES: Final = 256 << 10
_NAME: Final = struct.Struct(">QI")
#: Between a profile's id and the identifier of a profile merged into it, from which rows came.
_FROM: Final = "\x00<\x00"


def row_name(offset: int, number: int = 0) -> bytes:
    """Return the name of a row: the offset of its record in the log, and its number in that record."""
    return _NAME.pack(offset, number)


def owner_of(profile_id: str, source: str) -> str:
    """Return the owner under which a profile keeps its own rows, or those of a ``source``."""
    return profile_id if source == profile_id else f"{profile_id}{_FROM}{source}"


def split_owner(owner: str) -> tuple[str, str]:
    """Return the profile id and the source of an owner.

    >>> split_owner(owner_of("a", "b")), split_owner("a")
    (('a', 'b'), ('a', 'a'))
    """
    profile_id, _, source = owner.partition(_FROM)
    return profile_id, source or profile_id


class RowBuffer:
    """Rows by owner: those in the store, and those to be written next.

    A row may be written before the checkpoint of its record: if the record is applied again, it is replaced
    by itself.
    """

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self._pending: dict[str, dict[bytes, bytes | None]] = {}

    def put(self, owner: str, name: bytes, value: bytes) -> None:
        """Add a row."""
        self._pending.setdefault(owner, {})[name] = value

    def remove(self, owner: str, before: int) -> None:
        """Remove the rows of an owner whose records precede an offset."""
        end = row_name(before)
        for name, _ in self.of(owner):
            if name < end:
                self._pending.setdefault(owner, {})[name] = None

    def of(self, owner: str) -> list[tuple[bytes, bytes]]:
        """Return the rows of an owner, as (name, value) in the order of the log."""
        found: dict[bytes, bytes | None] = dict(self._store.rows(owner))
        found |= self._pending.get(owner, {})
        return sorted((name, value) for name, value in found.items() if value is not None)

    def owners(self) -> Iterator[str]:
        """Yield all owners of rows, some of them twice. Rows may be added meanwhile."""
        yield from list(self._pending)
        after = None
        while ids := self._store.row_owners(after, _OWNERS):
            yield from ids
            after = ids[-1]

    def take(self) -> list[RowWrite]:
        """Return what is to be written, once."""
        taken, self._pending = self._pending, {}
        return [RowWrite(owner, name, value) for owner, rows in taken.items() for name, value in rows.items()]

    def clear(self, meta: Mapping[str, bytes]) -> None:
        """Remove all rows at once, and write named values with that."""
        self._pending = {}
        self._store.clear_rows(meta)


def chunked(rows: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the rows in parts for one message each."""
    part: list[bytes] = []
    size = 0
    for row in rows:
        if part and size + len(row) > _MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row)
    if part:
        yield part


def decoded(rows: Mapping[str, Sequence[bytes]]) -> Iterator[Row]:
    """Yield stored rows, given by source."""
    return (decode_row(row) for of_source in rows.values() for row in of_source)
