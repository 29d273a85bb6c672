"""The figures of one segment, summed over the partitions."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from typing import Final

from segops.analytics.chain import Minute, MinuteChain
from segops.analytics.intervals import DAY_MS, HOUR_MS, MINUTE_MS, FlowHistory, NetFlow
from segops.analytics.views import AsOf, BackfillProgress, Changes, SegmentView, TrendStep
from segops.schemas.sizes import Progress, SizeRecord, TrendRecord

#: The states of a segment: the first that any partition is in is the state of the segment.
_STATES: Final = ("building", "paused", "live", "retired")
_UNREPORTED: Final = 0
_RETIRED: Final = 1 + _STATES.index("retired")
_EVALUATED: Final = frozenset((1 + _STATES.index("live"), 1 + _STATES.index("paused")))
#: The reason of members from before entries were counted, who are in no minute.
_UNKNOWN: Final = "unknown"


class SegmentFold:
    """The latest report of each partition, and what changed in each minute.

    Takes about 110 bytes per partition, 20 per partition and reason, and the history: with 64 partitions and
    six reasons 18 KB, and at most 37 KB of history.
    """

    __slots__ = (
        "_chain",
        "_complete_since",
        "_entered",
        "_history",
        "_left",
        "_members",
        "_progress",
        "_states",
        "_versions",
    )

    def __init__(self, partitions: int) -> None:
        self._versions = _zeros(partitions)
        self._states = bytearray(partitions)
        self._members = _zeros(partitions)
        self._complete_since = _zeros(partitions)
        self._entered: dict[str, array[int]] = {}
        self._left: dict[str, array[int]] = {}
        self._progress: dict[int, Progress] = {}
        self._chain = MinuteChain(partitions)
        self._history = FlowHistory()

    # -- records -----------------------------------------------------------------------------------------

    def report(self, found: SizeRecord) -> None:
        """Take the size that a partition reports. Raises OverflowError for a number of more than 64 bits."""
        partition = found.partition
        self._members[partition] = found.members
        self._complete_since[partition] = found.complete_since_ms or 0
        self._count(partition, found.entered, found.left)
        self._versions[partition] = found.version
        self._states[partition] = 1 + _STATES.index(found.state)
        self._progress.pop(partition, None)
        if found.progress is not None:
            self._progress[partition] = found.progress

    def forget(self, partition: int) -> None:
        """Drop the report of a partition."""
        self._states[partition] = _UNREPORTED
        self._members[partition] = self._complete_since[partition] = self._versions[partition] = 0
        self._count(partition, {}, {})
        self._progress.pop(partition, None)

    def note(self, found: TrendRecord) -> None:
        """Take a minute of a partition."""
        minute = Minute(found.minute_ms, sum(found.entered.values()), sum(found.left.values()), found.members)
        for start_ms, flow in self._chain.apply(found.partition, minute):
            self._history.add(start_ms, flow)

    def _count(self, partition: int, entered: Mapping[str, int], left: Mapping[str, int]) -> None:
        for known, counts in ((self._entered, entered), (self._left, left)):
            for reason in counts.keys() - known.keys():
                known[reason] = _zeros(len(self._states))
            for reason, by_partition in known.items():
                by_partition[partition] = counts.get(reason, 0)

    # -- figures -----------------------------------------------------------------------------------------

    @property
    def reported(self) -> int:
        """The number of partitions that have reported a size."""
        return len(self._states) - self._states.count(_UNREPORTED)

    @property
    def members(self) -> int:
        """The number of members in the partitions that have reported."""
        return sum(self._members)

    def view(self, key: str, as_of: AsOf) -> SegmentView:
        """Return the figures, with the changes of the periods that end at the greatest clock.

        A period is 60 or 1,440 full minutes or 168 full hours, and what is published of the one in progress.
        """
        now_ms, partitions = as_of.greatest_ms or 0, len(self._states)
        minute_ms, hour_ms = now_ms // MINUTE_MS * MINUTE_MS, now_ms // HOUR_MS * HOUR_MS
        return SegmentView(
            key=key,
            version=max(self._versions),
            state=_STATES[min(self._states.replace(b"\0", b""), default=len(_STATES)) - 1],
            members=self.members,
            complete=self.reported == partitions,
            reported=self.reported,
            partitions=partitions,
            as_of=as_of,
            last_hour=self._changes(minute_ms - HOUR_MS, now_ms),
            last_day=self._changes(minute_ms - DAY_MS, now_ms),
            last_week=self._changes(hour_ms - 7 * DAY_MS, now_ms),
            entered={reason: sum(counts) for reason, counts in sorted(self._entered.items())},
            left={reason: sum(counts) for reason, counts in sorted(self._left.items())},
            complete_since_ms=max(self._complete_since) or None,
            progress=progress_of(self._progress.values()),
        )

    def in_force(self, partition: int, version: int) -> bool:
        """Return whether a partition evaluates by this version, or a later one; 0: not at all any more."""
        state = self._states[partition]
        if not version:
            return state in (_UNREPORTED, _RETIRED)
        return state in _EVALUATED and self._versions[partition] >= version

    def progress(self, partition: int) -> Progress | None:
        """Return how much history a partition has read for the segment; None: it is not being built."""
        return self._progress.get(partition)

    def steps(self, span: range, now_ms: int, truncated: Collection[int]) -> list[TrendStep]:
        """Return the steps of a trend that start in ``span``, each with the members at its end.

        The last step starts before or in the minute of ``now_ms``. Without a record a minute has the members
        of the one before it. ``truncated``: the partitions whose oldest minutes are not retained.
        """
        step_ms, end_ms, found = span.step, end_of(now_ms), []
        later = self._history.total(span.stop, max(span.stop, end_ms))
        members = self._at_last_minute(truncated) - later.net
        for start_ms in reversed(span):
            flow = self._history.total(start_ms, start_ms + step_ms)
            is_current = start_ms + step_ms >= end_ms
            shown = self.members if is_current else members
            found.append(TrendStep(start_ms, shown, flow.entered, flow.left))
            members -= flow.net
        return found[::-1]

    def _at_last_minute(self, truncated: Collection[int]) -> int:
        """Return the members at the ends of the partitions' latest minutes.

        Without a minute, all members of a partition have entered in the one in progress, apart from those of
        unknown entry; or they are older than what is retained.
        """
        none = _zeros(len(self._states))
        entered, left = (side.get(_UNKNOWN, none) for side in (self._entered, self._left))
        members = 0
        for partition, now in enumerate(self._members):
            then = self._chain.members(partition)
            if then is None:
                then = now if partition in truncated else entered[partition] - left[partition]
            members += then
        return members

    def _changes(self, from_ms: int, now_ms: int) -> Changes:
        flow: NetFlow = self._history.total(from_ms, end_of(now_ms))
        moved, members = flow.entered + flow.left, self.members
        volatility = round(moved / members, 4) if members else None
        return Changes(flow.entered, flow.left, flow.entered - flow.left, volatility)


def progress_of(found: Collection[Progress]) -> BackfillProgress | None:
    """Return the progress of several partitions together; None of none.

    A worker reads one partition after another, so only the rates together say how long the rest takes.

    >>> progress_of([Progress(50, 100, rate=5.0), Progress(0, 100)])
    BackfillProgress(read=50, total=200, left_ms=30000)
    """
    if not found:
        return None
    read, total = sum(each.read for each in found), sum(each.total for each in found)
    rate = sum(each.rate for each in found)
    return BackfillProgress(read, total, round(1_000 * (total - read) / rate) if rate else None)


def end_of(now_ms: int) -> int:
    """Return the end of the minute that contains an instant."""
    return (now_ms // MINUTE_MS + 1) * MINUTE_MS


def _zeros(number: int) -> array[int]:
    return array("q", bytes(8 * number))
