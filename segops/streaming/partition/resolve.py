"""The resolve step of one partition of raw events: forward each event to the partition of its profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from segops.core.errors import RejectedEvent
from segops.schemas.origin import Mark
from segops.schemas.records import FROM_HEADER, SOURCE_HEADER, TIME_HEADER, Record
from segops.schemas.ticks import TYPE_HEADER, decode_tick, is_tick, source_tick
from segops.streaming.partition.control import BROADCASTS, ON_EVENTS, REQUESTS
from segops.streaming.partition.marks import LastRecord
from segops.streaming.partition.output import Output, ResolveCounts

MALFORMED: Final = "internal"
_KINDS: Final = REQUESTS.keys() | BROADCASTS.keys()


class ForwardedEvent(Protocol):
    """The profile and the time of an event."""

    @property
    def profile_id(self) -> str: ...
    @property
    def time_ms(self) -> int: ...
    @property
    def clamped(self) -> bool: ...


class Route(Protocol):
    """Resolves an event to its profile and time; ``repairs`` counts repairs. Raises RejectedEvent."""

    def __call__(
        self, value: bytes | None, *, now_ms: int, default_time_ms: int, repairs: Counter[str]
    ) -> ForwardedEvent: ...


class ResolveProcessor:
    """One owned partition of raw events.

    With ``event_clock`` it reports the watermark of its source to all partitions of profile events. In each
    of them the ticks follow the records that they cover.
    """

    def __init__(
        self,
        source: int,
        *,
        route: Route,
        output: Output,
        event_clock: bool,
        offset: int = 0,
        watermark_ms: int = 0,
        mark: Mark | None = None,
    ) -> None:
        self.source = source
        self.offset = offset
        self.watermark_ms = watermark_ms
        #: Kafka timestamp of the last forwarded record, in ms.
        self.forwarded_ms: int | None = None
        self.counts = ResolveCounts()
        self._route = route
        self._output = output
        self._event_clock = event_clock
        self._last = LastRecord(mark)
        self._reported: tuple[int, bool] | None = None
        self._quiet_since_ms: int | None = None

    def process(self, records: Sequence[Record], *, now_ms: int) -> None:
        """Forward records in log order; invalid events go to the dead-letter topic.

        ``now_ms`` is the wall clock: an event too far ahead of it is clamped.
        """
        self._process(records, now_ms)
        if records and records[-1].offset == self.offset - 1:
            self._last.read(records[-1])
        self.counts.records += len(records)
        self._quiet_since_ms = None

    def _process(self, records: Sequence[Record], now_ms: int) -> None:
        for record in records:
            if record.offset >= self.offset:
                self._one(record, now_ms)

    def _one(self, record: Record, now_ms: int) -> None:
        if record.headers and is_tick(record.headers):
            self._control(record)
        elif record.headers and (kind := dict(record.headers).get(TYPE_HEADER, b"")) in _KINDS:
            self._misplaced(record, kind)
        else:
            self._event(record, now_ms)
        self.offset = record.offset + 1
        self.forwarded_ms = record.timestamp

    def _event(self, record: Record, now_ms: int) -> None:
        try:
            routed = self._route(
                record.value, now_ms=now_ms, default_time_ms=record.timestamp, repairs=self.counts.repairs
            )
        except RejectedEvent as rejection:
            self.counts.rejected[rejection.reason] += 1
            self._output.dead_letter(record, rejection.reason, rejection.detail)
            return
        if routed.clamped:
            self.counts.clamped += 1
        self._forward(record, routed.profile_id.encode(), routed.time_ms)

    def _forward(self, record: Record, key: bytes, time_ms: int) -> None:
        if time_ms > self.watermark_ms:
            self.watermark_ms = time_ms
        headers = [
            (SOURCE_HEADER, b"%d:%d" % (self.source, record.offset)),
            (TIME_HEADER, b"%d" % time_ms),
        ]
        if record.headers:  # of an event that was mapped: where its record is
            headers += [header for header in record.headers if header[0] == FROM_HEADER]
        self._output.forward(key, record.value, headers=headers, timestamp=record.timestamp)

    def _control(self, record: Record) -> None:
        try:
            watermark_ms = decode_tick(record.value).watermark_ms
            if watermark_ms is None:
                raise ValueError("missing watermark_ms in a tick")
        except ValueError as error:
            self.counts.rejected[MALFORMED] += 1
            self._output.dead_letter(record, MALFORMED, str(error))
            return
        self.watermark_ms = max(self.watermark_ms, watermark_ms)
        self._report_watermark(idle=False)

    def _misplaced(self, record: Record, kind: bytes) -> None:
        self.counts.rejected[ON_EVENTS] += 1
        text = f"request of type {kind.decode()} ignored: send it to the control topic"
        self._output.dead_letter(record, ON_EVENTS, text)

    def tick(self, *, now_ms: int, at_end: bool, idle_after_ms: int) -> None:
        """Report the watermark of this source if it changed. Does nothing without the event clock.

        ``at_end``: the whole partition has been forwarded. A source without records there for
        ``idle_after_ms`` of the wall clock (0: never) is idle.
        """
        if not self._event_clock:
            return
        if not at_end or self._quiet_since_ms is None:
            self._quiet_since_ms = now_ms
        idle = at_end and 0 < idle_after_ms <= now_ms - self._quiet_since_ms
        heard = self.watermark_ms > 0
        if (heard or idle) and self._reported != (self.watermark_ms, idle):
            self._report_watermark(idle=idle)

    def _report_watermark(self, *, idle: bool) -> None:
        self._reported = (self.watermark_ms, idle)
        self._output.broadcast(source_tick(self.source, self.watermark_ms, idle=idle))

    @property
    def metadata(self) -> str:
        """The metadata of the offset commit, which preserves the watermark."""
        return str(self.watermark_ms)

    @property
    def mark(self) -> Mark | None:
        """The mark of the last record read; None before the first."""
        return self._last.mark


def read_watermark(metadata: str) -> int:
    """Return the watermark committed with an offset; 0 if there is none.

    >>> read_watermark("1760000000000"), read_watermark("")
    (1760000000000, 0)
    """
    return int(metadata) if metadata.isascii() and metadata.isdigit() else 0
