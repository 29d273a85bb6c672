"""What a job must cause, by the engine alone; and for peers that cannot wait, judged at events only."""

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
    """One membership change, in no system's own form."""

    user: str
    segment: str
    action: str
    at_ms: int


@dataclass
class Reference:
    """The expected changes. ``timed`` has what time alone causes, ``at_events`` is judged at events only.

    ``places`` says for the changes that an event causes which it was: (partition, its number there).
    """

    timed: list[Change] = field(default_factory=list)
    at_events: list[Change] = field(default_factory=list)
    places: dict[Change, tuple[int, int]] = field(default_factory=dict)
    events: list[int] = field(default_factory=list)
    profiles: int = 0


def expected(records: Iterable[Record], segments: SegmentSet, *, partitions: int, final_ms: int) -> Reference:
    """Judge every event in order of time, then let time pass to ``final_ms``."""
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
        place = (record.partition, made.events[record.partition])
        made.places.update(dict.fromkeys((c for c in (*timed, *caused) if c.at_ms == record.at_ms), place))
        made.events[record.partition] += 1
    made.profiles = len(profiles)
    for user, profile in profiles.items():
        found = engine.on_timer(profile, clock_ms=final_ms).changes
        made.timed += [Change(user, c.segment_key, c.action, c.occurred_at) for c in found]
    return made


def _net(changes: list[Change], at_ms: int) -> Iterator[Change]:
    """What a look at ``at_ms`` sees of the changes since the last: of each segment one, or none."""
    last: dict[str, list[Change]] = {}
    for change in changes:
        last.setdefault(change.segment, []).append(change)
    return (found[-1]._replace(at_ms=at_ms) for found in last.values() if len(found) % 2)
