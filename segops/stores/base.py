"""The profile store: one per partition, bytes in and out, one atomic write at a time.

A store keeps three things: the encoded states by profile id, the due index (instant, profile id),
and a few named values such as the changelog offset. All three move together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec


class Write(msgspec.Struct, gc=False):
    """What becomes of one profile.

    ``state`` None removes the profile. ``old_due_ms`` is the due time written with it last
    (None: none was), ``new_due_ms`` the one to keep (None: keep none).
    """

    profile_id: str
    state: bytes | None
    old_due_ms: int | None = None
    new_due_ms: int | None = None


#: What ``load`` takes, by position: profile id, state, old and new due time, as in Write.
Row = tuple[bytes, bytes | None, int | None, int | None]


class ProfileStore(Protocol):
    """The profiles of one partition. Not for use from two threads at once.

    Every method raises StateError when the store cannot be read or written, or has been closed.
    """

    def get_many(self, profile_ids: Sequence[str]) -> list[bytes | None]:
        """The states in the order asked for; None where there is no profile."""
        ...

    def write(self, writes: Iterable[Write], meta: Mapping[str, bytes]) -> None:
        """Apply states, due index and ``meta`` as one: after a crash all of it is there, or none."""
        ...

    def load(self, rows: Iterable[Row], meta: Mapping[str, bytes]) -> None:
        """As ``write``, in bulk and unlogged: a crash before ``flush`` or ``close`` loses the latest loads.

        It never loses one and keeps a later one. Between ``load`` and ``write`` there must be a ``flush``.
        Rows in the order of their ids cost least.
        """
        ...

    def flush(self) -> None:
        """Make what was loaded as safe as what was written. May be called from another thread."""
        ...

    @property
    def needs_compaction(self) -> bool:
        """Whether more was loaded than the store has put in order: wait before loading more."""
        ...

    def due(self, until_ms: int, limit: int) -> list[tuple[int, str]]:
        """At most ``limit`` pairs (due_ms, profile id) with due_ms <= ``until_ms``, earliest first."""
        ...

    def profile_ids(self, after: str | None, limit: int) -> list[str]:
        """At most ``limit`` ids greater than ``after``, in key order: a scan in slices."""
        ...

    def meta(self, name: str) -> bytes | None:
        """A named value, None when it was never written."""
        ...

    def close(self) -> None:
        """Let go of files and locks; closing twice is fine."""
        ...

    def destroy(self) -> None:
        """Close, and remove everything that was kept."""
        ...


class StoreFactory(Protocol):
    """Opens the store of a partition, making it when there is none."""

    def open(self, partition: int) -> ProfileStore:
        """The store of ``partition``. StateError when damaged, StoreInUseError when open elsewhere."""
        ...
