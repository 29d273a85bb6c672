"""The fold: rows of one profile -> the states of features, as if they had been live from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from segops.core.backfill.rows import Row, reader
from segops.core.engine import message_hash
from segops.core.features import Counted, Feature, Reducer, State, reducer_of
from segops.core.features.building import built
from segops.core.features.lists import adds_each, spread
from segops.core.features.states import Frozen, RecentSessions, Tally, Total
from segops.core.merge import may_lose
from segops.core.profile import Profile


class Folded(msgspec.Struct, frozen=True):
    """The result of a fold.

    ``states``: feature id -> state; a feature without an event that may still count has none. ``notes``:
    message -> what it added to accumulators, for a later merge. ``complete_since_ms``: id of each feature
    whose oldest rows were left out for want of room -> the time from which on its events are complete.
    """

    states: dict[int, State]
    notes: dict[int, Counted] = {}
    complete_since_ms: dict[int, int] = {}


def fold(
    profile: Profile,
    rows: Iterable[Row],
    features: Mapping[int, Feature],
    *,
    now_ms: int,
    max_bytes: int | None = None,
    holder: Profile | None = None,
) -> Folded:
    """Return the states of ``features`` after these rows, as of ``now_ms`` or the latest row's time if later.

    ``rows`` are those of the profile and of all profiles merged into it, in any order; they may be repeated,
    and have values of other features. Of rows with one message hash the first to arrive is taken. They are
    applied by (time, partition, offset), each at its own time; those of orders by (arrival, partition,
    offset), each at the greatest time so far, since orders depend on their arrival. ``now_ms`` is the
    recorded clock of the partition. Each feature reads from then on as one that was live from the start, for
    events that arrived in order of time, and for late ones with the limits below.

    ``profile`` is not changed: its held events, or those of its ``holder`` that has yet to merge it, are left
    out, since they are applied when the claims are answered, unless they repeat one that it has applied; what
    it has ``seen`` is noted, if it may be merged implicitly.

    What history cannot give:

    - Of two different events with one message id, the second counts if no feature selects the first.
    - Among events of one time, the order is that of the source, not that of the arrival.
    - Of more events than a family keeps (``MAX_ENTRIES``, ``MAX_LINKS``, ``MAX_ORDERS``), late ones may have
      replaced others in a live feature, or have been folded into another pane.
    - Orders are applied at the greatest event time so far, in a live feature at the clock of its partition.

    ``max_bytes`` limits the encoded states: the largest features share what the smaller ones leave, and each
    keeps its newest rows that fit. The result depends only on the set of rows.
    """
    held = _held(profile, holder or profile)
    unique = sorted(_first_copies(row for row in rows if row.message not in held), key=_POSITION)
    end_ms = max(now_ms, unique[-1].time_ms) if unique else now_ms
    builds = [
        _Build(key, _plan_of(key, features[key]), found, end_ms)
        for key, found in _by_feature(unique, features)
    ]
    if max_bytes is not None:
        _fit(builds, max_bytes)
    states = {build.id: build.state for build in builds if build.state is not None}
    complete = {b.id: b.complete_since_ms for b in builds if b.complete_since_ms is not None}
    return Folded(states, _notes(profile, builds), complete)


_POSITION = attrgetter("time_ms", "partition", "offset")
_ARRIVAL = attrgetter("arrival_ms", "partition", "offset")


def _held(profile: Profile, holder: Profile) -> frozenset[int]:
    """Return the messages that are applied when the holder no longer waits, not those that are repeated."""
    held = () if holder.links is None else holder.links.held
    messages = (message_hash(each.event.message_id) for each in held)
    return frozenset(message for message in messages if message not in profile.seen)


def _first_copies(rows: Iterable[Row]) -> Iterable[Row]:
    """Return the row of each message that arrived first, with the values of all rows of that arrival."""
    first: dict[int, Row] = {}
    for row in rows:
        known = first.setdefault(row.message, row)
        if known is row:
            continue
        mine, theirs = _ARRIVAL(known), _ARRIVAL(row)
        if theirs < mine:
            first[row.message] = row
        elif theirs == mine and row.values.keys() - known.values.keys():
            first[row.message] = msgspec.structs.replace(known, values=known.values | row.values)
    return first.values()


def _by_feature(rows: Iterable[Row], features: Mapping[int, Feature]) -> list[tuple[int, list[Row]]]:
    """Return the rows of each feature, in the order of their ids."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        for key in row.values:
            known = found.get(key)
            if known is not None:
                known.append(row)
            elif key in features:
                found[key] = [row]
    return sorted(found.items())


class _Plan(msgspec.Struct, frozen=True):
    """How to build the states of one feature."""

    reducer: Reducer
    read: Callable[[Any], Any] | None
    by_arrival: bool
    spreads: bool


#: Feature id and capacity -> its plan: preparing one takes longer than building a typical state.
_plans: dict[tuple[int, int | None], _Plan] = {}
_MOST_PLANS = 10_000


def _plan_of(key: int, feature: Feature) -> _Plan:
    found = _plans.get((key, feature.capacity))
    if found is None:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        found = _Plan(reducer_of(feature), reader(feature), feature.purchases is not None, adds_each(feature))
        _plans[key, feature.capacity] = found
    return found


class _Build:
    """One feature, the rows that it keeps, and their state."""

    __slots__ = ("complete_since_ms", "id", "now_ms", "plan", "rows", "state")

    def __init__(self, feature_id: int, plan: _Plan, rows: list[Row], now_ms: int) -> None:
        self.id = feature_id
        self.plan = plan
        self.rows = rows
        self.now_ms = now_ms
        self.complete_since_ms: int | None = None
        self.state = self._built(rows)

    def value(self, row: Row) -> Any:
        """Return what the feature reads of a row."""
        value = row.values[self.id]
        return value if self.plan.read is None else self.plan.read(value)

    def _built(self, rows: list[Row]) -> State | None:
        plan, key = self.plan, self.id
        if plan.by_arrival:
            rows = sorted(rows, key=_ARRIVAL)
        if plan.read is None:
            events = [(row.time_ms, row.values[key]) for row in rows]
        else:
            events = [(row.time_ms, plan.read(row.values[key])) for row in rows]
        return built(plan.reducer, spread(events) if plan.spreads else events, self.now_ms)

    @property
    def size(self) -> int:
        return size_of(self.state)

    def cut(self, max_bytes: int) -> None:
        """Leave out as few of the oldest rows as necessary for the state to have at most ``max_bytes``."""
        fits, fails = 0, len(self.rows)
        while fails - fits > 1:
            number = (fits + fails) // 2
            if size_of(self._built(self.rows[-number:])) <= max_bytes:
                fits = number
            else:
                fails = number
        begin = len(self.rows) - fits
        self.complete_since_ms = self.rows[begin - 1].time_ms + 1
        self.rows = self.rows[begin:]
        self.state = self._built(self.rows)


def _fit(builds: Iterable[_Build], max_bytes: int) -> None:
    """Cut the largest states, so that all have at most ``max_bytes``: none gets less than a smaller one."""
    ordered = sorted(builds, key=lambda build: (build.size, build.id))
    for number, build in enumerate(ordered):
        share = max(max_bytes, 0) // (len(ordered) - number)
        if build.size > share:
            build.cut(share)
        max_bytes -= build.size


def size_of(state: State | None) -> int:
    """Return the length of a state and its id in a stored profile; an estimate for integers of any length."""
    if state is None:
        return 0
    try:
        return len(_encode(state)) + _ID_BYTES
    except OverflowError:
        return len(str(state))


_encode = msgspec.msgpack.Encoder().encode
_ID_BYTES = 9


def _notes(profile: Profile, builds: Iterable[_Build]) -> dict[int, Counted]:
    """Return what each message that the profile remembers added to accumulators."""
    notes: dict[int, Counted] = {}
    if not may_lose(profile):
        return notes
    for build in builds:
        state = build.state.live if isinstance(build.state, Frozen) else build.state
        if state.__class__ not in _ACCUMULATORS:
            continue
        for row in build.rows:
            if row.message in profile.seen:
                value = build.value(row)
                added = build.plan.reducer.add(None, row.time_ms, value, row.time_ms)
                if added is not None:
                    notes.setdefault(row.message, Counted(row.time_ms)).note(build.id, added, value)
    return notes


_ACCUMULATORS = (RecentSessions, Tally, Total)
