"""Apply changelog records to the store of one partition, with the due index and the segment sizes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from segops.core.errors import StateError
from segops.schemas.origin import decode_origin
from segops.schemas.positions import decode_positions
from segops.schemas.quarantine import due_in
from segops.schemas.state import Head, head_of
from segops.schemas.tallies import BUCKET_KEYS, decode_bucket
from segops.stores.base import ProfileStore, Row, Write
from segops.streaming.partition.snapshot import (
    BASE_META,
    CHANGELOG_META,
    EVALUATED_META,
    IN_FORCE_META,
    LOGGED_META,
    ORIGIN_META,
    POSITIONS_META,
)
from segops.streaming.partition.sums import NO_HEAD, Sums

log = logging.getLogger(__name__)

_MAX_DIGITS: Final = 18
_MIN_SLOTS: Final = 1 << 16
_MAX_SLOTS: Final = 1 << 26
_BYTES_OF_HEAD: Final = 64
_ENTRY_BYTES: Final = 256  # of a key, two objects and their dict slot


class StoreRestorer:
    """Applies changelog records to ``store``; the latest record of a key wins.

    ``expected``: the approximate number of records. A store that was empty is asked for the former state of
    a profile only if the hash of its id has occurred before. ``bulk``: load without a write-ahead log until
    ``finish``. ``buffer_bytes``: the approximate size of a buffer, so that a profile with many changelog
    records is written once; 0: no buffer. ``native``: the kernel, which reads heads, and keeps about as many
    bytes of them as the buffer has, so that these are not read from the store again.
    """

    def __init__(
        self,
        store: ProfileStore,
        *,
        expected: int,
        bulk: bool = False,
        buffer_bytes: int = 0,
        native: Any = None,
    ) -> None:
        self.store = store
        self._heads = None if native is None else native.Heads(buffer_bytes // _BYTES_OF_HEAD)
        self._bulk = bulk
        self._buffer_bytes = buffer_bytes
        self._buffer: dict[bytes, bytes | None] = {}
        self._buffered_bytes = 0
        self._next_offset: int | None = None
        self._seen: bytearray | None = None
        if read_offset(store, CHANGELOG_META) is None and not store.profile_ids(None, 1):
            slots = max(_MIN_SLOTS, min(_MAX_SLOTS, 8 * expected))
            self._seen = bytearray(1 << (slots - 1).bit_length())

    def take(self, values: Mapping[bytes, bytes | None], next_offset: int) -> None:
        """Buffer records; ``apply`` them when the buffer is full, or with ``settle``."""
        self._buffered_bytes += _size(values.values()) - _size(map(self._buffer.get, values))
        self._buffer.update(values)
        self._next_offset = next_offset
        if self._buffered_bytes + _ENTRY_BYTES * len(self._buffer) >= self._buffer_bytes:
            self.settle()

    def settle(self) -> None:
        """Write the buffer to the store."""
        if self._next_offset is not None:
            self.apply(self._buffer, self._next_offset)
            self._buffer, self._buffered_bytes, self._next_offset = {}, 0, None

    def apply(self, values: Mapping[bytes, bytes | None], next_offset: int) -> None:
        """Apply records in one store write; ``next_offset`` is the offset to continue from.

        An unreadable state is stored unchanged and due at once, so that its processor quarantines it.
        """
        logged = _readable({LOGGED_META[key]: values[key] for key in LOGGED_META.keys() & values.keys()})
        if not values.keys().isdisjoint(LOGGED_META):
            values = {key: value for key, value in values.items() if key not in LOGGED_META}
        if not all(map(_is_text, values)):
            log.error("invalid key in the changelog: expected UTF-8 text; record ignored")
            values = {key: value for key, value in values.items() if _is_text(key)}
        self._check_lineage(logged.get(ORIGIN_META))
        sums = Sums()
        rows = self._replaced(values, self._known(values), sums)
        meta = {CHANGELOG_META: str(next_offset - 1).encode()}
        meta |= logged
        meta |= sums.added_to(self.store, meta)
        if IN_FORCE_META in logged:
            meta[EVALUATED_META] = b""
        if self._bulk:
            self.store.load(rows, meta)
        else:
            self.store.write([Write(key.decode(), state, old, new) for key, state, old, new in rows], meta)

    def _check_lineage(self, logged: bytes | None) -> None:
        """Raise StateError if the store was restored from another changelog."""
        stored = self.store.meta(ORIGIN_META) if self._seen is None and logged else None
        if stored and logged and decode_origin(stored).lineage != decode_origin(logged).lineage:
            raise StateError("it belongs to another changelog, or to the state before a fresh start")

    def finish(self) -> None:
        """Make loaded records durable, after ``settle``. May be called from another thread."""
        if self._bulk:
            self.store.flush()

    def _known(self, values: Mapping[bytes, bytes | None]) -> Mapping[bytes, bytes | None]:
        ids = list(values if self._seen is None else _met(values, self._seen))
        return self._stored(ids if self._heads is None else self._heads.unknown(ids))

    def _stored(self, ids: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        if not ids:
            return {}
        return dict(zip(ids, self.store.get_many([key.decode() for key in ids]), strict=True))

    def _replaced(
        self, values: Mapping[bytes, bytes | None], known: Mapping[bytes, bytes | None], sums: Sums
    ) -> list[Row]:
        if self._heads is None:
            return list(_rows(values, known, sums))
        rows: list[Row]
        rows, changes, rest = self._heads.replaced(values, known)
        sums.add(*changes)
        return [*rows, *_rows({key: values[key] for key in rest}, self._stored(rest), sums)]


def _rows(
    values: Mapping[bytes, bytes | None], known: Mapping[bytes, bytes | None], sums: Sums
) -> Iterator[Row]:
    for key in sorted(values):  # memory tables cost less in order
        new, old = values[key], known.get(key)
        before = NO_HEAD if old is None else _head_of(old)
        after = NO_HEAD if new is None else _head_of(new)
        sums.replace(before, after)
        yield key, new, before[0], after[0]


def _head_of(state: bytes) -> Head:
    try:
        return head_of(state)
    except StateError:
        return due_in(state), b"", None, b""


def _is_text(key: bytes) -> bool:
    try:
        return key.isascii() or bool(key.decode())
    except UnicodeDecodeError:
        return False


def _readable(logged: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return the values that can be read; log an error for each of the others."""
    found = {}
    for name, value in logged.items():
        check, what = _CHECKS.get(name, (_is_any, ""))
        if value is not None and check(value):
            found[name] = value
        elif value is not None:
            log.error("%s in the changelog; ignored", what)
    return found


def _is_any(value: bytes) -> bool:
    return True


def _is_base(value: bytes) -> bool:
    return value.isdigit() and len(value) <= _MAX_DIGITS


def _decodes(decode: Callable[[bytes], object]) -> Callable[[bytes], bool]:
    def is_readable(value: bytes) -> bool:
        try:
            return decode(value) is not None
        except StateError:
            return False

    return is_readable


#: Name -> whether a value can be read, and what an unreadable one is called.
_CHECKS: Final = {
    BASE_META: (_is_base, "invalid base sequence"),
    ORIGIN_META: (_decodes(decode_origin), "unreadable origin"),
    POSITIONS_META: (_decodes(decode_positions), "unreadable positions of a transaction"),
    **dict.fromkeys(BUCKET_KEYS.values(), (_decodes(decode_bucket), "unreadable tallies of segments")),
}


def _size(values: Iterable[bytes | None]) -> int:
    return sum(map(len, filter(None, values)))


def _met(keys: Iterable[bytes], seen: bytearray) -> Iterator[bytes]:
    mask = len(seen) - 1
    for key in keys:
        slot = hash(key) & mask
        if seen[slot]:
            yield key
        seen[slot] = 1


def read_offset(store: ProfileStore, name: str) -> int | None:
    """Return an offset from the store's meta, None if there is none. Raises StateError when invalid."""
    data = store.meta(name)
    if data is None:
        return None
    if not data.isdigit():
        raise StateError(f"invalid {name} in the profile store: expected an offset")
    return int(data)
