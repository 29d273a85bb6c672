"""Run an import: rows in transactions that hold the position, too, through outages of Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec
import xxhash

from segops.config import Settings
from segops.core.errors import RejectedEvent, UserError
from segops.core.values import format_instant
from segops.imports.mapping import ImportedEvent, RowMapper
from segops.imports.model import Form, ImportMap
from segops.imports.rows import Row, RowFile
from segops.imports.state import ImportState, content_hash, decode_state, encode_state
from segops.kafka.journal import Written, open_journal
from segops.kafka.outages import Outage, Pauses, is_outage
from segops.kafka.reachability import Unreachable
from segops.schemas.identifying import limits_of
from segops.wall_clock import wall_ms

#: A transaction holds so many rows, and about so many bytes.
_ROWS: Final = 5_000
_BYTES: Final = 4 << 20
#: If none of so many first rows becomes an event, the map is wrong.
_FIRST: Final = 1_000
_SLICE: Final = 250
_FENCED: Final = (
    "another process has begun to import this file, or Kafka was away for a minute: run it again to go on"
)

#: Called for each rejected row, before the rows are durable: after a crash perhaps once more.
OnRejected = Callable[[Row, RejectedEvent], None]


class Journal(Protocol):
    """Where an import keeps its records and its position, together."""

    async def read(self) -> bytes | None:
        """Return the latest position, or None before the first."""
        ...

    async def commit(self, records: list[Written], position: bytes) -> None:
        """Make all of the records and the position durable, or none."""
        ...


class Import:
    """The import of one file. ``again``: even if it was imported before."""

    def __init__(
        self,
        settings: Settings,
        path: Path,
        form: Form,
        mapping: ImportMap,
        *,
        on_rejected: OnRejected,
        again: bool = False,
    ) -> None:
        self._settings = settings
        self._path = path
        self._mapping = mapping
        self._on_rejected = on_rejected
        self._again = again
        self._hash = content_hash(path)
        self._map_hash = xxhash.xxh3_64_hexdigest(mapping.written)
        self.file = RowFile(path, form, mapping)
        self._started_ms = wall_ms()
        self.state = self._new()
        #: What an earlier run had made durable; None before this one has begun.
        self.before: ImportState | None = None

    @property
    def key(self) -> bytes:
        """The key of the position in the pulls topic."""
        return f"import:{self._hash}".encode()

    @property
    def transaction(self) -> str:
        """The end of the transactional id, which fences another import of the same file."""
        return f"import-{self._hash}"

    def _new(self) -> ImportState:
        return ImportState(file=self._path.name, map_hash=self._map_hash, started_ms=self._started_ms)

    async def run(self, journal: Journal, report: Callable[[ImportState], None]) -> None:
        """Import the rest of the file. Raises UserError if it was imported before, or its map is wrong."""
        await self._begin(journal)
        if self.before is None:
            self.before = msgspec.structs.replace(self.state)
        if self.state.done:
            return
        for batch in self._batches():
            events = await self._mapped(batch)
            if not self.state.events and self.state.rows <= _FIRST <= self.state.rows + len(batch):
                self._check_first(len(batch), events)
            await journal.commit(self._written(events, len(batch)), encode_state(self.state))
            report(self.state)
        self.state.done = True
        await journal.commit([], encode_state(self.state))
        report(self.state)

    async def _begin(self, journal: Journal) -> None:
        # After an outage only what is durable counts, not what was about to be written.
        self.state = self._new()
        found = await journal.read()
        state = None if found is None else decode_state(found)
        if state is None or (self._again and state.started_ms != self._started_ms):
            return
        if state.map_hash != self._map_hash:
            raise UserError(
                f"{self._path} was imported with another map at {format_instant(state.started_ms)}: its "
                "events would count twice unless both maps name the same messageId; pass --again to do it"
            )
        self.state = state

    def _batches(self) -> Iterator[list[Row]]:
        batch: list[Row] = []
        for row in self.file.rows(self.state.rows):
            batch.append(row)
            if len(batch) == _ROWS:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _mapped(self, batch: list[Row]) -> list[ImportedEvent]:
        mapper = self.mapper()
        events: list[ImportedEvent] = []
        for number, row in enumerate(batch, 1):
            try:
                events += mapper.events(row)
            except RejectedEvent as error:
                self.state.rejected += 1
                self._on_rejected(row, error)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        return events

    def mapper(self) -> RowMapper:
        """Return what maps the file's rows."""
        name, started_ms = f"import:{self._hash[:16]}:{self._map_hash[:8]}", self.state.started_ms
        return RowMapper(
            self._mapping.bound(started_ms), name, self._path.name, limits_of(self._settings), started_ms
        )

    def _check_first(self, rows: int, events: list[ImportedEvent]) -> None:
        if not events and self.state.rejected >= rows:
            raise UserError(
                f"{self._path}: none of the first {rows:,} rows becomes an event: nothing is imported"
            )

    def _written(self, events: list[ImportedEvent], rows: int) -> list[Written]:
        topic, state = self._settings.topics.events, self.state
        state.rows += rows
        state.events += len(events)
        for each in events:
            state.cover(each.time_ms)
        return [Written(topic, each.key, each.value, each.headers) for each in events]


async def run_import(
    settings: Settings,
    importing: Import,
    *,
    report: Callable[[ImportState], None],
    waiting: Callable[[str], None],
    passed: Callable[[str], None],
) -> None:
    """Import a file into Kafka. After an outage it goes on at its position; ``waiting`` gets the reason."""
    outage, pauses, connected = Outage(), Pauses(), False
    while True:
        try:
            opening = open_journal(
                settings, importing.transaction, key=importing.key, fenced=_FENCED, passed=passed
            )
            async with opening as journal:
                connected = True
                await importing.run(journal, report)
            return
        except Exception as error:
            wrong = isinstance(error, Unreachable) and not error.transient and not connected
            if not is_outage(error) or wrong:
                raise
            outage.failed(error)
            waiting(f"waiting for Kafka: {outage.reason}")
            await asyncio.sleep(pauses.take())
