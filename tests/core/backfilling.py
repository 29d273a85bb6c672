"""Helpers for the tests of backfill: rows of events, and profiles that get their features by a fold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from segops.core.backfill import Collector, Row, fold, install, missing
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import Feature, reducer_of
from segops.core.features.feature import Stepping, Unfolding
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.windows import reach_ms
from segops.schemas.rows import decode_row, encode_row
from segops.schemas.state import decode_profile, encode_profile

#: Instants after now at which readings are compared, in ms.
LATER = (0, 1, 500, 3_000, 10_000, 20_000, 86_400_000, 700_000_000)
#: The most future readings of one feature that are compared.
MOST = 50


def rows_of(features: dict[int, Feature], events: Iterable[Event]) -> list[Row]:
    """Return the rows of events in order of arrival, from one source, as they are stored."""
    collector = Collector(features)
    found = (
        collector.row(event, arrival_ms=number, partition=0, offset=number)
        for number, event in enumerate(events)
    )
    return [decode_row(encode_row(row)) for row in found if row is not None]


def switched(
    profile: Profile, engine: Engine, events: Iterable[Event], *, former: SegmentSet, clock_ms: int
) -> Profile:
    """Fold what ``former`` lacks into a stored profile, and evaluate it by the engine's segments."""
    needed = missing(former.features, engine.segments.features)
    install(profile, fold(profile, rows_of(needed, events), needed, now_ms=clock_ms), needed)
    if profile.first_ms is None:
        profile.evaluated_by = engine.version
    else:
        result = engine.on_definitions(profile, clock_ms=clock_ms)
        assert not result.failures
    return decode_profile(encode_profile(profile))


def readings(feature: Feature, profile: Profile, now_ms: int) -> list[Any]:
    """Return what a feature reads of a profile: now, later, and at each change by time alone."""
    reducer, state = reducer_of(feature), profile.features.get(feature.id)
    if feature.kind == "history":
        return _known_history(state, now_ms - reach_ms(feature.window))
    found: list[Any] = [reducer.read(state, now_ms + later) for later in LATER]
    if isinstance(reducer, Unfolding):
        found.append(_changes(reducer, state, now_ms))
    if isinstance(reducer, Stepping):
        found.append(_edges(reducer, state, now_ms))
    return found


def _known_history(state: Any, after_ms: int) -> list[Any]:
    """Return the value in force at ``after_ms``, and the later ones with their times."""
    pairs = [] if state is None else list(zip(state.times, state.values, strict=True))
    before = [value for time_ms, value in pairs if time_ms <= after_ms]
    return [before[-1:], [pair for pair in pairs if pair[0] > after_ms]]


def _changes(reducer: Unfolding, state: Any, now_ms: int) -> list[tuple[int, Any]]:
    """Return the future readings, each at the first instant at which it differs from the one before."""
    found: list[tuple[int, Any]] = []
    for _, (at, value) in zip(range(MOST), reducer.future(state, now_ms), strict=False):
        if not found or found[-1][1] != value:
            found.append((at, value))
    return found


def _edges(reducer: Stepping, state: Any, now_ms: int) -> list[int]:
    """Return the next instants at which a reading differs."""
    found: list[int] = []
    at = reducer.next_edge(state, now_ms)
    while at is not None and len(found) < MOST:
        if reducer.read(state, at) != reducer.read(state, at - 1):
            found.append(at)
        at = reducer.next_edge(state, at)
    return found
