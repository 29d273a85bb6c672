"""The choice of the family that implements a feature."""

from __future__ import annotations

from collections.abc import Callable

from segops.core.features.feature import Feature, Reducer
from segops.core.features.frozen import FrozenReducer
from segops.core.features.history import TraitHistory
from segops.core.features.orders import OrdersReducer
from segops.core.features.periods import Lifecycle, OccupiedPeriods
from segops.core.features.purchases import LifetimeOrders
from segops.core.features.running import RunningCount, RunningDistinct, RunningSelected, RunningSum
from segops.core.features.scanning import Scanning
from segops.core.features.sequence import SequenceReducer
from segops.core.features.sessions import LatestSessions, SessionCount
from segops.core.features.since import since_reducer
from segops.core.features.sliding import SlidingCount, SlidingSum, SlidingValue
from segops.core.windows import Between, Calendar, Fixed, SinceLast, Within, reach_ms


def reducer_of(feature: Feature) -> Reducer:
    """Return the reducer that updates and reads ``feature``.

    >>> reducer = reducer_of(Feature("count", ("Product Viewed",), (), Within(10), capacity=4))
    >>> state = reducer.add(None, 100, None, 100)
    >>> reducer.read(state, 109), reducer.read(state, 110)
    (1, 0)
    """
    live = _live(feature)
    return live if feature.refresh is None else FrozenReducer(live, feature.refresh)


def _live(feature: Feature) -> Reducer:
    window = feature.window
    if feature.length_ms is not None:
        return _BY_LENGTH[feature.kind](feature, feature.length_ms)
    if feature.purchases is not None:
        return (LifetimeOrders if feature.kind == "purchases" else OrdersReducer)(feature.purchases)
    if feature.sequence is not None:
        return SequenceReducer(feature.sequence)
    if feature.kind == "history":
        return TraitHistory(reach_ms(window))
    if isinstance(window, SinceLast):
        return since_reducer(feature, window)
    if isinstance(window, Between) or feature.keeps_events:
        return Scanning(window, feature.kind, tuple(test.plain for _, test in feature.timed_where))
    if isinstance(window, Within):
        return _sliding(feature, window.length_ms)
    return _running(feature, window)


def _running(feature: Feature, window: Fixed | Calendar) -> Reducer:
    match feature.kind:
        case "count":
            return RunningCount(window)
        case "sum":
            return RunningSum(window)
        case "distinct":
            return RunningDistinct(window, feature.capacity)
    return RunningSelected(window, feature.kind)


def _sliding(feature: Feature, length_ms: int) -> Reducer:
    if feature.kind == "count" and feature.capacity is not None:
        return SlidingCount(length_ms, feature.capacity)
    if feature.kind in ("count", "sum"):
        return SlidingSum(length_ms)
    return SlidingValue(length_ms, feature.kind, feature.capacity)


def _periods(feature: Feature, period_ms: int) -> Reducer:
    if not isinstance(feature.window, Within):
        raise TypeError(f"expected periods within a length, got {feature.window!r}")
    return OccupiedPeriods(period_ms, feature.window.length_ms // period_ms)


#: Kind of a feature with ``length_ms`` -> its reducer.
_BY_LENGTH: dict[str, Callable[[Feature, int], Reducer]] = {
    "sessions": lambda feature, gap_ms: SessionCount(feature.window, gap_ms),
    "session": lambda _feature, gap_ms: LatestSessions(gap_ms),
    "periods": _periods,
    "lifecycle": lambda _feature, period_ms: Lifecycle(period_ms),
}
