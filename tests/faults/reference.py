"""What must have come out, computed from the log of profile events alone.

Ticks are records of that log, so it says all there is to know: who did what, and what time it was then.
Two judges read it: the slow evaluator that keeps every event (``tests.core.oracle``) says which changes
there must be, and the engine, in one piece and never disturbed, what each profile must look like inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from segops.core.engine import Engine, Transition
from segops.core.errors import RejectedEvent
from segops.core.events import Change, Event
from segops.core.profile import Profile
from segops.core.rules.history import History
from segops.core.segments import Definition, SegmentSet
from segops.schemas.events import decode
from segops.schemas.state import decode_profile, encode_profile
from segops.streaming.clock import PartitionClock
from segops.streaming.records import origin_of
from segops.streaming.ticks import decode_tick

from ..core.oracle import Oracle, Seen, Standings

#: The default of SEGOPS_MAX_STATE_BYTES.
MAX_STATE_BYTES = 512 << 10
#: Beyond this many events a profile is left to the engine: the slow evaluator would take minutes.
SLOW_EVENTS = 80


class Judge(Oracle):
    """The slow evaluator, without the even slower search for the flip after each change."""

    def truth(self, now_ms: int) -> set[str]:
        """The segments that the profile is rightly in at ``now_ms``."""
        return {key for key, now in self._judged(self.standings, now_ms).items() if now.member}

    def _adopt(self, standings: Standings, now_ms: int, reason: str, event_id: str | None) -> list[Seen]:
        former, self.standings = self.standings, standings
        return [
            Seen(key, "entered" if now.member else "exited", reason, now_ms, None, event_id)
            for key, now in standings.items()
            if now.member is not former[key].member
        ]


@dataclass
class Person:
    """One profile as both judges see it."""

    oracle: Oracle
    profile: Profile
    seen: list[Seen] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    moved_at: int = -1
    events: int = 0

    @property
    def expected(self) -> list[Seen]:
        """The changes that there must be, in order."""
        return self.seen if self.events <= SLOW_EVENTS else [seen_of(change) for change in self.changes]


def seen_of(change: Change) -> Seen:
    """A published change as the oracle would say it."""
    return Seen(change.segment_key, change.action, change.reason, change.occurred_at, None, change.event_id)


@dataclass
class Told:
    """The reference's account of one partition: its people, its clock, and the sources of the events
    that would have made a profile too large."""

    people: dict[str, Person]
    now_ms: int
    refused: set[str]


class Replayer:
    """Reads one partition of profile events as its lane should have."""

    def __init__(
        self, definitions: list[Definition], sources: int, *, by_events: bool, slow_events: int = SLOW_EVENTS
    ) -> None:
        self._slow_events = slow_events
        segments = SegmentSet(definitions)
        self._engine = Engine(segments)
        self._definitions = segments.definitions
        self._clock = PartitionClock(sources=sources, by_events=by_events)
        self._people: dict[str, Person] = {}
        self._refused: set[str] = set()

    def run(self, records: Iterable[Any]) -> Told:
        """The account after these records, with everything judged that is due by then."""
        for record in records:
            if record.key is None:
                self._tick(record)
            else:
                self._event(record)
        for person in self._people.values():
            self._pass_time(person, self._clock.now_ms)
        return Told(self._people, self._clock.now_ms, self._refused)

    def _tick(self, record: Any) -> None:
        tick = decode_tick(record.value)
        if tick.clock_ms is not None:
            self._clock.advance(tick.clock_ms)
        elif tick.source is not None and tick.watermark_ms is not None:
            self._clock.mark(tick.source, tick.watermark_ms, idle=tick.idle)

    def _event(self, record: Any) -> None:
        source, time_ms = origin_of(record.headers)
        self._clock.observe(int(source.partition(b":")[0]), time_ms)
        person = self._person(record.key.decode())
        try:
            event = decode(record.value, time_ms=time_ms, default_id=source.decode())
        except RejectedEvent:
            return
        transition = self._fitting(person, event)
        if transition is None:
            self._refused.add(source.decode())
            return
        person.changes += transition.changes
        if transition.duplicate:
            return
        person.moved_at = record.offset
        person.events += 1
        if person.events <= self._slow_events:
            seen = person.oracle.on_event(event, self._clock.now_ms)
            named = event.message_id if event.named else None
            person.seen += [_named(each, event.message_id, named) for each in seen]

    def _fitting(self, person: Person, event: Event) -> Transition | None:
        """Apply an event; None, and nothing changed, when the profile would be too large with it."""
        before = encode_profile(person.profile)
        transition = self._engine.on_event(person.profile, event, clock_ms=self._clock.now_ms)
        size = len(encode_profile(person.profile))
        if size > max(MAX_STATE_BYTES, len(before)):
            person.profile = decode_profile(before)
            return None
        return transition

    def _person(self, profile_id: str) -> Person:
        person = self._people.get(profile_id)
        if person is None:
            oracle = Judge(self._definitions, History(profile_id))
            person = self._people[profile_id] = Person(oracle, self._engine.new_profile(profile_id))
        return person

    def _pass_time(self, person: Person, now_ms: int) -> None:
        person.changes += self._engine.on_timer(person.profile, clock_ms=now_ms).changes
        if person.events <= self._slow_events:
            person.seen += person.oracle.on_clock(now_ms)


def _named(seen: Seen, message_id: str, named: str | None) -> Seen:
    """An event without an id of its own is named in no change."""
    if named is None and seen.event_id == message_id:
        return Seen(seen.segment, seen.action, seen.reason, seen.occurred_at, seen.flips_at, None)
    return seen
