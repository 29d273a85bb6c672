"""The sizes of segments as ``segops sizes`` and the worker's pages show them."""

from __future__ import annotations

import msgspec


class AsOf(msgspec.Struct, frozen=True):
    """The least and the greatest clock of the partitions; figures include every change up to the least."""

    least_ms: int | None
    greatest_ms: int | None


class Changes(msgspec.Struct, frozen=True):
    """Entries and exits of a period. ``volatility`` is their number per member, null without members."""

    adds: int
    drops: int
    net: int
    volatility: float | None


class BackfillProgress(msgspec.Struct, frozen=True):
    """How many records of the history have been read, over all partitions.

    ``left_ms``: how long the rest takes at the rate so far, null while that is unknown.
    """

    read: int
    total: int
    left_ms: int | None = None


class PartitionRollout(msgspec.Struct, frozen=True):
    """Whether a partition evaluates by awaited definitions, and how much history it has read for them."""

    partition: int
    in_force: bool
    progress: BackfillProgress | None = None


class Rollout(msgspec.Struct, frozen=True):
    """How far the partitions are from evaluating by awaited definitions; ``progress`` over all of them."""

    partitions: list[PartitionRollout]
    progress: BackfillProgress | None = None

    @property
    def complete(self) -> bool:
        """Whether the definitions are in force in all partitions."""
        return all(each.in_force for each in self.partitions)


class SegmentView(msgspec.Struct, frozen=True):
    """A segment now. ``complete`` says whether all partitions have reported.

    ``state`` is ``building`` or ``paused`` as soon as one partition is. ``complete_since_ms`` is the start of
    the history that the segment knows, null if it knows all that its rule needs.
    """

    key: str
    version: int
    state: str
    members: int
    complete: bool
    reported: int
    partitions: int
    as_of: AsOf
    last_hour: Changes
    last_day: Changes
    last_week: Changes
    entered: dict[str, int]
    left: dict[str, int]
    complete_since_ms: int | None
    progress: BackfillProgress | None


class TrendStep(msgspec.Struct, frozen=True):
    """One step of a trend; null where it is not known."""

    start_ms: int
    members: int | None
    adds: int | None
    drops: int | None


class TrendView(msgspec.Struct, frozen=True):
    """A segment over time. ``known_since_ms``: steps that begin earlier are not known."""

    key: str
    step_ms: int
    as_of: AsOf
    known_since_ms: int
    steps: list[TrendStep]


class SegmentsView(msgspec.Struct, frozen=True):
    """One page of segments by key; ``next`` is the key after which the next page begins, null on the last."""

    as_of: AsOf
    segments: list[SegmentView]
    next: str | None


class PopulationView(msgspec.Struct, frozen=True):
    """The profiles of all partitions on the UTC day that starts at ``day_ms``.

    ``daily``, ``weekly`` and ``monthly`` are those active within 1, 7 and 30 days, and ``stickiness`` is the
    daily per monthly ones. ``daily`` is the sum of ``new``, ``returning`` and ``resurrected``. ``complete``:
    all partitions have reported figures of that day.
    """

    as_of: AsOf
    complete: bool
    reported: int
    partitions: int
    day_ms: int
    known: int
    daily: int
    weekly: int
    monthly: int
    stickiness: float | None
    new: int
    returning: int
    resurrected: int
    dormant: int
