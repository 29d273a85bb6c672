"""The profile store on RocksDB: one database per partition, with shared memory limits.

==========================================  ======================
``p`` + profile id                          encoded state
``d`` + due time (8 bytes) + profile id     nothing: the due index
``m`` + name                                a named value
``h`` + length (4) + owner + name           a row of past events
``v``                                       layout version
==========================================  ======================

The write-ahead log is written but not synced: a killed process loses nothing, a power failure may lose the
tail. Since the changelog offset is part of the same batch, recovery then starts at the matching offset. Bulk
loads bypass the log: memory tables are flushed in load order, so that a crash leaves the store as it was
after some load, with the offset of that load.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DbClosedError,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from segops.core.errors import StateError, StoreWriteError
from segops.stores.base import Due, ProfileStore, Row, RowWrite, Write
from segops.stores.lock import lock_folder
from segops.stores.rows import AFTER_ROWS, FIRST_ROW, after_prefix, owner_in, row_prefix

_LAYOUT = b"1"
_TOP_BIT = 1 << 63
_INT64_MIN = -(1 << 63)
_INT64_MAX = (1 << 63) - 1
_PROFILE = ord("p")
_DUE_PREFIX = struct.Struct(">cQ")
_LEVEL_0 = "rocksdb.num-files-at-level0"
_DUE_HEAD = 9  # the letter and the due time
# Numbers of level-0 files: loads pause above the first. RocksDB slows down writes at the second and stops
# them at the third, which would block the event loop.
_COMPACT_FILES = 40
_SLOW_FILES = 80
_STOP_FILES = 400
_MIN_FREE_BYTES = 16 << 20
_UNWRITABLE = "cannot be written"
_UNREADABLE = "cannot be read"
_LIVE_BUFFER = 64 << 20
_BULK_BUFFER = 8 << 20  # fits the CPU cache: random ids cost a third less
_ARENA_BLOCK = 256 << 10  # allocated by every partition, however little it writes
_LIVE = {"disable_auto_compactions": "false", "write_buffer_size": str(_LIVE_BUFFER)}
_BULK = {"disable_auto_compactions": "true", "write_buffer_size": str(_BULK_BUFFER)}
# Of a full memory table, allocated with its first entry: 32 KiB, 13 bits for each of 20,000 entries.
_FILTER_SHARE = 0.0005
_OPEN_FILES = 128  # per partition: far below the usual limit of a process with tens of partitions


def _due_bytes(due_ms: int) -> bytes:
    """Return bytes that sort like ``due_ms``: flipping the top bit puts times before 1970 first."""
    return _DUE_PREFIX.pack(b"d", due_ms + _TOP_BIT)


def _due_key(due_ms: int, profile_id: str) -> bytes:
    return _due_bytes(due_ms) + profile_id.encode()


def _due_of(key: bytes) -> tuple[int, str]:
    (flipped,) = struct.unpack_from(">Q", key, 1)
    return flipped - _TOP_BIT, key[_DUE_HEAD:].decode()


class RocksDBStore:
    """One partition's profiles in one RocksDB database."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options
        self._write_options = WriteOptions()
        self._write_options.sync = False
        self._load_options = WriteOptions()
        self._load_options.disable_wal = True  # type: ignore[method-assign, assignment]
        # No entry of the due index is earlier than this. A read of due profiles starts here instead of at the
        # tombstones of all timers that ever fired, and mostly needs no read at all.
        self._due_floor_ms = _INT64_MIN
        self._mode = _LIVE
        with _as_state_error(path, "cannot be opened"):
            path.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path)
        try:
            with _as_state_error(path, "cannot be opened"):
                self._db = Rdict(str(path), options)
        except StateError as error:
            os.close(self._lock)
            if shutil.disk_usage(path).free < _MIN_FREE_BYTES:
                raise StoreWriteError(f"{error} (the disk is full)") from error
            raise
        self._check_layout()

    def _check_layout(self) -> None:
        found = self._get(b"v")
        if found is None:
            self._db.put(b"v", _LAYOUT)
        elif found != _LAYOUT:
            self.close()
            raise StateError(f"{self._path}: expected layout {_LAYOUT!r}, got {found!r}")

    def get_many(self, profile_ids: Sequence[str]) -> list[bytes | None]:
        if not profile_ids:
            return []
        with _as_state_error(self._path, _UNREADABLE):
            states = self._db.get([b"p" + profile_id.encode() for profile_id in profile_ids])
        return cast("list[bytes | None]", states)

    def write(
        self, writes: Iterable[Write], meta: Mapping[str, bytes], rows: Iterable[RowWrite] = ()
    ) -> None:
        batch = WriteBatch(raw_mode=True)
        floor_ms = self._due_floor_ms
        for write in writes:
            _add(batch, write)
            if write.new_due_ms is not None and write.new_due_ms < floor_ms:
                floor_ms = write.new_due_ms
        _add_rows(batch, rows)
        self._write(batch, meta)
        self._due_floor_ms = floor_ms

    def _write(self, batch: WriteBatch, meta: Mapping[str, bytes]) -> None:
        for name, value in meta.items():
            batch.put(b"m" + name.encode(), value)
        with _as_state_error(self._path, _UNWRITABLE):
            self._db.write(batch, self._write_options)

    def rows(self, owner: str) -> list[tuple[bytes, bytes]]:
        prefix = row_prefix(owner)
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(after_prefix(prefix))
        found: list[tuple[bytes, bytes]] = []
        with _as_state_error(self._path, _UNREADABLE):
            rows = self._db.iter(bounds)
            rows.seek(prefix)
            while rows.valid():
                found.append((rows.key()[len(prefix) :], rows.value()))
                rows.next()
            rows.status()
        return found

    def row_owners(self, after: str | None, limit: int) -> list[str]:
        start = FIRST_ROW if after is None else after_prefix(row_prefix(after))
        owners: list[str] = []
        while len(owners) < limit and (keys := self._keys(start, AFTER_ROWS, 1)):
            owners.append(owner_in(keys[0]))
            start = after_prefix(row_prefix(owners[-1]))
        return owners

    def clear_rows(self, meta: Mapping[str, bytes]) -> None:
        batch = WriteBatch(raw_mode=True)
        batch.delete_range(FIRST_ROW, AFTER_ROWS)
        self._write(batch, meta)

    def load(self, rows: Iterable[Row], meta: Mapping[str, bytes]) -> None:
        self._set(_BULK)
        batch = WriteBatch(raw_mode=True)
        put, pack = batch.put, _due_bytes
        index: dict[bytes, bool] = {}
        for key, state, old_ms, new_ms in rows:
            if state is None:
                batch.delete(b"p" + key)
            else:
                put(b"p" + key, state)
            if old_ms == new_ms:
                continue
            if old_ms is not None:
                index[pack(old_ms) + key] = False
            if new_ms is not None:
                index[pack(new_ms) + key] = True
        _add_index(batch, index)
        for name, value in meta.items():
            put(b"m" + name.encode(), value)
        with _as_state_error(self._path, _UNWRITABLE):
            self._db.write(batch, self._load_options)
        if index:
            self._due_floor_ms = min(self._due_floor_ms, _due_of(min(index))[0])

    def flush(self) -> None:
        with _as_state_error(self._path, _UNWRITABLE):
            self._db.flush()
        self._set(_LIVE)

    def _set(self, options: dict[str, str]) -> None:
        if options is not self._mode:
            with _as_state_error(self._path, _UNWRITABLE):
                self._db.set_options(options)
            self._mode = options

    @property
    def needs_compaction(self) -> bool:
        with _as_state_error(self._path, _UNREADABLE):
            files = int(self._db.property_value(_LEVEL_0) or 0)
        if files > _COMPACT_FILES:
            self._set(_LIVE)
        return files > _COMPACT_FILES

    def due(self, until_ms: int, limit: int, after: Due | None = None) -> list[Due]:
        until_ms = min(until_ms, _INT64_MAX - 1)
        if until_ms < self._due_floor_ms or limit <= 0:
            return []
        start = _due_key(self._due_floor_ms, "") if after is None else _due_key(*after) + b"\0"
        found = [_due_of(key) for key in self._keys(start, _due_key(until_ms + 1, ""), limit)]
        if after is None:
            self._due_floor_ms = found[0][0] if found else until_ms + 1
        return found

    def profile_ids(self, after: str | None, limit: int) -> list[str]:
        start = b"p" if after is None else b"p" + after.encode() + b"\0"
        return [key[1:].decode() for key in self._keys(start, bytes([_PROFILE + 1]), limit)]

    def meta(self, name: str) -> bytes | None:
        return self._get(b"m" + name.encode())

    def close(self) -> None:
        try:
            with _as_state_error(self._path, "cannot be closed"), suppress(DbClosedError):
                self._db.close()
        finally:
            self._unlock()

    @property
    def closed(self) -> bool:
        """Whether the store is closed and its folder unlocked."""
        return self._lock < 0

    def _unlock(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def destroy(self) -> None:
        self.close()
        with _as_state_error(self._path, "cannot be removed"):
            Rdict.destroy(str(self._path), self._options)
            shutil.rmtree(self._path, ignore_errors=True)

    def _get(self, key: bytes) -> bytes | None:
        with _as_state_error(self._path, _UNREADABLE):
            value: bytes | None = self._db.get(key)
        return value

    def _keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(end)
        keys: list[bytes] = []
        with _as_state_error(self._path, _UNREADABLE):
            rows = self._db.iter(bounds)
            rows.seek(start)
            while len(keys) < limit and rows.valid():
                keys.append(rows.key())
                rows.next()
            rows.status()
        return keys


def _add(batch: WriteBatch, write: Write) -> None:
    key = b"p" + write.profile_id.encode()
    if write.state is None:
        batch.delete(key)
    else:
        batch.put(key, write.state)
    if write.old_due_ms == write.new_due_ms:
        return
    if write.old_due_ms is not None:
        batch.delete(_due_key(write.old_due_ms, write.profile_id))
    if write.new_due_ms is not None:
        batch.put(_due_key(write.new_due_ms, write.profile_id), b"")


def _add_rows(batch: WriteBatch, rows: Iterable[RowWrite]) -> None:
    for row in rows:
        key = row_prefix(row.owner) + row.name
        if row.value is None:
            batch.delete(key)
        else:
            batch.put(key, row.value)


def _add_index(batch: WriteBatch, index: Mapping[bytes, bool]) -> None:
    # Sorted and after the profiles: inserting adjacent keys into a memory table takes a fifth of the time.
    for key in sorted(index):
        if index[key]:
            batch.put(key, b"")
        else:
            batch.delete(key)


class RocksDBStores:
    """RocksDB stores by partition in one folder, sharing one read cache and one write buffer limit."""

    def __init__(self, directory: Path, *, block_cache_bytes: int, write_buffer_bytes: int) -> None:
        self._directory = directory
        self._cache = Cache(block_cache_bytes)
        self._write_buffers = WriteBufferManager(write_buffer_bytes, False)
        self._options = self._build_options()
        self._opened: list[RocksDBStore] = []

    def open(self, partition: int) -> ProfileStore:
        store = RocksDBStore(self._directory / str(partition), self._options)
        self._opened = [*(each for each in self._opened if not each.closed), store]
        return store

    def close(self) -> None:
        """Close every store that is still open."""
        for store in self._opened:
            store.close()
        self._opened.clear()

    @property
    def memory_bytes(self) -> int:
        """The memory used by the read cache and the write buffers."""
        return self._cache.get_usage() + self._write_buffers.get_usage()

    def _build_options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(self._table_options())
        options.set_write_buffer_manager(self._write_buffers)
        # Most profiles that are looked for are new: the filter spares a search of each memory table.
        options.set_memtable_prefix_bloom_ratio(_FILTER_SHARE)
        options.set_memtable_whole_key_filtering(True)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_max_open_files(_OPEN_FILES)
        options.set_max_background_jobs(2)
        options.set_write_buffer_size(_LIVE_BUFFER)
        options.set_arena_block_size(_ARENA_BLOCK)
        options.set_max_write_buffer_number(4)
        options.set_level_zero_slowdown_writes_trigger(_SLOW_FILES)
        options.set_level_zero_stop_writes_trigger(_STOP_FILES)
        options.set_keep_log_file_num(2)
        options.set_max_log_file_size(1 << 20)
        return options

    def _table_options(self) -> BlockBasedOptions:
        table = BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_bloom_filter(10, False)
        # In the bounded cache: otherwise the memory of indexes and filters would be unbounded.
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        return table


def _lock(path: Path) -> int:
    # RocksDB reports its own lock as a generic error, distinguishable from damage only by its text.
    try:
        return lock_folder(path)
    except OSError as error:
        raise StateError(f"profile store {path} cannot be opened: {error}") from error


@contextmanager
def _as_state_error(path: Path, failure: str) -> Iterator[None]:
    """Turn RocksDB's bare exceptions into errors that name the store to examine or remove."""
    try:
        yield
    except Exception as error:
        kind = StoreWriteError if failure == _UNWRITABLE else StateError
        raise kind(f"profile store {path} {failure}: {error}") from error
