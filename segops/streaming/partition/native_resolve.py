"""The resolve step of one partition where the kernel runs: Python does the records that it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segops.schemas.records import Record
from segops.streaming.partition.output import OutboxOutput
from segops.streaming.partition.resolve import ResolveProcessor


class NativeResolveProcessor(ResolveProcessor):
    """A ``ResolveProcessor`` that has events forwarded by the kernel, to the outboxes of its output."""

    def __init__(self, *args: Any, native: Any, output: OutboxOutput, **kwargs: Any) -> None:
        super().__init__(*args, output=output, **kwargs)
        self._records_of, self._outboxes = native.Records, output.forward_outboxes

    def _process(self, records: Sequence[Record], now_ms: int) -> None:
        is_native = isinstance(records, self._records_of)
        rows: Any = records if is_native else self._records_of.of(records)
        feed: Any = self._route
        at, end = 0, len(rows)
        while at < end:
            place = at, self.offset, self.source
            at, self.offset, clamped, latest_ms, stamp_ms = feed.feed(rows, place, now_ms, self._outboxes)
            self.counts.clamped += clamped
            if stamp_ms is not None:
                self.watermark_ms = max(self.watermark_ms, latest_ms)
                self.forwarded_ms = stamp_ms
            if at < end:
                self._one(rows[at], now_ms)
                at += 1
