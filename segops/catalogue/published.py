"""The catalogue topic: a record per entry, and one with the position behind all of them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from segops.catalogue.counters import Catalogue, Entry
from segops.config import Settings
from segops.core.errors import SegopsError, UserError
from segops.kafka import reading
from segops.kafka.clients import running_producer
from segops.kafka.topics import single_partition

log = logging.getLogger(__name__)

_POSITION_KEY: Final = b"position"
_VERSION: Final = 1
_TRANSACTION_TIMEOUT_MS: Final = 60_000
_PRODUCER: Final = {"linger_ms": 5, "max_batch_size": 512 * 1024, "compression_type": "lz4"}
_MAX_RECORD_BYTES: Final = 900_000


class Progress(msgspec.Struct):
    """Up to where the events topic is counted: the next offset by partition. ``salt``: that of the hashes."""

    version: int
    salt: str
    offsets: dict[int, int] = {}


_encode = msgspec.json.Encoder().encode
_progress = msgspec.json.Decoder(Progress)
_entry = msgspec.json.Decoder(Entry)


def key_of(entry: Entry) -> bytes:
    """Return the key of an entry's record."""
    return _encode(list(entry.key))


class Stored(msgspec.Struct):
    """What the topic holds."""

    progress: Progress
    entries: list[Entry]


def stored_of(records: Iterable[Any]) -> Stored:
    """Return what the records of the topic hold. An unreadable entry is left out: its counts begin again.

    Raises SegopsError for the position of another version.
    """
    progress, entries = Progress(_VERSION, secrets.token_hex(8)), dict[bytes, Entry]()
    for record in records:
        try:
            if record.key == _POSITION_KEY and record.value is not None:
                progress = _progress.decode(record.value)
                continue
            entries.pop(record.key, None)
            if record.value is not None:
                entry = _entry.decode(record.value)
                entries[key_of(entry)] = entry
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("skipping catalogue record %d (key %r): %s", record.offset, record.key, error)
    if progress.version != _VERSION:
        raise SegopsError(f"the catalogue is of version {progress.version}, this program knows {_VERSION}")
    return Stored(progress, list(entries.values()))


async def read(settings: Settings) -> list[Entry]:
    """Return the entries of the catalogue. Raises UserError if its topic is missing."""
    return (await _read(settings)).entries


async def _read(settings: Settings) -> Stored:
    partition = await single_partition(settings.kafka, settings.topics.catalogue)
    return stored_of(await reading.read_all(settings.kafka, partition))


class CatalogueJournal:
    """Makes counts durable together with the position behind them. ``passed`` is called at each failpoint."""

    def __init__(self, topic: str, producer: AIOKafkaProducer, *, passed: Callable[[str], None]) -> None:
        self._topic = topic
        self._producer = producer
        self._passed = passed

    async def commit(self, catalogue: Catalogue, offsets: Mapping[int, int]) -> None:
        """Write the changed entries and the position in one transaction.

        Raises UserError if another process has begun to count.
        """
        records = [
            (key_of(entry), _value(entry)) for entry in map(catalogue.entries.__getitem__, catalogue.changed)
        ]
        position = _encode(Progress(_VERSION, catalogue.salt, dict(offsets)))
        try:
            async with self._producer.transaction():
                sent = [
                    await self._producer.send(self._topic, value, key=key, partition=0)
                    for key, value in [*records, (_POSITION_KEY, position)]
                ]
                await self._producer.flush()
                await asyncio.gather(*sent)  # the client would commit even after a failed delivery
                self._passed("catalogue_in_transaction")
        except (ProducerFenced, InvalidProducerEpoch):
            raise UserError("another process counts for the catalogue; this one stops") from None
        self._passed("catalogue_after_commit")
        catalogue.changed.clear()


def _value(entry: Entry) -> bytes:
    """Return an entry's record, without the labels of its fields if it were too large for a broker."""
    value = _encode(entry)
    if len(value) > _MAX_RECORD_BYTES:
        for field in entry.fields.values():
            field.labels = None
        value = _encode(entry)
    return value


@asynccontextmanager
async def open_journal(
    settings: Settings, *, passed: Callable[[str], None]
) -> AsyncIterator[tuple[CatalogueJournal, Stored]]:
    """Open the journal, and read what is stored after ending the transaction of any other process.

    Raises UserError if the topic is missing, Unreachable if no broker answers.
    """
    await single_partition(settings.kafka, settings.topics.catalogue)
    options = {
        "transactional_id": f"{settings.worker.app_id}-catalogue",
        "transaction_timeout_ms": _TRANSACTION_TIMEOUT_MS,
        **_PRODUCER,
    }
    async with running_producer(settings.kafka, **options) as producer:
        journal = CatalogueJournal(settings.topics.catalogue, producer, passed=passed)
        yield journal, await _read(settings)
