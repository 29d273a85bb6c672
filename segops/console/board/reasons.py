"""Entries and exits of all segments together, by reason, in each minute of a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from segops.analytics.intervals import DAY_MS, MINUTE_MS
from segops.schemas.sizes import TrendRecord


class Flows(NamedTuple):
    """Entries and exits of a span by reason."""

    start_ms: int
    entered: Mapping[str, int]
    left: Mapping[str, int]


class _Minute:
    __slots__ = ("entered", "left")

    def __init__(self) -> None:
        self.entered = Counter[str]()
        self.left = Counter[str]()


class ReasonMinutes:
    """Adds up the records of minutes. Those of one partition must come in their order.

    A minute may be written several times, and the last record of it counts: of each partition the records of
    the latest two minutes are kept, so that the former one can be taken away. After a crash a worker repeats
    no earlier one.
    """

    def __init__(self, retained_ms: int = DAY_MS) -> None:
        self._retained_ms: Final = retained_ms
        self._minutes: dict[int, _Minute] = {}
        self._open: dict[int, dict[int, dict[str, TrendRecord]]] = {}
        self.newest_ms = 0

    def note(self, found: TrendRecord) -> None:
        """Take a record."""
        at_ms = found.minute_ms
        known = self._open.setdefault(found.partition, {})
        latest = max(known, default=at_ms)
        if at_ms < latest - MINUTE_MS or at_ms <= self.newest_ms - self._retained_ms:
            return
        if at_ms > latest:
            for old in [each for each in known if each < at_ms - MINUTE_MS]:
                del known[old]
        segments = known.setdefault(at_ms, {})
        self._add(at_ms, found, segments.get(found.segment_key))
        segments[found.segment_key] = found

    def _add(self, at_ms: int, found: TrendRecord, former: TrendRecord | None) -> None:
        minute = self._minutes.get(at_ms)
        if minute is None:
            minute = self._minutes[at_ms] = _Minute()
            self._drop_old(at_ms)
        minute.entered.update(found.entered)
        minute.left.update(found.left)
        if former is not None:
            minute.entered.subtract(former.entered)
            minute.left.subtract(former.left)

    def _drop_old(self, at_ms: int) -> None:
        if at_ms <= self.newest_ms:
            return
        self.newest_ms = at_ms
        for old in [each for each in self._minutes if each <= at_ms - self._retained_ms]:
            del self._minutes[old]

    def steps(self, span: Iterable[int], step_ms: int) -> list[Flows]:
        """Return the flows of steps that start at these instants, each a multiple of a step."""
        found = {start_ms: _Minute() for start_ms in span}
        for at_ms, minute in self._minutes.items():
            into = found.get(at_ms // step_ms * step_ms)
            if into is not None:
                into.entered.update(minute.entered)
                into.left.update(minute.left)
        return [Flows(start, +each.entered, +each.left) for start, each in found.items()]

    def total(self, from_ms: int) -> Flows:
        """Return the flows of the minutes that start at an instant or later."""
        entered, left = Counter[str](), Counter[str]()
        for at_ms, minute in self._minutes.items():
            if at_ms >= from_ms:
                entered.update(minute.entered)
                left.update(minute.left)
        return Flows(from_ms, +entered, +left)
