"""The profile store: one per partition, bytes in and out, one atomic write at a time.

A store holds four things: the encoded states by profile id, the due index (instant, profile id), a few named
values such as the changelog offset, and, while a backfill runs, rows of past events by their owner. One write
changes all of them atomically.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec


class Write(msgspec.Struct, gc=False):
    """The write of one profile.

    ``state`` None removes the profile. ``old_due_ms`` is the due time in the store (None: none),
    ``new_due_ms`` the one to store (None: none).
    """

    profile_id: str
    state: bytes | None
    old_due_ms: int | None = None
    new_due_ms: int | None = None


class RowWrite(msgspec.Struct, gc=False):
    """The write of one row of past events of ``owner``; ``value`` None removes it."""

    owner: str
    name: bytes
    value: bytes | None = None


#: A due time in milliseconds, and a profile id.
Due = tuple[int, str]

#: A row of ``load``: profile id, state, old and new due time, as in Write.
Row = tuple[bytes, bytes | None, int | None, int | None]


class ProfileStore(Protocol):
    """The profiles of one partition. Must not be used from two threads at once.

    Every method raises StateError when the store cannot be read or written, or has been closed.
    """

    def get_many(self, profile_ids: Sequence[str]) -> list[bytes | None]:
        """Return the states in the order of the ids; None for an unknown profile."""
        ...

    def write(
        self, writes: Iterable[Write], meta: Mapping[str, bytes], rows: Iterable[RowWrite] = ()
    ) -> None:
        """Write states, due index, ``meta`` and ``rows`` atomically: after a crash all are there, or none."""
        ...

    def rows(self, owner: str) -> list[tuple[bytes, bytes]]:
        """Return the rows of past events of an owner, as (name, value) in the order of the names."""
        ...

    def row_owners(self, after: str | None, limit: int) -> list[str]:
        """Return at most ``limit`` owners of rows, after ``after`` in the order of the store."""
        ...

    def clear_rows(self, meta: Mapping[str, bytes]) -> None:
        """Remove all rows of past events, and write ``meta``, atomically."""
        ...

    def load(self, rows: Iterable[Row], meta: Mapping[str, bytes]) -> None:
        """Write in bulk without a write-ahead log.

        A crash before ``flush`` or ``close`` loses the latest loads, but never one before a load that it
        keeps. Between ``load`` and ``write`` there must be a ``flush``. Rows in the order of their ids are
        cheapest.
        """
        ...

    def flush(self) -> None:
        """Make loaded rows as durable as written ones. May be called from another thread."""
        ...

    @property
    def needs_compaction(self) -> bool:
        """Whether compaction is too far behind ``load``: wait before loading more."""
        ...

    def due(self, until_ms: int, limit: int, after: Due | None = None) -> list[Due]:
        """Return at most ``limit`` due times <= ``until_ms``, earliest first, of those after ``after``."""
        ...

    def profile_ids(self, after: str | None, limit: int) -> list[str]:
        """Return at most ``limit`` ids greater than ``after``, in key order, for a scan in slices."""
        ...

    def meta(self, name: str) -> bytes | None:
        """Return a named value, None if it was never written."""
        ...

    def close(self) -> None:
        """Release files and locks. Closing twice is allowed."""
        ...

    def destroy(self) -> None:
        """Close the store and delete its data."""
        ...


class StoreFactory(Protocol):
    """Opens the store of a partition, creating it if it does not exist."""

    def open(self, partition: int) -> ProfileStore:
        """Open the store of a partition. Raises StateError if damaged, StoreInUseError if open elsewhere."""
        ...
