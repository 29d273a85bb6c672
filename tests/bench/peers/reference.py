"""The expected changes of a job by the engine alone, with timers and, for peers without, at events only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from segops.core.engine import Engine
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.schemas.events import decode, route

from .job import Record

_WALL_MS = 4_000_000_000_000


class Change(NamedTuple):
    """One membership change, independent of any system's format."""

    user: str
    segment: str
    action: str
    at_ms: int


@dataclass
class Reference:
    """The expected changes: ``timed`` includes changes by time alone, ``at_events`` evaluates at events only.

    ``caused_by`` maps each change that an event causes to the event: (partition, index in it).
    """

    timed: list[Change] = field(default_factory=list)
    at_events: list[Change] = field(default_factory=list)
    caused_by: dict[Change, tuple[int, int]] = field(default_factory=dict)
    events: list[int] = field(default_factory=list)
    profiles: int = 0


def expected(records: Iterable[Record], segments: SegmentSet, *, partitions: int, final_ms: int) -> Reference:
    """Evaluate every event in order of time, then advance the clock to ``final_ms``."""
    engine, profiles = Engine(segments), dict[str, Profile]()
    made = Reference(events=[0] * partitions)
    for record in records:
        routed = route(record.value, now_ms=_WALL_MS, default_time_ms=None)
        event = decode(record.value, time_ms=routed.time_ms, default_id="-")
        profile = profiles.get(record.user)
        if profile is None:
            profile = profiles[record.user] = engine.new_profile(routed.profile_id)
        found = engine.on_event(profile, event, clock_ms=0).changes
        timed = [Change(record.user, c.segment_key, c.action, c.occurred_at) for c in found]
        caused = list(_net(timed, record.at_ms))
        made.timed += timed
        made.at_events += caused
        position = (record.partition, made.events[record.partition])
        made.caused_by.update(
            dict.fromkeys((c for c in (*timed, *caused) if c.at_ms == record.at_ms), position)
        )
        made.events[record.partition] += 1
    made.profiles = len(profiles)
    for user, profile in profiles.items():
        found = engine.on_timer(profile, clock_ms=final_ms).changes
        made.timed += [Change(user, c.segment_key, c.action, c.occurred_at) for c in found]
    return made


def _net(changes: list[Change], at_ms: int) -> Iterator[Change]:
    """Reduce the changes since the last evaluation to the net changes at ``at_ms``."""
    last: dict[str, list[Change]] = {}
    for change in changes:
        last.setdefault(change.segment, []).append(change)
    return (found[-1]._replace(at_ms=at_ms) for found in last.values() if len(found) % 2)
