"""The store implementations under test; the same suite runs against each."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.stores.base import StoreFactory
from segops.stores.memory import MemoryStores
from segops.stores.rocksdb import RocksDBStores


@pytest.fixture(params=["memory", "rocksdb"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> StoreFactory:
    if request.param == "memory":
        return MemoryStores()
    return RocksDBStores(tmp_path, block_cache_bytes=8 << 20, write_buffer_bytes=8 << 20)
