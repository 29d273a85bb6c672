"""Conversion of a profile's feature states for the features of another set of rules.

The identity of a feature does not include the thresholds of rules, which only set its capacity. So a state
remains valid under other thresholds: surplus entries are read until they expire, and missing entries are
unknown. Only a count above the greatest capacity has another form.

Earlier versions kept one state per capacity. They are united into one state that holds each event or value of
any of them once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

import msgspec

from segops.core.features.feature import CAPACITIES, Feature
from segops.core.features.running import ZERO
from segops.core.features.states import Entries, EventTimes, Keys, State, Sums, Values

_encode = msgspec.msgpack.Encoder().encode


def former_ids(features: Iterable[Feature]) -> dict[int, int]:
    """Map the ids of earlier versions to the current ids."""
    return {former: feature.id for feature in features for former in feature.former_ids}


def carried(
    states: Mapping[int, State], features: Mapping[int, Feature], former: Mapping[int, int]
) -> dict[int, State]:
    """Return the states that the features read, by current id and in current form.

    The states are changed in place and must not be used afterwards.
    """
    found: dict[int, State] = {}
    for key, state in states.items():
        feature_id = key if key in features else former.get(key)
        if feature_id is not None:
            known = found.get(feature_id)
            found[feature_id] = state if known is None else _UNIONS[known.__class__](known, state)
    return {key: _formed(features[key], state) for key, state in found.items()}


def united(feature: Feature, mine: State, theirs: State) -> State:
    """Return the state of a feature with a capacity that holds each event or value of either once."""
    return _formed(feature, _UNIONS[mine.__class__](mine, theirs))


def _formed(feature: Feature, state: State) -> State:
    """Return the state; for a count, in the form that its capacity requires."""
    if isinstance(state, EventTimes) and feature.capacity is None:
        return _summed(state)
    if isinstance(state, Sums) and feature.kind == "count" and feature.capacity is not None:
        return _latest(state)
    return state


def _latest(state: Sums) -> EventTimes:
    """Return the latest events of a count without a capacity."""
    times: list[int] = []
    for time_ms, number in reversed(_rows(state)):
        times += [time_ms] * min(number, CAPACITIES[-1] - len(times))
    return EventTimes(times[::-1])


def _summed(state: EventTimes) -> Sums:
    return _of_rows([(time_ms, 1) for time_ms in state.times])


def _of_rows(rows: list[tuple[int, int]]) -> Sums:
    counts = list(accumulate(number for _, number in rows))
    return Sums([time_ms for time_ms, _ in rows], counts, [ZERO] * len(rows), 0, ZERO)


def _rows(state: EventTimes | Sums) -> list[tuple[int, int]]:
    """Return the time and the number of events of each entry."""
    if isinstance(state, EventTimes):
        return [(time_ms, 1) for time_ms in state.times]
    before = [state.base_count, *state.counts]
    return [(time_ms, before[at + 1] - before[at]) for at, time_ms in enumerate(state.times)]


def _by_time(rows: Iterable[tuple[int, int]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for time_ms, number in rows:
        found[time_ms] += number
    return found


def _counts(mine: EventTimes | Sums, theirs: EventTimes | Sums) -> State:
    """Unite two counts: the one of more events, plus the events that only the other one has."""
    fewer, more = sorted((_rows(mine), _rows(theirs)), key=lambda rows: (sum(n for _, n in rows), rows))
    lacking = _by_time(fewer) - _by_time(more)
    rows = sorted([*more, *((time_ms, 1) for time_ms in lacking.elements())])
    if isinstance(mine, EventTimes) and isinstance(theirs, EventTimes):
        return EventTimes([time_ms for time_ms, _ in rows][-CAPACITIES[-1] :])
    return _of_rows(rows)


def _keys(mine: Keys, theirs: Keys) -> Keys:
    if mine.since_ms != theirs.since_ms:
        return max(mine, theirs, key=lambda state: state.since_ms)
    return Keys(mine.since_ms, [*{*mine.keys, *theirs.keys}])


def _values(mine: Values, theirs: Values) -> Values:
    """Unite distinct values, each with its latest time."""
    latest = dict(zip(mine.values, mine.times, strict=True))
    for value, time_ms in zip(theirs.values, theirs.times, strict=True):
        latest[value] = max(time_ms, latest.get(value, time_ms))
    pairs = sorted((time_ms, value) for value, time_ms in latest.items())
    return Values([time_ms for time_ms, _ in pairs], [value for _, value in pairs])


def _entries(mine: Entries, theirs: Entries) -> Entries:
    known = Counter(map(_encode, mine.entries))
    rows = list(mine.entries)
    for entry in theirs.entries:
        key = _encode(entry)
        if known[key]:
            known[key] -= 1
        else:
            rows.append(entry)
    return Entries(sorted(rows, key=lambda entry: entry.time_ms))


#: Class of a state that earlier versions kept per capacity -> the union of two states of one feature.
_UNIONS: dict[type, Callable[[Any, Any], State]] = {
    EventTimes: _counts,
    Sums: _counts,
    Keys: _keys,
    Values: _values,
    Entries: _entries,
}
