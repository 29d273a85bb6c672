"""The population day by day: ``segops.trends`` has the past days, ``segops.sizes`` the latest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from segops.schemas.sizes import (
    ACTIVITIES,
    POPULATION,
    PopulationFigures,
    PopulationRecord,
    decode_published,
    parse_key,
)

DAY_MS: Final = 86_400_000
_UNKNOWN: Final = -1
_HEAD: Final = f"{POPULATION}|".encode()


class PopulationDay(msgspec.Struct, frozen=True):
    """The figures of a UTC day over all partitions, as they were at its end, or as of the latest record.

    ``complete``: every partition has reported by that day.
    """

    day_ms: int
    complete: bool
    known: int
    daily: int
    weekly: int
    monthly: int
    new: int
    returning: int
    resurrected: int
    dormant: int


class PopulationDays:
    """Folds records of the population of either topic, in any order.

    Only records of the latest generation with this number of ``partitions`` count.

    >>> days = PopulationDays(1)
    >>> figures = PopulationFigures(0, 3, 2, 2, 3, 1, 1, 0, 0)
    >>> days.note(PopulationRecord(0, 1, 0, 70_000, figures, 60_000))
    >>> [(day.day_ms, day.daily, day.new) for day in days.days()]
    [(0, 2, 1)]
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._generation = _UNKNOWN
        self._days: dict[int, dict[int, PopulationRecord]] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Apply a record of the topic; skip those of segments, and unreadable ones."""
        if key is None or value is None or not key.startswith(_HEAD):
            return
        try:
            record = decode_published(parse_key(key), value)
        except (ValueError, OverflowError, msgspec.MsgspecError):
            return
        if isinstance(record, PopulationRecord):
            self.note(record)

    def note(self, record: PopulationRecord) -> None:
        """Take a record over: of a day that with the greatest clock counts."""
        if record.partitions != self._partitions or record.generation < self._generation:
            return
        if record.generation > self._generation:
            self._generation, self._days = record.generation, {}
        day = self._days.setdefault(record.figures.day_ms, {})
        known = day.get(record.partition)
        if known is None or known.clock_ms <= record.clock_ms:
            day[record.partition] = record

    def days(self) -> list[PopulationDay]:
        """Return the days from the first to the last that any partition has reported."""
        return list(self._summed())

    def _summed(self) -> Iterator[PopulationDay]:
        if not self._days:
            return
        latest: dict[int, PopulationFigures] = {}
        for day_ms in range(min(self._days), max(self._days) + 1, DAY_MS):
            found = {number: each.figures for number, each in self._days.get(day_ms, {}).items()}
            # A partition publishes its figures whenever they change: without a record no one was active.
            latest = {number: _idle(each) for number, each in latest.items()} | found
            yield _sum(day_ms, list(latest.values()), complete=len(latest) == self._partitions)


def _idle(figures: PopulationFigures) -> PopulationFigures:
    return msgspec.structs.replace(figures, daily=0, new=0, returning=0, resurrected=0)


def _sum(day_ms: int, figures: Sequence[PopulationFigures], *, complete: bool) -> PopulationDay:
    sums: Mapping[str, int] = {name: sum(getattr(each, name) for each in figures) for name in ACTIVITIES}
    return PopulationDay(day_ms=day_ms, complete=complete, **sums)
