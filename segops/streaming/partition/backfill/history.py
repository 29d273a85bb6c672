"""The history of one partition: its rows, and which records of the log they cover.

Records before the adoption of definitions are read from the log aside; from then on a row is kept of each
event that is applied. A gap that a crash or a move to another disk left is read in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from segops.core.backfill import Collector
from segops.core.events import Event
from segops.core.features import Feature
from segops.core.messages import Erase, Forget, Forward, Rows
from segops.core.profile import Profile
from segops.schemas.backfills import Coverage, decode_coverage, encode_coverage
from segops.schemas.events import decode
from segops.schemas.identifying import IdentityLimits
from segops.schemas.messages import decode_message
from segops.schemas.records import Record, origin_of
from segops.schemas.rows import encode_row
from segops.schemas.ticks import TYPE_HEADER
from segops.stores.base import ProfileStore, RowWrite
from segops.streaming.partition.backfill.rows import RowBuffer, owner_of, row_name
from segops.streaming.partition.snapshot import COVERAGE_META

#: Returns the index of each record from an offset to another, the end excluded, that has a row, with the
#: profile and the row; with None if Python has to read it.
ReadNative = Callable[[Collector, Sequence[Record], int, int], Iterable[tuple[int, tuple[str, bytes] | None]]]
#: The source of an event that a redirect forwarded: unknown, and before all others.
_UNKNOWN: Final = (-1, -1)


class History:
    """The rows of one partition. ``version``: the definitions that they are collected for; "": none."""

    def __init__(self, store: ProfileStore, limits: IdentityLimits) -> None:
        self.version = ""
        self.rows = RowBuffer(store)
        self._store = store
        self._limits = limits
        self._coverage = decode_coverage(store.meta(COVERAGE_META)) or Coverage([], [], 0, 0)
        #: Extracts the rows.
        self.collector = Collector({})
        #: Reads records of the log in place of Python, as far as it can.
        self.read_native: ReadNative | None = None
        self._stopped_at: int | None = None

    @property
    def has_rows(self) -> bool:
        """Whether the store may hold rows."""
        return bool(self._coverage.features)

    def resume(self, version: str, features: Mapping[int, Feature], offset: int, from_ms: int) -> None:
        """Continue after a restart at ``offset``: what no checkpoint has written is a gap."""
        known = self._coverage
        if not self._serves(features):
            self._begin(features, offset, from_ms)
        elif known.covered_to < offset:
            known.gaps.append((known.covered_to, offset))
            known.total += offset - known.covered_to
        self._aim(version, features)

    def collect_for(self, version: str, features: Mapping[int, Feature], offset: int, from_ms: int) -> None:
        """Collect for definitions from ``offset`` on.

        Rows that have all of the features are kept, if the collection was stopped at that very offset.
        """
        if self._stopped_at != offset or not self._serves(features):
            self._begin(features, offset, from_ms)
        self._stopped_at = None
        self._aim(version, features)

    def _serves(self, features: Mapping[int, Feature]) -> bool:
        return bool(self._coverage.features) and features.keys() <= set(self._coverage.features)

    def _begin(self, features: Mapping[int, Feature], offset: int, from_ms: int) -> None:
        gaps, since_ms = ([(0, offset)], from_ms) if offset and features else ([], 0)
        self._coverage = Coverage(list(features), gaps, offset, offset, since_ms, self._coverage.wiped)
        self.rows.clear({COVERAGE_META: encode_coverage(self._coverage)})

    def _aim(self, version: str, features: Mapping[int, Feature]) -> None:
        self.version, self.collector = version, Collector(features)
        self._coverage.features = list(features)

    def stop(self, offset: int | None = None) -> None:
        """Collect no more. The rows remain until ``clear``, or for ``collect_for`` at this ``offset``."""
        self.version, self._stopped_at = "", offset

    def clear(self) -> None:
        """Remove all rows, if nothing is collected."""
        if not self.version:
            self._stopped_at, self._coverage = None, Coverage([], [], 0, 0)
            self.rows.clear({COVERAGE_META: b""})

    # -- what is applied -----------------------------------------------------------------------

    @property
    def context_keys(self) -> frozenset[str]:
        """The parts of an event's context that the collected features read."""
        return self.collector.context_keys

    def note(self, profile_id: str, event: Event, record: Record, source: bytes | None = None) -> None:
        """Keep the row of an event of a profile. ``source``: ``<partition>:<offset>``; None: forwarded."""
        partition, offset = _UNKNOWN if source is None else map(int, source.split(b":"))
        row = self.collector.row(event, arrival_ms=record.timestamp, partition=partition, offset=offset)
        if row is None:
            return
        try:
            encoded = encode_row(row)
        except _UNSTORABLE:
            return  # no profile could be stored with this value, either
        self.keep(profile_id, record.offset, encoded)

    def keep(self, profile_id: str, offset: int, row: bytes) -> None:
        """Keep the row of the event at an offset, of a profile."""
        self._put(profile_id, profile_id, offset, [row])

    def take(self, message: Rows, record: Record) -> None:
        """Keep the rows of a source of the receiver."""
        if message.of == self.version:
            self._put(message.to, message.source, record.offset, message.rows)

    def _put(self, profile_id: str, source: str, offset: int, rows: Sequence[bytes]) -> None:
        if offset >= self._wiped_at(profile_id):
            for number, row in enumerate(rows):
                self.rows.put(owner_of(profile_id, source), row_name(offset, number), row)

    def wipe(self, profile_id: str, sources: Collection[str], offset: int) -> None:
        """Remove the rows of an erased profile up to ``offset``, and take none of earlier records."""
        until = max(self._wiped_at(profile_id), offset + 1)  # an earlier erasure may be read later
        self._coverage.wiped[_hash_of(profile_id)] = until
        for source in (profile_id, *sources):
            self.rows.remove(owner_of(profile_id, source), offset + 1)

    def _wiped_at(self, profile_id: str) -> int:
        wiped = self._coverage.wiped
        return wiped.get(_hash_of(profile_id), 0) if wiped else 0

    def of(self, profile: Profile) -> dict[str, list[bytes]]:
        """Return the rows of a profile, by the identifier that they came from, of those that it owns."""
        sources = (profile.id,) if profile.links is None else (profile.id, *profile.links.owned)
        first = row_name(self._wiped_at(profile.id))
        found = {
            source: [value for name, value in self.rows.of(owner_of(profile.id, source)) if name >= first]
            for source in dict.fromkeys(sources)
        }
        return {source: rows for source, rows in found.items() if rows}

    # -- what is read aside --------------------------------------------------------------------

    @property
    def gap(self) -> tuple[int, int] | None:
        """The next range of offsets to read, the end excluded; None: the rows are complete."""
        return self._coverage.gaps[0] if self._coverage.gaps else None

    @property
    def progress(self) -> tuple[int, int]:
        """How many offsets were read, of how many."""
        left = sum(end - start for start, end in self._coverage.gaps)
        return self._coverage.total - left, self._coverage.total

    @property
    def since_ms(self) -> int:
        """The Kafka timestamp from which the rows are complete; 0: there were no earlier events."""
        return self._coverage.since_ms

    def read(self, records: Sequence[Record], start: int, end: int, *, since_ms: int | None = None) -> bool:
        """Read the records from ``start`` to ``end`` of the log, and write their rows at once.

        Return False, and change nothing, if the gap does not begin at ``start`` (any more). ``since_ms``:
        the log was cut off, and is complete from then on.
        """
        gap = self.gap
        if gap is None or gap[0] != start:
            return False
        if not start and records and not records[0].offset:
            self._coverage.since_ms = 0  # this is the beginning of the log
        if since_ms is not None:
            self._coverage.since_ms = max(since_ms, self._coverage.since_ms)
        self._read_all(records, start, gap[1])
        if end < gap[1]:
            self._coverage.gaps[0] = (end, gap[1])
        else:
            del self._coverage.gaps[0]
        self._store.write([], {COVERAGE_META: encode_coverage(self._coverage)}, self.rows.take())
        return True

    def _read_all(self, records: Sequence[Record], start: int, end: int) -> None:
        if self.read_native is None:
            for record in records:
                if record.key is not None and start <= record.offset < end:
                    self._read(record)
            return
        for index, found in self.read_native(self.collector, records, start, end):
            if found is None:
                self._read(records[index])
            else:
                self.keep(found[0], records[index].offset, found[1])

    def _read(self, record: Record) -> None:
        try:
            if record.headers and record.headers[0][0] == TYPE_HEADER:
                if record.headers[0][1] in _READ:
                    self._read_message(record)
                return
            source, time_ms = origin_of(record.headers)
            event = decode(
                record.value or b"",
                time_ms=time_ms,
                default_id=source.decode(),
                limits=self._limits,
                context_keys=self.context_keys,
            )
            self.note((record.key or b"").decode(), event, record, source)
        except Exception:  # noqa: S110 - it was a dead letter when it was applied, too
            pass

    def _read_message(self, record: Record) -> None:
        message = decode_message(record.value)
        if isinstance(message, Forward):
            self.note(message.to, message.event, record)
        elif isinstance(message, Rows):
            self.take(message, record)
        elif isinstance(message, Erase | Forget):
            self.wipe(message.to, (), record.offset)

    # -- durability ----------------------------------------------------------------------------

    def writes(self, offset: int) -> tuple[dict[str, bytes], list[RowWrite]]:
        """Return the values and rows to write with a checkpoint at ``offset``."""
        if not self.version:
            return {}, []
        self._coverage.covered_to = max(offset, self._coverage.covered_to)
        return {COVERAGE_META: encode_coverage(self._coverage)}, self.rows.take()


#: Raised for values that no row can represent.
_UNSTORABLE: Final = (msgspec.MsgspecError, OverflowError, ValueError, TypeError, RecursionError)
_READ: Final = frozenset((b"forward", b"rows", b"erase", b"forget"))


def _hash_of(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest()
