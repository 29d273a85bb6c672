"""The store on disk: crashes, locks, damage, memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from segops.core.errors import StateError
from segops.stores.base import Write
from segops.stores.rocksdb import RocksDBStores


def rocksdb_stores(directory: Path) -> RocksDBStores:
    return RocksDBStores(directory, block_cache_bytes=8 << 20, write_buffer_bytes=8 << 20)


#: Writes batches, each with its number in the meta and in every state, and prints the number.
WRITER = """
import sys
from pathlib import Path
from segops.stores.base import Write
from segops.stores.rocksdb import RocksDBStores

stores = RocksDBStores(Path(sys.argv[1]), block_cache_bytes=1 << 20, write_buffer_bytes=1 << 20)
store = stores.open(0)
n = 0
while True:
    n += 1
    writes = [Write(f"p{k}", b"%d" % n * 50, n - 1 if n > 1 else None, n) for k in range(200)]
    store.write(writes, {"batch": b"%d" % n})
    print(n, flush=True)
"""


#: The same as bulk loads, with states of 20 KB, so that memtables are flushed all the time.
LOADER = """
import os, sys
from pathlib import Path
from segops.stores.rocksdb import RocksDBStores

store = RocksDBStores(Path(sys.argv[1]), block_cache_bytes=1 << 20, write_buffer_bytes=1 << 20).open(0)
n = 0
while True:
    n += 1
    rows = [(b"p%d" % k, b"%d " % n + os.urandom(20_000), n - 1 if n > 1 else None, n) for k in range(20)]
    store.load(rows, {"batch": b"%d" % n})
    print(n, flush=True)
"""


def killed_writer(folder: Path, batches: int, writer: str = WRITER) -> int:
    """Run the writer, kill it once it has printed ``batches``, and return the last number printed."""
    process = subprocess.Popen([sys.executable, "-c", writer, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reported = 0
    for line in process.stdout:
        reported = int(line)
        if reported == batches:
            os.kill(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()
    return reported


@pytest.mark.parametrize("batches", [1, 7, 60])
def test_killed_process_loses_and_tears_no_batch(tmp_path: Path, batches: int) -> None:
    reported = killed_writer(tmp_path, batches)
    store = rocksdb_stores(tmp_path).open(0)
    stored = int(store.meta("batch") or b"0")
    assert stored in (reported, reported + 1)
    assert set(store.get_many([f"p{k}" for k in range(200)])) == {b"%d" % stored * 50}
    assert store.due(10**9, 1_000) == sorted((stored, f"p{k}") for k in range(200))
    store.close()


@pytest.mark.parametrize("batches", [1, 50, 130])
def test_killed_process_leaves_a_consistent_prefix_of_a_load(tmp_path: Path, batches: int) -> None:
    reported = killed_writer(tmp_path, batches, LOADER)
    store = rocksdb_stores(tmp_path).open(0)
    stored = int(store.meta("batch") or b"0")
    assert stored <= reported + 1
    assert batches == 1 or stored > 0
    states = store.get_many([f"p{k}" for k in range(20)])
    assert {state and int(state.partition(b" ")[0]) for state in states} == {stored or None}
    assert store.due(10**9, 1_000) == (sorted((stored, f"p{k}") for k in range(20)) if stored else [])
    store.close()


@pytest.mark.parametrize("end", ["flush", "close"])
def test_load_is_durable_after_flush_or_close(tmp_path: Path, end: str) -> None:
    code = (
        "import os, sys; from pathlib import Path; from segops.stores.rocksdb import RocksDBStores;"
        "stores = RocksDBStores(Path(sys.argv[1]), block_cache_bytes=1 << 20, write_buffer_bytes=1 << 20);"
        "store = stores.open(0);"
        "store.load([(b'a', b'1', None, 5)], {'n': b'1'}); getattr(store, sys.argv[2])(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), end], check=True)
    store = rocksdb_stores(tmp_path).open(0)
    assert (store.get_many(["a"]), store.due(5, 1), store.meta("n")) == ([b"1"], [(5, "a")], b"1")
    store.close()


#: Writes until the disk is full, simulated by a limit on file size; prints its progress.
FILLER = """
import os, resource, signal, sys
from pathlib import Path
from segops.core.errors import StoreWriteError
from segops.stores.base import Write
from segops.stores.rocksdb import RocksDBStores

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = RocksDBStores(Path(sys.argv[1]), block_cache_bytes=1 << 20, write_buffer_bytes=8 << 20).open(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
n = 0
try:
    while True:
        n += 1
        store.write([Write(f"p{k}", b"%d " % n + os.urandom(2_000)) for k in range(20)], {"n": b"%d" % n})
except StoreWriteError as error:
    print(n - 1, error, flush=True)
os._exit(0)
"""


def test_full_disk_is_reported_and_no_written_batch_is_lost(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path)], capture_output=True, text=True, check=True
    )
    written, _, message = run.stdout.partition(" ")
    assert int(written) > 3
    assert f"profile store {tmp_path / '0'} cannot be written" in message
    store = rocksdb_stores(tmp_path).open(0)
    assert store.meta("n") == written.encode()
    states = store.get_many([f"p{k}" for k in range(20)])
    assert {state and state.partition(b" ")[0] for state in states} == {written.encode()}
    store.write([Write("p0", b"more")], {})
    store.close()


def test_two_processes_cannot_share_a_store(tmp_path: Path) -> None:
    store = rocksdb_stores(tmp_path).open(0)
    code = (
        "import sys; from pathlib import Path; from segops.stores.rocksdb import RocksDBStores;"
        "RocksDBStores(Path(sys.argv[1]), block_cache_bytes=1 << 20, write_buffer_bytes=1 << 20).open(0)"
    )
    other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    store.close()
    assert other.returncode == 1
    assert "StoreInUseError" in other.stderr
    assert str(tmp_path / "0") in other.stderr


@pytest.mark.parametrize("damage", ["CURRENT", "MANIFEST", "*.sst"])
def test_damaged_store_is_rejected_with_its_path(tmp_path: Path, damage: str) -> None:
    store = rocksdb_stores(tmp_path).open(0)
    store.write([Write(f"p{n}", os.urandom(100)) for n in range(1_000)], {})
    store.close()
    victims = [
        file for file in (tmp_path / "0").iterdir() if file.match(damage) or file.name.startswith(damage)
    ]
    assert victims
    for file in victims:
        file.write_bytes(b"not what was written here")
    with pytest.raises(StateError, match=str(tmp_path / "0")):
        broken = rocksdb_stores(tmp_path).open(0)
        broken.get_many(["p1"])
    # The remedy of an operator or of recovery: delete the store and start empty.
    fresh = tmp_path / "0"
    for file in fresh.iterdir():
        file.unlink()
    rocksdb_stores(tmp_path).open(0).close()


def test_layout_of_another_version_is_rejected(tmp_path: Path) -> None:
    stores = rocksdb_stores(tmp_path)
    store: Any = stores.open(0)
    store._db.put(b"v", b"99")
    store.close()
    with pytest.raises(StateError, match="layout"):
        stores.open(0)
    with pytest.raises(StateError, match="layout"):  # and the lock was released
        stores.open(0)


def test_folder_that_cannot_be_created_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="cannot be opened"):
        rocksdb_stores(tmp_path / "file").open(0)


def test_destroy_deletes_the_files(tmp_path: Path) -> None:
    store = rocksdb_stores(tmp_path).open(0)
    store.write([Write("a", b"1")], {})
    store.destroy()
    assert list(tmp_path.iterdir()) == []


def test_memory_is_bounded_across_partitions(tmp_path: Path) -> None:
    stores = RocksDBStores(tmp_path, block_cache_bytes=4 << 20, write_buffer_bytes=4 << 20)
    opened = [stores.open(partition) for partition in range(8)]
    for batch in range(20):
        for store in opened:
            ids = range(batch * 500, batch * 500 + 500)
            store.write([Write(f"p{n}", os.urandom(400), None, n) for n in ids], {})
    for store in opened:
        store.get_many([f"p{n}" for n in range(10_000)])
    # 32 MiB were written and read; 4 + 4 MiB stay in memory, and per partition one or two blocks of 256 KiB,
    # each with a filter of 32 KiB.
    # RocksDB compares all write buffers with their limit at a write only: if flushes were slow, more stays in
    # memory until the next write.
    until = time.monotonic() + 30
    while stores.memory_bytes >= 12 << 20 and time.monotonic() < until:
        for store in opened:
            store.write([Write("p0", os.urandom(400), None, 0)], {})
        time.sleep(0.05)
    parts = {"cache": stores._cache.get_usage(), "pinned": stores._cache.get_pinned_usage()}
    assert stores.memory_bytes < 12 << 20, parts
    for store in opened:
        store.close()
