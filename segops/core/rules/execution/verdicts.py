"""Verdicts over time: one pass over the future values of features, however often verdicts change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from segops.core.features.bands import (
    Points,
    Series,
    banded,
    counts_leaving,
    mean_banded,
    means_leaving,
    totals_leaving,
)
from segops.core.features.feature import Reducer, Unfolding
from segops.core.features.sliding import Leaving, SlidingSum
from segops.core.profile import Profile

Holds = Callable[[Profile, int], bool]
Edge = Callable[[Profile, int], int | None]
#: Pairs of an instant and the verdict from then on: first that of the starting instant, then each later one
#: at which it may differ, in order and computed lazily. Only anniversaries make it infinite.
Verdicts = Iterator[tuple[int, bool]]
Changes = Callable[[Profile, int], Verdicts]


#: The future values of a feature, from its state and an instant on.
Unfold = Callable[[Any, int], Series]
#: From a value and an instant to the next instant at which the verdict on that value may change.
Moves = Callable[[Any, int], int | None]

#: The aggregates whose value is that of one event, of any kind.
POINTED = ("latest", "earliest", "most_frequent")
_LEAVING: dict[str, Leaving] = {"count": counts_leaving, "sum": totals_leaving, "avg": means_leaving}


def series_of(reducer: Reducer, function: str, points: Points | None) -> Unfold | None:
    """Return the future values of a feature that differ at the thresholds ``points``.

    Returns None for a feature that changes at most once or twice with time. ``function`` is that of the node;
    without ``points`` every value is yielded.
    """
    if isinstance(reducer, SlidingSum) and points is not None:
        crossings, leaving = reducer.crossings, _LEAVING[function]
        return lambda state, now_ms: crossings(state, points, leaving, now_ms)
    if not isinstance(reducer, Unfolding):
        return None
    future = reducer.future
    if points is None or function in POINTED:
        return future
    if function == "avg":
        return lambda state, now_ms: mean_banded(future(state, now_ms), points)
    number = itemgetter(1) if function == "sum" else None
    return lambda state, now_ms: banded(future(state, now_ms), points, number)


def evaluated(series: Series, holds: Callable[[Any, int], bool]) -> Verdicts:
    """Yield the verdicts on a finite series whenever they change."""
    known: bool | None = None
    for at, value in series:
        verdict = holds(value, at)
        if verdict is not known:
            known = verdict
            yield at, verdict


def aging(series: Series, moves: Moves) -> Series:
    """Yield a series, and between its instants those at which the verdict on the current value may change.

    >>> list(aging(iter([(0, "a"), (10, "b")]), lambda value, at: at + 6 if at < 12 else None))
    [(0, 'a'), (6, 'a'), (10, 'b'), (16, 'b')]
    """
    at, value = next(series)
    yield at, value
    for until, later in chain(series, ((None, None),)):
        edge = moves(value, at)
        while edge is not None and (until is None or edge < until):
            yield edge, value
            edge = moves(value, edge)
        if until is not None:
            at, value = until, later
            yield at, value


def stepped(holds: Holds, edge: Edge) -> Changes:
    """Return the verdicts over time of a leaf that has only a next edge."""

    def changes(profile: Profile, now_ms: int) -> Verdicts:
        at: int | None = now_ms
        while at is not None:
            yield at, holds(profile, at)
            at = edge(profile, at)

    return changes


def combined(leaves: Sequence[Changes], combine: Callable[[list[bool]], bool]) -> Changes:
    """Return the verdicts over time of a rule, combined from those of its leaves."""

    def changes(profile: Profile, now_ms: int) -> Verdicts:
        sources = [leaf(profile, now_ms) for leaf in leaves]
        verdicts = [next(source)[1] for source in sources]
        yield now_ms, combine(verdicts)
        coming = [next(source, None) for source in sources]
        passed, at = now_ms, _first(coming)
        while at is not None:
            if at <= passed:
                # The loop would never end, and the partition would stall.
                raise ArithmeticError(f"an edge at {at} is not after {passed}")
            due = [number for number, one in enumerate(coming) if one is not None and one[0] == at]
            for number in due:
                verdicts[number] = coming[number][1]  # type: ignore[index]
            yield at, combine(verdicts)
            for number in due:
                coming[number] = next(sources[number], None)
            passed, at = at, _first(coming)

    return changes


def _first(coming: Iterable[tuple[int, bool] | None]) -> int | None:
    return min((one[0] for one in coming if one is not None), default=None)
