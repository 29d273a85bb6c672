"""Fetched record batches read by the kernel, from the bytes that aiokafka fetched.

aiokafka hides these bytes in an object of its own, so its fetcher gets a class that keeps them. Formats and
compressions that the kernel does not read, control batches and damage are left to aiokafka, batch by batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

log = logging.getLogger(__name__)

_SNAPPY = 2


class RecordsInBytes(MemoryRecords):  # type: ignore[misc]
    """aiokafka's records of one fetch, with their bytes: ``data``."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class BatchReader:
    """Reads batches by the kernel once ``use`` was called with it, by aiokafka until then."""

    def __init__(self) -> None:
        self._native: Any = None

    @property
    def uses_kernel(self) -> bool:
        """Whether the kernel reads batches."""
        return self._native is not None

    def use(self, native: Any) -> None:
        """Read by the kernel from now on, if both read a sample equally; None: by aiokafka."""
        self._native = None
        if native is None:
            return
        reason = disagreement(native)
        if reason:
            log.warning("fetched batches are read by aiokafka, not by the kernel: %s", reason)
        else:
            aiokafka.consumer.fetcher.MemoryRecords = RecordsInBytes
            self._native = native

    def batches(self, memory: Any) -> Iterator[Any]:
        """Yield the batches of aiokafka's records of one fetch."""
        data = getattr(memory, "data", None)
        found = None if self._native is None or not isinstance(data, bytes) else self._native.batches_of(data)
        if found is None:
            while memory.has_next():
                yield memory.next_batch()
        else:
            for batch in found:
                yield client_batch(memory, batch) if batch.is_control_batch else batch

    def records(self, memory: Any, batch: Any, begin: int) -> Any:
        """Return the records of a batch from the offset ``begin`` on: the kernel's, or an iterable."""
        if self._native is not None and isinstance(batch, self._native.Batch):
            found = batch.records(begin)
            if found is not None:
                return found
            batch = client_batch(memory, batch)
        return batch if batch.base_offset >= begin else (each for each in batch if each.offset >= begin)

    def is_native(self, records: Any) -> bool:
        """Return whether ``records`` returned records of the kernel."""
        return self._native is not None and isinstance(records, self._native.Records)


def client_batch(memory: Any, batch: Any) -> Any:
    """Return aiokafka's object for a batch that the kernel has divided off."""
    start, end = batch.place
    return MemoryRecords(memory.data[start:end]).next_batch()


def disagreement(native: Any) -> str:
    """Return how the kernel and aiokafka differ on a sample; "" if they agree."""
    try:
        for codec in (0, _SNAPPY):
            data = _sample(codec)
            kept = RecordsInBytes(data)
            (batch,) = native.batches_of(kept.data)
            expected = MemoryRecords(data).next_batch()
            same = (batch.base_offset, batch.next_offset, batch.producer_id, batch.is_transactional)
            if same != (
                expected.base_offset,
                expected.next_offset,
                expected.producer_id,
                expected.is_transactional,
            ):
                return "the heads of batches differ"
            if not batch.validate_crc() or [*map(_fields, batch.records(0))] != [*map(_fields, expected)]:
                return "records differ"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _fields(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, [*record.headers]


def _sample(codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, True, 7, 1, 5, 1 << 20)
    headers = [("segops-source", b"0:1"), ("none", None)]
    for offset, (key, value) in enumerate([(b"k", b"v" * 100), (None, b"w" * 100), (b"k", None)]):
        builder.append(offset, 1_000 - offset, key=key, value=value, headers=headers[: offset or 2])
    return bytes(builder.build())


#: The reader of this process.
READER = BatchReader()
