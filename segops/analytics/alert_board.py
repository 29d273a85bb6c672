"""All alerts of a system, evaluated on the records of ``segops.sizes`` and ``segops.trends``.

The alerts are evaluated on minutes that every partition has ended: their records are final, so that the
crossings follow from the topics alone, whatever process evaluates them, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from segops.analytics.alert_log import AlertLog
from segops.analytics.alert_watch import AlertWatch, Verdict
from segops.analytics.intervals import MINUTE_MS
from segops.core.rules.alerts import Alert
from segops.schemas.alerts import (
    EVALUATED_KEY,
    AlertRecord,
    Evaluated,
    alert_id,
    alert_key,
    encode_alert,
)
from segops.schemas.sizes import (
    ENDED,
    POPULATION,
    EndedRecord,
    PopulationRecord,
    Published,
    SizeRecord,
    TrendRecord,
    decode_published,
    parse_key,
)

_UNKNOWN: Final = -1
#: Segments evaluated in one step.
_SLICE: Final = 200
#: What stands for the key of a segment in the records of partitions.
_NAMES: Final = (POPULATION.encode(), ENDED.encode())

#: A key and a value to publish; None deletes the key.
Entry = tuple[bytes, AlertRecord | Evaluated | None]


def encode_entry(entry: Entry) -> tuple[bytes, bytes | None]:
    """Return the key and the value of a record to publish."""
    key, record = entry
    return key, None if record is None else encode_alert(record)


def withdrawals(log: AlertLog, alerts: Mapping[str, Sequence[Alert]]) -> list[Entry]:
    """Return the records that remove alerts without a definition from the topic.

    An alert that fires is withdrawn first. Without any alert, up to when they are evaluated is removed, too.
    """
    defined = {alert_key(segment, alert) for segment, listed in alerts.items() for alert in listed}
    found: list[Entry] = []
    for name, record in sorted(log.latest.items()):
        if (key := name.encode()) not in defined:
            if record.state == "firing":
                at_ms = record.at_ms if log.evaluated is None else log.evaluated.until_ms
                found.append((key, msgspec.structs.replace(record, state="withdrawn", at_ms=at_ms)))
            found.append((key, None))
    if log.evaluated is not None and not defined:
        found.append((EVALUATED_KEY, None))
    return found


class _Segment:
    """The alerts of one segment, and what its partitions report."""

    def __init__(self, key: str, alerts: Sequence[Alert]) -> None:
        self.key = key
        self.sizes: dict[int, SizeRecord] = {}
        self.watches: dict[bytes, AlertWatch] = {}
        self._alerts = alerts

    def begin(self, partitions: int, at_ms: int) -> None:
        """Evaluate from an instant on."""
        self.watches = {
            alert_key(self.key, each): AlertWatch(each, partitions, at_ms) for each in self._alerts
        }

    def is_complete(self, partitions: int) -> bool:
        """Return whether all partitions have the segment, and none of them still counts its history."""
        found = self.sizes.values()
        return len(found) == partitions and all(each.state != "building" for each in found)

    def members(self, watch: AlertWatch, truncated: Collection[int]) -> int:
        """Return the members at the ends of the partitions' latest minutes."""
        members = 0
        for partition, size in self.sizes.items():
            then = watch.members_in(partition)
            if then is None:  # they are older than what is retained, or entered in the minute in progress
                unknown = size.entered.get("unknown", 0) - size.left.get("unknown", 0)
                then = size.members if partition in truncated else unknown
            members += then
        return members


class AlertBoard:
    """Evaluates ``alerts``, which are by segment, beginning where ``log`` says that a former process ended.

    Records of one partition must be applied in their order; partitions in any order, but sizes first where
    nothing is evaluated yet: the alerts are then evaluated from the present clock on. Only records of the
    latest generation with this number of ``partitions`` count. ``truncated`` are the partitions of the trends
    topic whose oldest records retention has deleted.
    """

    def __init__(
        self,
        alerts: Mapping[str, Sequence[Alert]],
        log: AlertLog,
        partitions: int,
        truncated: Collection[int] = (),
    ) -> None:
        #: Records that could not be read.
        self.unreadable = 0
        self._alerts = alerts
        self._partitions = partitions
        self._truncated = frozenset(truncated)
        self._firing = {key: each for key, each in log.latest.items() if each.state == "firing"}
        found = log.evaluated
        self._generation = _UNKNOWN if found is None else found.generation
        self._reset(None if found is None else found.until_ms)

    def _reset(self, until_ms: int | None) -> None:
        self._ended = [0] * self._partitions
        self._clocks: dict[int, int] = {}
        #: The minute of the first record of each truncated partition.
        self._oldest: dict[int, int] = {}
        self._segments = {key.encode(): _Segment(key, alerts) for key, alerts in self._alerts.items()}
        self._until_ms = until_ms
        if until_ms is not None:
            self._begin(until_ms)

    def _begin(self, until_ms: int) -> None:
        self._until_ms = until_ms
        for segment in self._segments.values():
            segment.begin(self._partitions, until_ms)

    @property
    def until_ms(self) -> int:
        """Up to when the alerts are evaluated."""
        return self._until_ms or 0

    @property
    def firing(self) -> Collection[AlertRecord]:
        """The records of the alerts that fire."""
        return self._firing.values()

    # -- records -----------------------------------------------------------------------------------------

    def apply(self, key: bytes | None, value: bytes | None) -> str | None:
        """Apply a record of either topic; return the key of its segment if that has alerts."""
        name = (key or b"").partition(b"|")[0]
        if name not in self._segments and name not in _NAMES and len(self._oldest) == len(self._truncated):
            return None
        try:
            found = parse_key(key or b"")
            if found.minute_ms is not None and found.partition in self._truncated:
                self._oldest.setdefault(found.partition, found.minute_ms)
            if value is not None:
                self._take(name, decode_published(found, value))
            elif name in self._segments and found.generation == self._generation:
                self._segments[name].sizes.pop(found.partition, None)
        except (ValueError, OverflowError, msgspec.MsgspecError):
            self.unreadable += 1
        return name.decode() if name in self._segments else None

    def _take(self, name: bytes, record: Published) -> None:
        if record.partitions != self._partitions or not 0 <= record.partition < self._partitions:
            return
        if record.generation > self._generation:
            is_first, self._generation = self._generation == _UNKNOWN, record.generation
            self._reset(None if is_first else 0)
        if record.generation == self._generation:
            self._fold(name, record)

    def _fold(self, name: bytes, record: Published) -> None:
        partition = record.partition
        if isinstance(record, PopulationRecord):
            self._clocks[partition] = record.clock_ms
        elif isinstance(record, EndedRecord):
            self._ended[partition] = max(self._ended[partition], record.until_ms)
        elif name in self._segments and isinstance(record, SizeRecord):
            self._segments[name].sizes[partition] = record
        elif name in self._segments and isinstance(record, TrendRecord):
            self._begin_once()
            for watch in self._segments[name].watches.values():
                watch.note(record)

    def _begin_once(self) -> None:
        """Begin at the present clock, or with the first minute while a partition has not reported any."""
        if self._until_ms is None:
            all_known = len(self._clocks) == self._partitions
            self._begin(min(self._clocks.values()) // MINUTE_MS * MINUTE_MS if all_known else 0)

    # -- evaluation --------------------------------------------------------------------------------------

    def evaluate(self) -> Iterator[list[Entry]]:
        """Evaluate the minutes that all partitions have ended since; yield what must be published of it.

        Other work may run between two steps, of which each takes a few milliseconds, but no record may be
        applied. The caller publishes all or nothing, and discards the board if that fails.
        """
        until_ms = min(self._ended)
        if not until_ms:
            return
        self._begin_once()
        if until_ms <= self.until_ms:
            return
        bounds = until_ms, max(self._oldest.values(), default=0)
        segments = iter(self._segments.values())
        while slice_ := list(islice(segments, _SLICE)):
            yield [entry for segment in slice_ for entry in self._evaluate_all(segment, bounds)]
        self._until_ms = until_ms
        yield [(EVALUATED_KEY, Evaluated(self._generation, until_ms))]

    def _evaluate_all(self, segment: _Segment, bounds: tuple[int, int]) -> Iterator[Entry]:
        for key, watch in segment.watches.items():
            yield from self._evaluate(segment, key, watch, bounds)

    def _evaluate(
        self, segment: _Segment, key: bytes, watch: AlertWatch, bounds: tuple[int, int]
    ) -> Iterator[Entry]:
        until_ms, known_ms = bounds
        if not segment.is_complete(self._partitions):
            watch.skip(until_ms)
            return
        members = segment.members(watch, self._truncated) if watch.of_members else 0
        for verdict in watch.evaluate(until_ms, members, known_ms):
            name = key.decode()
            former = self._firing.get(name)
            if verdict.holds == (former is not None):
                continue
            record = self._record(segment.key, name, watch.alert, verdict)
            if verdict.holds:
                self._firing[name] = record
            else:
                del self._firing[name]
            yield key, record

    def _record(self, segment_key: str, name: str, alert: Alert, verdict: Verdict) -> AlertRecord:
        former = self._firing.get(name)
        since_ms = verdict.at_ms if former is None else former.since_ms
        return AlertRecord(
            alert_id=alert_id(name, self._generation, since_ms) if former is None else former.alert_id,
            segment_key=segment_key,
            alert=alert.text,
            state="firing" if former is None else "recovered",
            since_ms=since_ms,
            at_ms=verdict.at_ms,
            number=verdict.number,
            former=verdict.former,
        )
