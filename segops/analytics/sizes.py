"""Fold the records of ``segops.sizes`` and ``segops.trends`` to the sizes of all segments."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from segops.analytics.intervals import DAY_MS, HOUR_MS, HOURS_KEPT_MS, MINUTE_MS, MINUTES_KEPT_MS
from segops.analytics.population import population_view
from segops.analytics.segment import SegmentFold, end_of, progress_of
from segops.analytics.views import (
    AsOf,
    PartitionRollout,
    PopulationView,
    Rollout,
    SegmentsView,
    SegmentView,
    TrendStep,
    TrendView,
)
from segops.core.errors import UserError
from segops.core.values import format_duration, format_instant
from segops.schemas.sizes import (
    POPULATION,
    EndedRecord,
    PopulationFigures,
    PopulationRecord,
    Published,
    RecordKey,
    SizeRecord,
    TrendRecord,
    decode_published,
    parse_key,
)

MAX_STEPS: Final = 2_000
_DEFAULT_STEPS: Final = 24
_UNKNOWN: Final = -1


class BadRange(UserError):
    """The range of a trend is empty, too long, or not retained in that step."""


class SegmentSizes:
    """The sizes and trends of all segments, from the records of their topics.

    Records of one partition must be applied in their order; partitions in any order. Only records of the
    latest generation with this number of ``partitions`` count. ``truncated`` are the partitions of the trends
    topic whose oldest records retention has deleted. ``noted`` is given each record of a minute that counts,
    and None when those before it count no longer.

    Memory: see ``SegmentFold``. 10,000 segments in 64 partitions take at most 550 MB, if each changes in each
    hour of 30 days, and 180 MB if they hardly change.
    """

    def __init__(
        self,
        partitions: int,
        truncated: Collection[int] = (),
        *,
        noted: Callable[[TrendRecord | None], None] = lambda _: None,
    ) -> None:
        self.partitions = partitions
        self._noted = noted
        self.generation = _UNKNOWN
        #: Records that could not be read.
        self.unreadable = 0
        self._truncated = frozenset(truncated)
        self._reset(_UNKNOWN)

    def _reset(self, generation: int) -> None:
        self.generation = generation
        self._noted(None)
        self._segments: dict[str, SegmentFold] = {}
        self._clocks = array("q", [_UNKNOWN]) * self.partitions
        #: The oldest minute of each truncated partition.
        self._oldest: dict[int, int] = {}
        self._population: dict[int, PopulationFigures] = {}

    # -- records -----------------------------------------------------------------------------------------

    def apply(self, key: bytes | None, value: bytes | None) -> str | None:
        """Apply a record of either topic; return the key of the segment that it changes, if any."""
        try:
            found = parse_key(key or b"")
            if value is None:
                return self._forget(found)
            record = decode_published(found, value)
            return self._take(record) if self._counts(record) else None
        except (ValueError, OverflowError, msgspec.MsgspecError):  # ValueError: also of the encoding
            self.unreadable += 1
            return None

    def _counts(self, record: Published) -> bool:
        if record.partitions != self.partitions or not 0 <= record.partition < self.partitions:
            return False
        if record.generation > self.generation:
            self._reset(record.generation)
        return record.generation == self.generation

    def _take(self, record: Published) -> str | None:
        partition = record.partition
        if isinstance(record, EndedRecord):  # the sizes at its clock may still follow
            return None
        self._clocks[partition] = max(self._clocks[partition], record.clock_ms)
        if isinstance(record, PopulationRecord):
            if record.minute_ms is None:
                self._population[partition] = record.figures
            return POPULATION
        if isinstance(record, SizeRecord):
            self._fold(record.segment_key).report(record)
        else:
            self._note(record)
        return record.segment_key

    def _note(self, record: TrendRecord) -> None:
        if record.partition in self._truncated:
            oldest_ms = self._oldest.get(record.partition, record.minute_ms)
            self._oldest[record.partition] = min(oldest_ms, record.minute_ms)
        self._fold(record.segment_key).note(record)
        self._noted(record)

    def _fold(self, key: str) -> SegmentFold:
        found = self._segments.get(key)
        if found is None:
            found = self._segments[key] = SegmentFold(self.partitions)
        return found

    def _forget(self, key: RecordKey) -> str | None:
        found = self._segments.get(key.segment_key)
        is_size = key.minute_ms is None and key.generation == self.generation
        if found is None or not is_size or not 0 <= key.partition < self.partitions:
            return None
        found.forget(key.partition)
        if not found.reported:
            del self._segments[key.segment_key]
        return key.segment_key

    # -- figures -----------------------------------------------------------------------------------------

    @property
    def as_of(self) -> AsOf:
        """The least and the greatest clock of the partitions that have published anything."""
        known = [clock_ms for clock_ms in self._clocks if clock_ms != _UNKNOWN]
        return AsOf(min(known), max(known)) if known else AsOf(None, None)

    @property
    def keys(self) -> list[str]:
        """The keys of the segments with a size, sorted."""
        return sorted(key for key, found in self._segments.items() if found.reported)

    def members(self, key: str) -> int | None:
        """Return the members of a segment, or None if no partition has reported its size."""
        found = self._segments.get(key)
        return found.members if found is not None and found.reported else None

    def segment(self, key: str) -> SegmentView | None:
        """Return a segment, or None if no partition has reported its size."""
        found = self._segments.get(key)
        return found.view(key, self.as_of) if found is not None and found.reported else None

    def segments(self, after: str = "", limit: int | None = None) -> SegmentsView:
        """Return at most ``limit`` segments by key, those whose keys are greater than ``after``."""
        keys = [key for key in self.keys if key > after]
        shown, as_of = keys[:limit], self.as_of
        views = [self._segments[key].view(key, as_of) for key in shown]
        return SegmentsView(as_of, views, shown[-1] if shown and len(shown) < len(keys) else None)

    def population(self) -> PopulationView | None:
        """Return the figures of all profiles, or None if no partition has reported them."""
        return population_view(self._population, self.partitions, self.as_of) if self._population else None

    def rollout(self, versions: Mapping[str, int]) -> Rollout:
        """Return how far the partitions are from evaluating by these versions of segments; 0: retired."""
        none = SegmentFold(self.partitions)
        folds = [(self._segments.get(key, none), version) for key, version in versions.items()]
        found, progress = [], []
        for number in range(self.partitions):
            done = all(fold.in_force(number, version) for fold, version in folds)
            # all segments that a partition builds wait for the same history
            read = [] if done else [each for fold, _ in folds if (each := fold.progress(number))][:1]
            found.append(PartitionRollout(number, done, progress_of(read)))
            progress += read
        return Rollout(found, progress_of(progress))

    def trend(self, key: str, step_ms: int, from_ms: int | None, to_ms: int | None) -> TrendView | None:
        """Return a segment over time, or None if no partition has reported its size.

        Steps begin at multiples of ``step_ms`` (days and weeks: in UTC); the first contains ``from_ms`` (by
        default 24 steps before the end), the last one ``to_ms`` (by default, and at most, the present).

        Raises BadRange.
        """
        found, as_of = self._segments.get(key), self.as_of
        if found is None or not found.reported or as_of.greatest_ms is None:
            return None
        _check_step(step_ms)
        now_ms = as_of.greatest_ms
        retained_ms = _retained_since(step_ms, now_ms)
        _check_bounds(from_ms, to_ms, retained_ms)
        last_ms = _ceiling(min(end_of(now_ms), end_of(now_ms) if to_ms is None else to_ms), step_ms)
        default_ms = max(last_ms - _DEFAULT_STEPS * step_ms, retained_ms)
        first_ms = (default_ms if from_ms is None else from_ms) // step_ms * step_ms
        _check_number((last_ms - first_ms) // step_ms)
        known_ms = max([retained_ms, *self._oldest.values()])
        span = range(first_ms, last_ms, step_ms)
        steps = [_known(step, known_ms) for step in found.steps(span, now_ms, self._truncated)]
        return TrendView(key, step_ms, as_of, known_ms, steps)


def _ceiling(ms: int, step_ms: int) -> int:
    return -(-ms // step_ms) * step_ms


def _retained_since(step_ms: int, now_ms: int) -> int:
    """Return the first minute, or the first hour for steps of whole hours, that is kept."""
    if step_ms % HOUR_MS:
        return now_ms // HOUR_MS * HOUR_MS - MINUTES_KEPT_MS
    return now_ms // DAY_MS * DAY_MS - HOURS_KEPT_MS


def _check_step(step_ms: int) -> None:
    if step_ms <= 0 or step_ms % MINUTE_MS:
        raise BadRange(f"step: expected whole minutes, got {format_duration(step_ms)}")


def _check_bounds(from_ms: int | None, to_ms: int | None, retained_ms: int) -> None:
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise BadRange(
            f"to: expected an instant after {format_instant(from_ms)}, got {format_instant(to_ms)}"
        )
    least = format_instant(retained_ms)
    for name, ms in (("from", from_ms), ("to", to_ms)):
        if ms is not None and ms < retained_ms:
            raise BadRange(
                f"{name}: expected an instant from {least} on, got {format_instant(ms)} "
                "(minutes are kept for a day, hours for 30 days)"
            )


def _check_number(steps: int) -> None:
    if steps > MAX_STEPS:
        raise BadRange(f"step: expected at most {MAX_STEPS:,} steps, got {steps:,}")


def _known(step: TrendStep, since_ms: int) -> TrendStep:
    return step if step.start_ms >= since_ms else TrendStep(step.start_ms, None, None, None)
