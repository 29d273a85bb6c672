"""States built of many events at once: equal to adding one event after the other, each at its own time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from segops.core.features.feature import MAX_ENTRIES, Reducer
from segops.core.features.frozen import FrozenReducer
from segops.core.features.orders import OrdersReducer
from segops.core.features.purchases import LifetimeOrders
from segops.core.features.running import ZERO
from segops.core.features.scanning import Scanning
from segops.core.features.sequence import SequenceReducer
from segops.core.features.sliding import SlidingCount, SlidingSum, SlidingValue
from segops.core.features.states import Chains, Entries, EventTimes, Frozen, Link, Orders, State, Sums, Values
from segops.core.values import MAX_MS, add_exact, exact

#: The time and the value of an event, as a reducer adds them.
Added = tuple[int, Any]
Build = Callable[[Any, Sequence[Added], int], State | None]


def built(reducer: Reducer, events: Sequence[Added], now_ms: int) -> State | None:
    """Return the state after these events as of ``now_ms``, which is not before any of them.

    The events are in order of time, except those of orders, which are in order of arrival, and each of them
    arrives at the greatest time so far. The state may lack what can no longer be read; None if it is empty.

    >>> built(SlidingCount(10, 4), [(1, None), (95, None), (99, None)], 100)
    EventTimes(times=[95, 99])
    """
    build: Build = _BUILDERS.get(reducer.__class__, _added)
    return build(reducer, events, now_ms)


def _added(reducer: Reducer, events: Sequence[Added], _now_ms: int) -> State | None:
    """Add one event after the other: in order of time, that is cheap for most families."""
    state: State | None = None
    for time_ms, value in events:
        state = reducer.add(state, time_ms, value, time_ms) or state
    return state


def _count(reducer: SlidingCount, events: Sequence[Added], now_ms: int) -> State | None:
    after_ms = now_ms - reducer.length_ms
    times = [time_ms for time_ms, _ in events[-reducer.capacity :] if time_ms > after_ms]
    return EventTimes(times) if times else None


def _sums(reducer: SlidingSum, events: Sequence[Added], now_ms: int) -> State | None:
    if len(events) > MAX_ENTRIES or any(value.__class__ is list for _, value in events):
        # Some of them may have been folded into panes, or add several numbers.
        return _added(reducer, events, now_ms)
    after_ms = now_ms - reducer.length_ms
    kept = [event for event in events if event[0] > after_ms]
    if not kept:
        return None
    totals = accumulate((ZERO if value is None else exact(value) for _, value in kept), add_exact)
    return Sums([time_ms for time_ms, _ in kept], list(range(1, len(kept) + 1)), list(totals), 0, ZERO)


def _values(reducer: SlidingValue, events: Sequence[Added], now_ms: int) -> State | None:
    if reducer.kind != "distinct":
        return _added(reducer, events, now_ms)
    latest: OrderedDict[str, int] = OrderedDict()  # in order of time
    for time_ms, value in events:
        if latest.get(value) != time_ms:
            latest[value] = time_ms
            latest.move_to_end(value)
            if reducer.capacity is not None and len(latest) > reducer.capacity:
                latest.popitem(last=False)
    after_ms = now_ms - reducer.length_ms
    kept = [(time_ms, value) for value, time_ms in latest.items() if time_ms > after_ms]
    return Values([time_ms for time_ms, _ in kept], [value for _, value in kept]) if kept else None


def _entries(reducer: Scanning, events: Sequence[Added], now_ms: int) -> State | None:
    entries = reducer.entries(events, now_ms)
    return Entries(entries) if entries else None


def _chains(reducer: SequenceReducer, events: Sequence[Added], now_ms: int) -> Chains | None:
    within_ms = reducer.sequence.within_ms
    after_ms = -MAX_MS if within_ms is None else now_ms - within_ms
    links = [Link(time_ms, *value) for time_ms, value in events if time_ms > after_ms]
    return reducer.chains(links) if links else None


def _orders(reducer: OrdersReducer, events: Sequence[Added], _now_ms: int) -> Orders | None:
    """Apply the events about each order on their own: no order has an effect on another.

    Orders expire up to the last event only, as in a live feature: a merge may still bring their cancellation.
    """
    states: dict[str, Orders] = {}
    at_ms = -MAX_MS
    for time_ms, value in events:
        at_ms = max(time_ms, at_ms)
        state = reducer.add(states.get(value.order_id), time_ms, value, at_ms)
        if state is not None:
            states[value.order_id] = state
    return reducer.united(states.values(), at_ms) if states else None


def _frozen(reducer: FrozenReducer, events: Sequence[Added], now_ms: int) -> Frozen | None:
    """Build both states: history does not say when an event arrived, so that is its own time."""
    refreshed_ms = reducer.refresh.latest(now_ms)
    before = [event for event in events if event[0] < refreshed_ms]
    base, live = built(reducer.inner, before, refreshed_ms), built(reducer.inner, events, now_ms)
    return None if base is None and live is None else Frozen(refreshed_ms, base, live)


#: Class of the reducer -> how to build its state.
_BUILDERS: dict[type, Build] = {
    SlidingCount: _count,
    SlidingSum: _sums,
    SlidingValue: _values,
    Scanning: _entries,
    SequenceReducer: _chains,
    OrdersReducer: _orders,
    LifetimeOrders: _orders,
    FrozenReducer: _frozen,
}
