"""Two states of one feature made one: as if every event of both had come to a single profile.

The events of the loser count as having arrived first, so that among events of one time the survivor's is
the latest. Of a message that both had seen the loser's copy is taken off: from accumulators by what
``Counted`` says of it, elsewhere by an entry that both have at its time. Families that read alike with and
without the copy need nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar

import msgspec

from segops.core.features import orders, sliding
from segops.core.features.families import reducer_of
from segops.core.features.feature import PANES, Feature, Reducer
from segops.core.features.running import REPLACES, ZERO
from segops.core.features.sequence import SequenceReducer
from segops.core.features.states import (
    Chains,
    Counted,
    Entries,
    EventTimes,
    Keys,
    Orders,
    RunningValue,
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
    """One feature of two profiles: ``shared`` is what the loser's copies of common messages added to it."""

    feature: Feature
    reducer: Reducer
    shared: tuple[Counted, ...]
    now_ms: int
    id: int


def merge_state(
    feature: Feature, survivor: State | None, source: State | None, *, shared: Iterable[Counted], now_ms: int
) -> State | None:
    """The state of both. It may be made of parts of either: neither is to be used after."""
    if survivor is None or source is None:
        return source if survivor is None else survivor
    join = FeatureMerge(feature, reducer_of(feature), tuple(shared), now_ms, feature.id)
    return _MERGES[survivor.__class__](join, survivor, source)


def _by_period(merge: Callable[[FeatureMerge, Any, Any], State]) -> Callable[[FeatureMerge, Any, Any], State]:
    """Of states of two periods the newer is the whole state."""

    def merged(join: FeatureMerge, mine: Any, theirs: Any) -> State:
        if mine.since_ms != theirs.since_ms:
            newer: State = max(mine, theirs, key=lambda state: state.since_ms)
            return newer
        return merge(join, mine, theirs)

    return merged


def _in_period(join: FeatureMerge, since_ms: int) -> list[Counted]:
    return [note for note in join.shared if not since_ms or note.time_ms >= since_ms]


def _tally(join: FeatureMerge, mine: Tally, theirs: Tally) -> Tally:
    both = sum(note.tallies.count(join.id) for note in _in_period(join, mine.since_ms))
    return Tally(mine.since_ms, mine.count + theirs.count - both)


def _total(join: FeatureMerge, mine: Total, theirs: Total) -> Total:
    count, total = mine.count + theirs.count, add_exact(mine.total, theirs.total)
    for note in _in_period(join, mine.since_ms):
        if join.id in note.totals:
            count, total = count - 1, subtract_exact(total, note.totals[join.id])
    return Total(mine.since_ms, count, total)


def _held(join: FeatureMerge, mine: RunningValue, theirs: RunningValue) -> RunningValue:
    return mine if REPLACES[join.feature.kind](theirs, mine.time_ms, mine.value) else theirs


def _keys(join: FeatureMerge, mine: Keys, theirs: Keys) -> Keys:
    return Keys(mine.since_ms, set(sorted(mine.keys | theirs.keys)[: _most(join, mine.keys, theirs.keys)]))


def _most(join: FeatureMerge, mine: Sized, theirs: Sized) -> int | None:
    """How many entries are kept of both: as many as are asked for, or as one of them holds from before."""
    capacity = join.feature.capacity
    return None if capacity is None else max(capacity, len(mine), len(theirs))


def _joined(
    join: FeatureMerge,
    mine: Sequence[R],
    theirs: Sequence[R],
    time_of: Callable[[R], int] = lambda row: row.time_ms,  # type: ignore[attr-defined]
) -> list[R]:
    """The rows of both by time, the loser's first, without the second copies of shared messages."""
    rest, times = list(theirs), {note.time_ms for note in join.shared}
    left = [row for row in mine if time_of(row) in times]
    for note in join.shared:
        copy = next((row for row in rest if time_of(row) == note.time_ms and row in left), None)
        if copy is not None:
            left.remove(copy)
            rest.remove(copy)
    return sorted([*rest, *mine], key=time_of)


def _times(join: FeatureMerge, mine: EventTimes, theirs: EventTimes) -> EventTimes:
    return EventTimes(
        _joined(join, mine.times, theirs.times, int)[-(_most(join, mine.times, theirs.times) or 0) :]
    )


def _sums(join: FeatureMerge, mine: Sums, theirs: Sums) -> Sums:
    window = join.feature.window
    length_ms = window.length_ms if isinstance(window, Within) else MAX_MS
    rows = _joined(join, _rows(mine), _rows(theirs), lambda row: int(row[0]))
    rows = [row for row in rows if row[0] > join.now_ms - length_ms]
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
    """Time, number and sum of each entry on its own."""
    counts, totals = [state.base_count, *state.counts], [state.base_total, *state.totals]
    return [
        (time_ms, counts[at + 1] - counts[at], subtract_exact(totals[at + 1], totals[at]))
        for at, time_ms in enumerate(state.times)
    ]


def _values(join: FeatureMerge, mine: Values, theirs: Values) -> State:
    """One value after the other, as the family itself adds them: a second copy changes no reading."""
    if join.feature.kind == "distinct" and len(mine.times) > len(theirs.times):
        mine, theirs = theirs, mine  # the order does not matter to it, and more of the longer one is kept
    for time_ms, value in zip(mine.times, mine.values, strict=True):
        join.reducer.add(theirs, time_ms, value, join.now_ms)
    return theirs


def _entries(join: FeatureMerge, mine: Entries, theirs: Entries) -> Entries:
    return Entries(_joined(join, mine.entries, theirs.entries))


def _chains(join: FeatureMerge, mine: Chains, theirs: Chains) -> Chains:
    if not isinstance(join.reducer, SequenceReducer):
        raise TypeError("chains belong to sequences")
    return join.reducer.chains(_joined(join, mine.links, theirs.links))


def _orders(join: FeatureMerge, mine: Orders, theirs: Orders) -> Orders:
    if not isinstance(join.reducer, orders.OrdersReducer):
        raise TypeError("orders belong to the RFM of a period")
    return join.reducer.joined(mine, theirs, partial(_joined, join), join.now_ms)


#: Form of the state -> how two of them become one.
_MERGES: dict[type, Callable[[FeatureMerge, Any, Any], State]] = {
    Tally: _by_period(_tally),
    Total: _by_period(_total),
    RunningValue: _by_period(_held),
    Keys: _by_period(_keys),
    EventTimes: _times,
    Sums: _sums,
    Values: _values,
    Entries: _entries,
    Chains: _chains,
    Orders: _orders,
}
