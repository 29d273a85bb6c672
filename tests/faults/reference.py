"""What must have come out, computed from the log of profile events alone.

Ticks are records of that log, and so is what profiles say to each other, so it says all there is to know:
who did what, who is who, and what time it was then. Two judges read it: the slow evaluator that keeps every
event (``tests.core.oracle``) says which changes there must be, and the identity protocol over the engine, in
one piece and never disturbed, what each profile must look like inside and what it must have sent. Profiles
that ever met another identifier are left to the second: the slow one knows one profile only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from segops.core.engine import Engine
from segops.core.errors import RejectedEvent
from segops.core.events import Change, Event
from segops.core.identity.protocol import Identity
from segops.core.messages import Forward, Message
from segops.core.profile import Profile
from segops.core.rules.reference import History
from segops.core.segments import Definition, SegmentSet
from segops.core.step import StepResult
from segops.schemas.events import decode
from segops.schemas.messages import decode_message, encode_message
from segops.schemas.records import origin_of
from segops.schemas.state import decode_profile, encode_profile
from segops.schemas.ticks import TYPE_HEADER, decode_tick
from segops.streaming.partition.clock import PartitionClock

from ..core.oracle import ChangeSummary, Memberships, Oracle

#: The default of SEGOPS_MAX_STATE_BYTES.
MAX_STATE_BYTES = 512 << 10
#: Beyond this many events a profile is left to the engine: the slow evaluator would take minutes.
SLOW_EVENTS = 80


class Judge(Oracle):
    """The slow evaluator, without the even slower search for the flip after each change."""

    def truth(self, now_ms: int) -> set[str]:
        """The segments that the profile is rightly in at ``now_ms``."""
        return {key for key, now in self._evaluate(self.memberships, now_ms).items() if now.member}

    def _adopt(
        self, memberships: Memberships, now_ms: int, reason: str, event_id: str | None
    ) -> list[ChangeSummary]:
        former, self.memberships = self.memberships, memberships
        return [
            ChangeSummary(key, "entered" if now.member else "exited", reason, now_ms, None, event_id)
            for key, now in memberships.items()
            if now.member is not former[key].member
        ]


@dataclass
class Person:
    """One profile as both judges see it."""

    oracle: Oracle
    profile: Profile
    seen: list[ChangeSummary] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    moved_at: int = -1
    events: int = 0

    @property
    def alone(self) -> bool:
        """Whether this identifier never met another one."""
        return self.profile.merged_into is None and self.profile.links is None

    @property
    def slow(self) -> bool:
        """Whether the slow evaluator knows everything of this profile."""
        return self.alone and self.events <= SLOW_EVENTS

    @property
    def expected(self) -> list[ChangeSummary]:
        """The changes that there must be, in order."""
        return self.seen if self.slow else [seen_of(change) for change in self.changes]


def is_message(record: Any) -> bool:
    """Whether a profile says this to another one."""
    return bool(record.key is not None and record.headers and record.headers[0][0] == TYPE_HEADER)


def seen_of(change: Change) -> ChangeSummary:
    """A published change as the oracle would say it."""
    return ChangeSummary(
        change.segment_key, change.action, change.reason, change.occurred_at, None, change.event_id
    )


@dataclass
class Told:
    """The reference's account of one partition: its people, its clock, the sources of the events that would
    have made a profile too large, the messages that it sends, and the offsets of the records by which
    somebody was not joined."""

    people: dict[str, Person]
    now_ms: int
    refused: set[str]
    messages: Counter[bytes]
    unjoined: set[int]


class Replayer:
    """Reads one partition of profile events as its lane should have."""

    def __init__(
        self, definitions: list[Definition], sources: int, *, by_events: bool, slow_events: int = SLOW_EVENTS
    ) -> None:
        self._slow_events = slow_events
        segments = SegmentSet(definitions)
        self._identity = Identity(Engine(segments))
        self._definitions = segments.definitions
        self._clock = PartitionClock(
            sources=sources, processors=sources if by_events else 0, by_events=by_events
        )
        self._told = Told({}, self._clock.now_ms, set(), Counter(), set())

    def run(self, records: Iterable[Any]) -> Told:
        """The account after these records, with everything judged that is due by then."""
        for record in records:
            if record.key is None:
                self._tick(record)
            elif is_message(record):
                self._message(record)
            else:
                self._event(record)
        for person in self._told.people.values():
            self._pass_time(person, self._clock.now_ms)
        self._told.now_ms = self._clock.now_ms
        return self._told

    def _tick(self, record: Any) -> None:
        tick = decode_tick(record.value)
        if tick.clock_ms is not None:
            self._clock.advance(tick.clock_ms)
        elif tick.lane is not None and tick.watermark_ms is not None:
            self._clock.report_watermark(tick.lane, tick.watermark_ms)
        elif tick.source is not None and tick.watermark_ms is not None:
            self._clock.mark(tick.source, tick.watermark_ms, idle=tick.idle)

    def _message(self, record: Any) -> None:
        message = decode_message(record.value)
        person = self._person(message.to)
        outcome = self._fitting(person, message)
        if outcome is not None:
            self._note(person, record, outcome)

    def _event(self, record: Any) -> None:
        source, time_ms = origin_of(record.headers)
        self._clock.observe(int(source.partition(b":")[0]), time_ms)
        person = self._person(record.key.decode())
        try:
            event = decode(record.value, time_ms=time_ms, default_id=source.decode())
        except RejectedEvent:
            return
        outcome = self._fitting(person, Forward(person.profile.id, event))
        if outcome is None:
            self._told.refused.add(source.decode())
            return
        self._note(person, record, outcome)
        if outcome.moved and not outcome.duplicates:
            self._see(person, event)

    def _see(self, person: Person, event: Event) -> None:
        person.events += 1
        if person.events <= self._slow_events and person.alone:
            seen = person.oracle.on_event(event, self._clock.now_ms)
            named = event.message_id if event.named else None
            person.seen += [_named(each, event.message_id, named) for each in seen]

    def _note(self, person: Person, record: Any, outcome: StepResult) -> None:
        person.changes += outcome.changes
        self._told.messages.update(map(encode_message, outcome.messages))
        if outcome.unjoined:
            self._told.unjoined.add(record.offset)
        if outcome.moved:
            person.moved_at = record.offset

    def _fitting(self, person: Person, message: Message) -> StepResult | None:
        """Take a step; None, and nothing changed, when the profile would be too large with an event."""
        before = encode_profile(person.profile)
        outcome = self._identity.on_message(person.profile, message, clock_ms=self._clock.now_ms)
        size = len(encode_profile(person.profile))
        if isinstance(message, Forward) and size > max(MAX_STATE_BYTES, len(before)):
            person.profile = decode_profile(before)
            return None
        return outcome

    def _person(self, profile_id: str) -> Person:
        person = self._told.people.get(profile_id)
        if person is None:
            oracle = Judge(self._definitions, History(profile_id))
            profile = self._identity.engine.new_profile(profile_id)
            person = self._told.people[profile_id] = Person(oracle, profile)
        return person

    def _pass_time(self, person: Person, now_ms: int) -> None:
        person.changes += self._identity.on_timer(person.profile, clock_ms=now_ms).changes
        if person.events <= self._slow_events and person.alone:
            person.seen += person.oracle.on_clock(now_ms)


def _named(seen: ChangeSummary, message_id: str, named: str | None) -> ChangeSummary:
    """An event without an id of its own is named in no change."""
    if named is None and seen.event_id == message_id:
        return ChangeSummary(seen.segment, seen.action, seen.reason, seen.occurred_at, seen.flips_at, None)
    return seen
