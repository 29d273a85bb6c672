"""The metadata of a partition: the named values of its store, and those due at the next snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import msgspec

from segops.core.engine import Engine
from segops.schemas.in_force import encode_in_force
from segops.schemas.origin import Mark, encode_origin
from segops.stores.base import ProfileStore
from segops.streaming.partition.engines import packed_of
from segops.streaming.partition.snapshot import (
    BASE_META,
    EVALUATED_META,
    IN_FORCE_META,
    LOGGED_NAMES,
    ORIGIN_META,
    ROWS_META,
    SIZES_META,
    SOURCE_META,
)
from segops.streaming.partition.start import Start

_DUE, _DONE = b"due", b"done"
_encode_sizes = partial(msgspec.json.encode, order="sorted")
_decode_sizes = msgspec.json.Decoder(dict[str, int]).decode


class PartitionMetadata:
    """The metadata of one partition, except for sizes and base sequence, which ``Effects`` maintains.

    ``recording``: the definitions are not durable yet. ``rows_due``: the state topic may hold rows of
    segments that are not in force; that is not in the changelog, so a lost disk makes it true.
    """

    def __init__(self, store: ProfileStore, start: Start) -> None:
        self.since_ms = start.clock.now_ms if start.since_ms is None else start.since_ms
        self.recording = self._in_force_due = start.since_ms is None
        self._evaluated_by: bytes | None = None
        self._origin, self._origin_due = start.origin, start.adopted
        self._recorded_base = base_of(store)
        self.rows_due = store.meta(ROWS_META) != _DONE
        self._rows: bytes | None = None

    def adopt(self, now_ms: int, *, removed: bool) -> None:
        """Record at the next snapshot that other definitions are in force from ``now_ms`` on.

        ``removed``: they lack a segment of the former ones.
        """
        self.since_ms, self._evaluated_by = now_ms, None
        self.recording = self._in_force_due = True
        if removed:
            self.rows_due, self._rows = True, _DUE

    def rows_deleted(self) -> None:
        """Record at the next snapshot that only segments in force have rows in the state topic."""
        self.rows_due, self._rows = False, _DONE

    def evaluated(self, version: str) -> None:
        """Record at the next snapshot that all profiles were evaluated by these definitions."""
        self._evaluated_by = version.encode()

    @property
    def sweep_until(self) -> int:
        """The sequence up to which published memberships must be compared with the state; 0: none."""
        return 0 if self._origin is None else self._origin.sweep_until

    def swept(self) -> None:
        """Record at the next snapshot that the sweep is complete."""
        if self._origin is not None:
            self._origin, self._origin_due = msgspec.structs.replace(self._origin, sweep_until=0), True

    def take(self, engine: Engine, *, offset: int, sizes: Counter[str], base: int) -> dict[str, bytes]:
        """Return the values due at this snapshot; ``take_origin`` must follow."""
        meta = {SOURCE_META: b"%d" % offset, SIZES_META: _encode_sizes(+sizes)}
        if self._in_force_due:
            meta[IN_FORCE_META] = encode_in_force(packed_of(engine.segments), since_ms=self.since_ms)
            meta[EVALUATED_META] = b""  # also for a version that was in force before
            self._in_force_due = False
        if base != self._recorded_base:
            self._recorded_base = base
            meta[BASE_META] = b"%d" % base
        if self._rows is not None:
            meta[ROWS_META], self._rows = self._rows, None
        if self._evaluated_by is not None:
            meta[EVALUATED_META], self._evaluated_by = self._evaluated_by, None
        return meta

    def take_origin(self, meta: Mapping[str, bytes], mark: Mark | None, *, dirty: bool) -> dict[str, bytes]:
        """Return the origin with the last record's ``mark``, if this snapshot writes to the changelog."""
        if self._origin is None or not (dirty or self._origin_due or LOGGED_NAMES & meta.keys()):
            return {}
        self._origin_due = False
        return {ORIGIN_META: encode_origin(msgspec.structs.replace(self._origin, mark=mark))}

    def committed(self) -> None:
        """Note that the last snapshot is durable."""
        self.recording = self._in_force_due


def sizes_of(store: ProfileStore) -> dict[str, int]:
    """Return the number of members of each segment as of the last checkpoint."""
    data = store.meta(SIZES_META)
    return _decode_sizes(data) if data else {}


def is_evaluated_by(store: ProfileStore, version: str) -> bool:
    """Return whether all profiles of the store were evaluated by these definitions."""
    return store.meta(EVALUATED_META) == version.encode()


def base_of(store: ProfileStore) -> int:
    """Return the base sequence as of the last checkpoint."""
    return int(store.meta(BASE_META) or b"0")
