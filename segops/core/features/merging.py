"""The merge of two states of one feature: as if every event of both had come to a single profile.

The source's events count as having arrived first, so that among events of one time the survivor's is the
latest. If both have seen a message, the source's copy is removed: from accumulators by its ``Counted``,
elsewhere by an equal entry of both at its time. Families that read the same with the copy keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial
from itertools import accumulate
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from segops.core.features import orders, sliding
from segops.core.features.families import reducer_of
from segops.core.features.feature import PANES, Feature, Reducer
from segops.core.features.frozen import FrozenReducer
from segops.core.features.running import REPLACES, ZERO
from segops.core.features.scanning import Scanning
from segops.core.features.sequence import SequenceReducer
from segops.core.features.sessions import LatestSessions, SessionCount, united
from segops.core.features.since import SinceReducer
from segops.core.features.states import (
    Chains,
    Counted,
    Entries,
    EventTimes,
    Frozen,
    Keys,
    Marks,
    Orders,
    RecentSessions,
    RunningValue,
    Sessions,
    SinceAnchor,
    State,
    Sums,
    Tally,
    Total,
    Values,
)
from segops.core.values import MAX_MS, add_exact, subtract_exact
from segops.core.windows import Within

R = TypeVar("R")


class FeatureMerge(msgspec.Struct, frozen=True):
    """One feature of two profiles; ``shared`` is what the source's copies of common messages added.

    ``applied_ms``: for each of them, when both profiles had applied the message.
    """

    feature: Feature
    reducer: Reducer
    shared: tuple[Counted, ...]
    now_ms: int
    id: int
    applied_ms: tuple[int, ...] = ()


def merge_state(
    feature: Feature,
    survivor: State | None,
    source: State | None,
    *,
    shared: Iterable[Counted],
    now_ms: int,
    applied_ms: Iterable[int] = (),
) -> State | None:
    """Return the merged state. It may share parts with both, which must not be used afterwards.

    ``shared``: what the source's copies of common messages added. ``applied_ms``: when both profiles had
    applied each of these messages; a frozen feature needs it.
    """
    if survivor is None or source is None:
        return source if survivor is None else survivor
    reducer, copies = reducer_of(feature), tuple(shared)
    context = FeatureMerge(feature, reducer, copies, now_ms, feature.id, tuple(applied_ms))
    return _merged(context, survivor, source)


def _by_period(merge: Callable[[FeatureMerge, Any, Any], State]) -> Callable[[FeatureMerge, Any, Any], State]:
    """Wrap a merge of states of one period: of states of two periods, the newer one is the result."""

    def merged(context: FeatureMerge, mine: Any, theirs: Any) -> State:
        if mine.since_ms != theirs.since_ms:
            newer: State = max(mine, theirs, key=lambda state: state.since_ms)
            return newer
        return merge(context, mine, theirs)

    return merged


def _in_period(context: FeatureMerge, since_ms: int) -> list[Counted]:
    return [note for note in context.shared if not since_ms or note.time_ms >= since_ms]


def _tally(context: FeatureMerge, mine: Tally, theirs: Tally) -> Tally:
    both = sum(note.tallies.count(context.id) for note in _in_period(context, mine.since_ms))
    return Tally(mine.since_ms, mine.count + theirs.count - both)


def _total(context: FeatureMerge, mine: Total, theirs: Total) -> Total:
    count, total = mine.count + theirs.count, add_exact(mine.total, theirs.total)
    for note in _in_period(context, mine.since_ms):
        if context.id in note.totals:
            count -= 1 + note.tallies.count(context.id)
            total = subtract_exact(total, note.totals[context.id])
    return Total(mine.since_ms, count, total)


def _running_value(context: FeatureMerge, mine: RunningValue, theirs: RunningValue) -> RunningValue:
    return mine if REPLACES[context.feature.kind](theirs, mine.time_ms, mine.value) else theirs


def _keys(context: FeatureMerge, mine: Keys, theirs: Keys) -> Keys:
    both = sorted({*mine.keys, *theirs.keys})
    return Keys(mine.since_ms, both[: _most(context, mine.keys, theirs.keys)])


def _most(context: FeatureMerge, mine: Sized, theirs: Sized) -> int | None:
    """Return how many entries to keep: the capacity, or more if one of the states already holds more."""
    capacity = context.feature.capacity
    return None if capacity is None else max(capacity, len(mine), len(theirs))


def _merged_rows(
    context: FeatureMerge,
    mine: Sequence[R],
    theirs: Sequence[R],
    time_of: Callable[[R], int] = lambda row: row.time_ms,  # type: ignore[attr-defined]
) -> list[R]:
    """Return the rows of both by time, the source's first, without the second copies of shared messages."""
    rest, times = list(theirs), {note.time_ms for note in context.shared}
    left = [row for row in mine if time_of(row) in times]
    for note in context.shared:
        copy = next((row for row in rest if time_of(row) == note.time_ms and row in left), None)
        if copy is not None:
            left.remove(copy)
            rest.remove(copy)
    return sorted([*rest, *mine], key=time_of)


def _times(context: FeatureMerge, mine: EventTimes, theirs: EventTimes) -> EventTimes:
    times = _merged_rows(context, mine.times, theirs.times, int)
    return EventTimes(times[-(_most(context, mine.times, theirs.times) or 0) :])


def _sums(context: FeatureMerge, mine: Sums, theirs: Sums) -> Sums:
    window = context.feature.window
    length_ms = window.length_ms if isinstance(window, Within) else MAX_MS
    rows = _merged_rows(context, _rows(mine), _rows(theirs), lambda row: int(row[0]))
    rows = [row for row in rows if row[0] > context.now_ms - length_ms]
    state = Sums(
        [row[0] for row in rows],
        list(accumulate(row[1] for row in rows)),
        list(accumulate((row[2] for row in rows), add_exact)),
        0,
        ZERO,
    )
    while sliding.is_long(state):
        sliding.fold(state, max(1, length_ms // PANES))
    return state


def _rows(state: Sums) -> list[tuple[int, int, Any]]:
    """Return the time, number and sum of each single entry."""
    counts, totals = [state.base_count, *state.counts], [state.base_total, *state.totals]
    return [
        (time_ms, counts[at + 1] - counts[at], subtract_exact(totals[at + 1], totals[at]))
        for at, time_ms in enumerate(state.times)
    ]


def _values(context: FeatureMerge, mine: Values, theirs: Values) -> State:
    """Add one value after the other, as for events: of a window a second copy changes no reading."""
    if context.feature.kind == "history":
        rows = _merged_rows(context, _set(mine), _set(theirs), itemgetter(0))
        return Values([time_ms for time_ms, _ in rows], [value for _, value in rows])
    if context.feature.kind == "distinct" and len(mine.times) > len(theirs.times):
        mine, theirs = theirs, mine  # the order is irrelevant to distinct; add the shorter to the longer one
    for time_ms, value in zip(mine.times, mine.values, strict=True):
        context.reducer.add(theirs, time_ms, value, context.now_ms)
    return theirs


def _set(history: Values) -> list[tuple[int, Any]]:
    return list(zip(history.times, history.values, strict=True))


def _entries(context: FeatureMerge, mine: Entries, theirs: Entries) -> Entries:
    if not isinstance(context.reducer, Scanning):
        raise TypeError(f"expected a Scanning for Entries, got {context.reducer!r}")
    return Entries(context.reducer.newest(_merged_rows(context, mine.entries, theirs.entries)))


def _chains(context: FeatureMerge, mine: Chains, theirs: Chains) -> Chains:
    if not isinstance(context.reducer, SequenceReducer):
        raise TypeError(f"expected a SequenceReducer for Chains, got {context.reducer!r}")
    return context.reducer.chains(_merged_rows(context, mine.links, theirs.links))


def _orders(context: FeatureMerge, mine: Orders, theirs: Orders) -> Orders:
    if not isinstance(context.reducer, orders.OrdersReducer):
        raise TypeError(f"expected an OrdersReducer for Orders, got {context.reducer!r}")
    return context.reducer.merged(mine, theirs, partial(_merged_rows, context), context.now_ms)


def _since(context: FeatureMerge, mine: SinceAnchor, theirs: SinceAnchor) -> SinceAnchor:
    if not isinstance(context.reducer, SinceReducer):
        raise TypeError(f"expected a SinceReducer for SinceAnchor, got {context.reducer!r}")
    return context.reducer.merged(mine, theirs, partial(_merged_rows, context))


def _sessions(context: FeatureMerge, mine: Sessions, theirs: Sessions) -> Sessions:
    if not isinstance(context.reducer, (SessionCount, LatestSessions)):
        raise TypeError(f"expected the reducer of sessions, got {context.reducer!r}")
    shared = (note.time_ms for note in context.shared if context.id in note.tallies)
    return united(theirs, mine, shared, context.reducer)


def _marks(context: FeatureMerge, mine: Marks, theirs: Marks) -> State:
    for time_ms in mine.times:
        context.reducer.add(theirs, time_ms, None, context.now_ms)
    return theirs


def _frozen(context: FeatureMerge, mine: Frozen, theirs: Frozen) -> Frozen:
    """Merge both states: that of the refresh without the messages that either profile applied later."""
    reducer = context.reducer
    if not isinstance(reducer, FrozenReducer):
        raise TypeError(f"expected a FrozenReducer for Frozen, got {reducer!r}")
    mine, theirs = (reducer.settled(state, context.now_ms) for state in (mine, theirs))
    refreshed_ms = mine.refreshed_ms
    both = zip(context.shared, context.applied_ms, strict=True)
    earlier = tuple(note for note, applied_ms in both if applied_ms < refreshed_ms)
    inner = msgspec.structs.replace(
        context, feature=msgspec.structs.replace(context.feature, refresh=None), reducer=reducer.inner
    )
    base = msgspec.structs.replace(inner, shared=earlier, now_ms=refreshed_ms)
    return Frozen(refreshed_ms, _merged(base, mine.base, theirs.base), _merged(inner, mine.live, theirs.live))


def _merged(context: FeatureMerge, mine: State | None, theirs: State | None) -> State | None:
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    return _MERGES[mine.__class__](context, mine, theirs)


#: Class of the state -> the merge of two of them.
_MERGES: dict[type, Callable[[FeatureMerge, Any, Any], State]] = {
    Tally: _by_period(_tally),
    Total: _by_period(_total),
    RunningValue: _by_period(_running_value),
    Keys: _by_period(_keys),
    EventTimes: _times,
    Sums: _sums,
    Values: _values,
    Entries: _entries,
    Chains: _chains,
    Orders: _orders,
    SinceAnchor: _since,
    Sessions: _sessions,
    RecentSessions: _sessions,
    Marks: _marks,
    Frozen: _frozen,
}
