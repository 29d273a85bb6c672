"""Sessions (``SPEC.md#sessions``): runs of events, each less than ``gap_ms`` after the one before it.

Of each session the state has the first and the last time, so a late event finds the sessions that it extends
or joins. An event between two times of a session cannot split it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from segops.core.features.bands import Series
from segops.core.features.feature import MAX_ENTRIES
from segops.core.features.states import RecentSessions, Session, Sessions
from segops.core.windows import Between, Calendar, Fixed, Window, Within, period, span

#: The number of latest sessions kept per profile where only the current or the last one is read.
MAX_SESSIONS = 16

#: A session, and its place among values of one time: those of a lower rank arrived first.
Ranked = tuple[int, Session]
#: The current session and the last one that has ended; None if there is none.
Latest = tuple[Session | None, Session | None]


class SessionCount:
    """The number of sessions that begin in the window.

    A session leaves the state once no late event in the window can belong to it.
    """

    most = MAX_ENTRIES

    def __init__(self, window: Window, gap_ms: int) -> None:
        self.window = window
        self.gap_ms = gap_ms
        self._until_ms = window.until_ms if isinstance(window, Fixed) else None

    def add(self, state: Sessions | None, time_ms: int, value: Any, now_ms: int) -> Sessions | None:
        expired_ms = span(self.window, now_ms)[0] - self.gap_ms
        if time_ms <= expired_ms or (self._until_ms is not None and time_ms >= self._until_ms):
            return None
        if state is None:
            state = Sessions([])
        del state.sessions[: bisect_right(state.sessions, expired_ms, key=_last)]
        insert(state, Session(time_ms, time_ms, 1), self)
        return state

    def read(self, state: Sessions | None, now_ms: int) -> int:
        if state is None:
            return 0
        after, upto = span(self.window, now_ms)
        return bisect_right(state.sessions, upto, key=_begin) - bisect_right(
            state.sessions, after, key=_begin
        )

    def next_crossing(self, state: Sessions | None, falling: tuple[int, ...], now_ms: int) -> int | None:
        """Return when the number ``within`` a length next falls below one of ``falling`` (greatest first)."""
        if state is None or not isinstance(self.window, Within):
            return None
        for threshold in falling:
            if threshold <= len(state.sessions):
                at = state.sessions[-threshold].begin_ms + self.window.length_ms
                if at > now_ms:
                    return at
        return None

    def future(self, state: Sessions | None, now_ms: int) -> Series:
        number = self.read(state, now_ms)
        yield now_ms, number
        moves = iter(()) if state is None else self._moves(state, number, now_ms)
        for at, steps in groupby(moves, key=itemgetter(0)):
            number += sum(step for _, step in steps)
            yield at, number

    def _moves(self, state: Sessions, number: int, now_ms: int) -> Iterator[tuple[int, int]]:
        """Yield the instants after now, in order, at which the number changes, each with the difference."""
        match self.window:
            case Within(length_ms=length):
                yield from _shifted(state, length, now_ms, -1)
            case Between(from_ms=from_ms, to_ms=to_ms):
                yield from merge(_shifted(state, to_ms, now_ms, 1), _shifted(state, from_ms, now_ms, -1))
            case Calendar() as calendar:
                yield period(calendar, now_ms)[1], -number


class LatestSessions:
    """The current session, which ends ``gap_ms`` after its last event, and the last one that has ended."""

    most = MAX_SESSIONS

    def __init__(self, gap_ms: int) -> None:
        self.gap_ms = gap_ms

    def add(self, state: Sessions | None, time_ms: int, value: Any, now_ms: int) -> Sessions | None:
        if state is None:
            state = RecentSessions([])
        found = None if value is None or value[0] is None else (time_ms, value[0])
        insert(state, Session(time_ms, time_ms, 1, found, found), self)
        return state

    def read(self, state: Sessions | None, now_ms: int) -> Latest:
        if state is None:
            return None, None
        *earlier, newest = state.sessions[-2:]
        if now_ms >= newest.last_ms + self.gap_ms:
            return None, newest
        return newest, earlier[0] if earlier else None

    def next_edge(self, state: Sessions | None, now_ms: int) -> int | None:
        end_ms = now_ms if state is None else state.sessions[-1].last_ms + self.gap_ms
        return end_ms if end_ms > now_ms else None


def insert(state: Sessions, event: Session, reducer: SessionCount | LatestSessions) -> None:
    """Add a session of one event to the state, in place, and forget the oldest ones beyond the limit."""
    sessions, gap_ms = state.sessions, reducer.gap_ms
    begin = bisect_right(sessions, event.begin_ms - gap_ms, key=_last)
    end = bisect_left(sessions, event.begin_ms + gap_ms, begin, key=_begin)
    sessions[begin:end] = [_combined([*((0, session) for session in sessions[begin:end]), (1, event)])]
    del sessions[: -reducer.most]


def united(
    source: Sessions, survivor: Sessions, shared: Iterable[int], reducer: SessionCount | LatestSessions
) -> Sessions:
    """Return the sessions of both; among values of one time, the source's arrived first.

    ``shared``: the times of the events that are in both.
    """
    ranked = sorted(
        [*((0, session) for session in source.sessions), *((1, session) for session in survivor.sessions)],
        key=lambda each: each[1].begin_ms,
    )
    found: list[Session] = []
    runs: list[Ranked] = []
    last_ms = 0
    for rank, session in ranked:
        if runs and session.begin_ms - last_ms >= reducer.gap_ms:
            found.append(_combined(runs))
            runs = []
        last_ms = max(last_ms, session.last_ms) if runs else session.last_ms
        runs.append((rank, session))
    found.append(_combined(runs))
    for time_ms in shared:
        at = bisect_left(found, time_ms, key=_last)
        if at < len(found) and found[at].begin_ms <= time_ms:
            found[at] = msgspec.structs.replace(found[at], events=found[at].events - 1)
    return survivor.__class__(found[-reducer.most :])


def _combined(runs: list[Ranked]) -> Session:
    if len(runs) == 1:
        return runs[0][1]
    sessions = [session for _, session in runs]
    firsts = [(session.first[0], rank, session.first) for rank, session in runs if session.first is not None]
    lasts = [(session.last[0], rank, session.last) for rank, session in runs if session.last is not None]
    return Session(
        min(session.begin_ms for session in sessions),
        max(session.last_ms for session in sessions),
        sum(session.events for session in sessions),
        min(firsts, key=_time_and_rank)[2] if firsts else None,
        max(lasts, key=_time_and_rank)[2] if lasts else None,
    )


def _time_and_rank(valued: tuple[int, int, Any]) -> tuple[int, int]:
    return valued[:2]


def _shifted(state: Sessions, length_ms: int, now_ms: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the instants after now at which a session has begun ``length_ms`` ago, each with ``step``."""
    sessions = state.sessions
    for at in range(bisect_right(sessions, now_ms - length_ms, key=_begin), len(sessions)):
        yield sessions[at].begin_ms + length_ms, step


def _begin(session: Session) -> int:
    return session.begin_ms


def _last(session: Session) -> int:
    return session.last_ms
