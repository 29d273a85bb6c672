"""Rows of a backfill by the kernel: of the log read aside, and of what it applies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from segops.core.backfill import Collector
from segops.core.events import Event
from segops.core.segments import SegmentSet
from segops.kernel.answers import Answers
from segops.kernel.tables import Limits, exported_features
from segops.schemas.records import Record


class NativeRows:
    """Writes rows as a ``Collector`` does; each record that the kernel cannot read is Python's."""

    def __init__(self, native: Any, limits: Limits) -> None:
        self._native, self._limits = native, limits
        self._collector: Collector | None = None
        self._rows: Any = None

    def of(self, collector: Collector) -> Any:
        """Return the kernel's part for a collector: the ``rows`` of ``Partition.feed``."""
        if collector is not self._collector:
            found = exported_features(collector, self._limits)
            engine = self._native.Engine(found.tables, Answers(SegmentSet.EMPTY, found, _undecoded))
            self._collector, self._rows = collector, self._native.Rows(engine)
        return self._rows

    def read(
        self, collector: Collector, records: Sequence[Record], start: int, end: int
    ) -> Iterable[tuple[int, tuple[str, bytes] | None]]:
        """Return the index of each record from offset ``start`` to ``end``, the end excluded, that has a row.

        Beside it: the profile and the row; None for a record that Python has to read.
        """
        of_kernel: Any = self._native.Records
        read = records if isinstance(records, of_kernel) else of_kernel.of(records)
        found: list[tuple[int, tuple[str, bytes] | None]] = self.of(collector).of(read, start, end)
        return found


def _undecoded(_value: bytes, _time_ms: int, _default_id: str) -> Event:
    raise RuntimeError("expected no question about a whole event")
