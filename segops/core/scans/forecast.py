"""Forecast: how many members leave, and how many others enter, by time alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec

from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.profile import Profile
from segops.core.scans.references import with_references
from segops.core.segments import SegmentSet

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
#: Whole hours and days (UTC) that are forecast, after the one that has begun.
HOURS: Final = 24
DAYS: Final = 30
#: The instants of change that are followed for one profile.
MAX_INSTANTS: Final = 1_000


class Flow(msgspec.Struct, array_like=True, gc=False):
    """The changes of one segment in one hour or day."""

    entered: int = 0
    left: int = 0


class SegmentForecast(msgspec.Struct, gc=False):
    """One segment: its members now, and its changes by the instant (ms) at which an hour or a day begins.

    Hours and days without a change are left out.
    """

    members: int = 0
    hours: dict[int, Flow] = {}
    days: dict[int, Flow] = {}


class Forecast(msgspec.Struct):
    """The forecast of several segments; all times are milliseconds, hours and days those of UTC.

    The hours begin with the one of ``hours_from``, which may be partly past, and end before ``hours_until``;
    likewise the days. ``cut``: the profiles that would change at more than ``MAX_INSTANTS`` instants, of
    which only the first are counted.
    """

    hours_from: int
    hours_until: int
    days_from: int
    days_until: int
    segments: dict[str, SegmentForecast]
    cut: int = 0

    def merged(self, other: Forecast) -> Forecast:
        """Return the forecast over the profiles of both, for the hours and days that both cover."""
        merged = Forecast(
            max(self.hours_from, other.hours_from),
            min(self.hours_until, other.hours_until),
            max(self.days_from, other.days_from),
            min(self.days_until, other.days_until),
            {},
            self.cut + other.cut,
        )
        for key in self.segments.keys() | other.segments.keys():
            mine = self.segments.get(key, _EMPTY)
            theirs = other.segments.get(key, _EMPTY)
            merged.segments[key] = SegmentForecast(
                mine.members + theirs.members,
                _sum(mine.hours, theirs.hours, merged.hours_from, merged.hours_until),
                _sum(mine.days, theirs.days, merged.days_from, merged.days_until),
            )
        return merged


_EMPTY: Final = SegmentForecast()


def _sum(
    mine: Mapping[int, Flow], theirs: Mapping[int, Flow], from_ms: int, until_ms: int
) -> dict[int, Flow]:
    return {
        at: Flow(
            sum(flows[at].entered for flows in (mine, theirs) if at in flows),
            sum(flows[at].left for flows in (mine, theirs) if at in flows),
        )
        for at in sorted(mine.keys() | theirs.keys())
        if from_ms <= at < until_ms
    }


def changes_by_time(engine: Engine, profile: Profile, until_ms: int) -> Iterator[Change]:
    """Fire the timers of a profile that are due before ``until_ms``, and yield the changes.

    After ``MAX_INSTANTS`` instants it ends, and the profile is still due.
    """
    for _ in range(MAX_INSTANTS):
        if not is_due(profile, until_ms):
            return
        yield from engine.on_timer(profile, clock_ms=profile.due_ms or 0).changes


def is_due(profile: Profile, until_ms: int) -> bool:
    """Return whether a membership of the profile changes before ``until_ms`` by time alone."""
    return profile.due_ms is not None and profile.due_ms < until_ms


class Forecaster:
    """Forecasts the segments ``keys`` (none: all) for profiles that ``engine`` has evaluated.

    A copy of each profile that changes within the horizon goes through its timers with the engine, so that
    minimum stays, cool-downs, hysteresis, windows and references are those of the real future. ``from_ms``:
    the clock at the start of the scan.

    >>> from segops.core.rules import model
    >>> from segops.core.segments import Definition
    >>> engine = Engine(SegmentSet([Definition("old", "Old", model.KnownFor(HOUR_MS))]))
    >>> profile = Profile("user_id:u1", first_ms=0, due_ms=HOUR_MS, flips={"old": HOUR_MS})
    >>> forecaster = Forecaster(engine, (), from_ms=5)
    >>> forecaster.visit(profile, 5)
    >>> forecaster.result().segments["old"].hours
    {3600000: Flow(entered=1, left=0)}
    """

    share: Final = 1.0

    def __init__(self, engine: Engine, keys: Collection[str], *, from_ms: int) -> None:
        self._engine = engine
        self._keys = frozenset(keys or engine.segments.by_key)
        self._some = len(self._keys) < len(engine.segments.by_key)
        if self._some:  # the timers of others do not matter
            known = {definition.key: definition for definition in engine.segments.definitions}
            needed = SegmentSet(with_references(sorted(self._keys), known), engine.segments)
            self._engine = Engine(needed)
        self._hours_from, self._days_from = from_ms // HOUR_MS * HOUR_MS, from_ms // DAY_MS * DAY_MS
        self._hours_until = self._hours_from + (HOURS + 1) * HOUR_MS
        self._days_until = self._days_from + (DAYS + 1) * DAY_MS
        self._members = dict.fromkeys(self._keys, 0)
        self._hours: dict[str, defaultdict[int, Flow]] = {key: defaultdict(Flow) for key in self._keys}
        self._days: dict[str, defaultdict[int, Flow]] = {key: defaultdict(Flow) for key in self._keys}
        self._cut = 0

    def visit(self, profile: Profile, now_ms: int) -> None:
        """Count the changes of one profile up to the horizon."""
        members = self._members
        for key in profile.members:
            if key in members:
                members[key] += 1
        if self._changes(profile):
            self._follow(profile, now_ms)

    def _changes(self, profile: Profile) -> bool:
        until_ms, flips = self._days_until, profile.flips
        if profile.due_ms is None or profile.due_ms >= until_ms:
            return False
        return not self._some or any(flips.get(key, until_ms) < until_ms for key in self._keys)

    def _follow(self, profile: Profile, now_ms: int) -> None:
        followed = self._engine.segments.by_key
        flips = {key: at for key, at in profile.flips.items() if key in followed}
        ahead = msgspec.structs.replace(
            profile,
            members=profile.members.copy(),
            flips=flips,
            due_ms=min(flips.values(), default=None),
            past=profile.past.copy(),
        )
        for change in changes_by_time(self._engine, ahead, self._days_until):
            if change.segment_key in self._keys:
                self._count(change.segment_key, max(change.occurred_at, now_ms), entered=change.member)
        self._cut += is_due(ahead, self._days_until)

    def _count(self, key: str, at_ms: int, *, entered: bool) -> None:
        flows = [self._days[key][at_ms // DAY_MS * DAY_MS]]
        if at_ms < self._hours_until:
            flows.append(self._hours[key][at_ms // HOUR_MS * HOUR_MS])
        for flow in flows:
            if entered:
                flow.entered += 1
            else:
                flow.left += 1

    def result(self) -> Forecast:
        """Return the forecast over the profiles visited so far."""
        return Forecast(
            self._hours_from,
            self._hours_until,
            self._days_from,
            self._days_until,
            {
                key: SegmentForecast(
                    self._members[key],
                    dict(sorted(self._hours[key].items())),
                    dict(sorted(self._days[key].items())),
                )
                for key in sorted(self._keys)
            },
            self._cut,
        )
