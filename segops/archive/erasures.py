"""The erasures that the archive must carry out: read from the receipts topic, applied to rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.archive.identifiers import hash_of_hex, identifier_hash, redacted, type_of
from segops.archive.tables import ArchivedRecord, ArchiveRow, Table
from segops.kafka.reading import read_to_end
from segops.schemas.erasures import Receipt, decode_receipt


class Erasure(NamedTuple):
    """An erased identifier: its hash, its receipt, and where the receipt was read."""

    identifier_hash: int
    receipt: Receipt
    partition: int
    offset: int


class _Cutoff(NamedTuple):
    """Up to where records of an identifier are erased: by offset in its partition, elsewhere by time."""

    partition: int
    offset: int
    at_ms: int


class Erasures:
    """Every erasure of the application so far: a record that precedes one may be archived at any time.

    ``positions``: the offsets up to which the partitions of the receipts topic are read.
    """

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self._all: list[Erasure] = []
        self._cutoffs: dict[int, _Cutoff] = {}

    def add(self, partition: int, offset: int, value: bytes | None) -> None:
        """Add a record of the receipts topic. Unreadable ones are passed over."""
        self.positions[partition] = offset + 1
        try:
            receipt = decode_receipt(value or b"")
            hashed = hash_of_hex(receipt.identifier_sha256)
        except (msgspec.MsgspecError, ValueError):
            return
        self._all.append(Erasure(hashed, receipt, partition, offset))
        known = self._cutoffs.get(hashed, _Cutoff(partition, -1, -1))
        upto = -1 if receipt.offset is None else receipt.offset
        self._cutoffs[hashed] = _Cutoff(
            partition, max(known.offset, upto), max(known.at_ms, receipt.erased_at)
        )

    def since(self, positions: Mapping[int, int]) -> list[Erasure]:
        """Return the erasures whose receipts were read at or after these offsets."""
        return [each for each in self._all if each.offset >= positions.get(each.partition, 0)]

    def apply(self, row: ArchiveRow, table: Table, partition: int) -> ArchiveRow | None:
        """Return the row that may remain in the archive: itself, a redacted one, or None."""
        if not self._cutoffs or not row.identifiers:
            return row
        erased = list(self._erased(row, table, partition))
        if not erased:
            return row
        record = row.record
        if record.value is None or row.identifiers[0] in erased or type_of(record) is not None:
            return None
        return self._redacted(row, erased, table, partition)

    def _redacted(
        self, row: ArchiveRow, erased: list[str], table: Table, partition: int
    ) -> ArchiveRow | None:
        record = row.record
        try:
            value = redacted(record.value or b"", erased)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        kept = ArchivedRecord(record.offset, record.timestamp, record.key, value, record.headers)
        again = table.describe(kept)._replace(written_ms=row.written_ms, redacted=True)
        return None if any(self._erased(again, table, partition)) else again

    def _erased(self, row: ArchiveRow, table: Table, partition: int) -> Iterator[str]:
        for identifier in row.identifiers:
            cutoff = self._cutoffs.get(identifier_hash(identifier))
            if cutoff is not None and _precedes(row, cutoff, table.is_log and partition == cutoff.partition):
                yield identifier


def _precedes(row: ArchiveRow, cutoff: _Cutoff, by_offset: bool) -> bool:
    """Tell whether a row is older than an erasure. Receipts of earlier versions have no offset."""
    if by_offset and cutoff.offset >= 0:
        return row.record.offset <= cutoff.offset
    return row.written_ms <= cutoff.at_ms


class ErasureReader:
    """Follows the receipts topic with a consumer of its own, which must be started and have no group."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, partitions: int) -> None:
        self.erasures = Erasures()
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]

    async def begin(self) -> None:
        """Read all receipts so far."""
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        await self.read()

    async def read(self) -> None:
        """Read the receipts up to the present ends of the topic."""
        async for record in read_to_end(self._consumer, self._partitions):
            self.erasures.add(record.partition, record.offset, record.value)
