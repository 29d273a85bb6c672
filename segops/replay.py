"""Membership changes of a stream of events, without Kafka: one source, its event clock, profiles in memory.

The replay defines what a running system must emit for the same input. Messages between profiles arrive at
once, so that a person's profiles merge with the event that links them.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from segops.core.backfill import (
    Collector,
    Row,
    fold,
    give_reason,
    in_force_at_once,
    install,
    missing,
    waiting,
)
from segops.core.engine import Engine
from segops.core.errors import UserError
from segops.core.events import Change, Event, IndicatorValue
from segops.core.identity.protocol import Identity
from segops.core.links import timer_of
from segops.core.messages import Handover, Listing, Message
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.skips import Skip
from segops.core.step import StepResult
from segops.schemas.events import decode, route
from segops.schemas.identifying import DEFAULT, IdentityLimits
from segops.schemas.messages import decode_message, encode_message, split_of


class Replay:
    """Applies events in order of arrival and yields changes in processing order.

    The clock is the greatest event time so far. Before an event advances it, every profile with a timer
    due by the new time is evaluated, each at its own instant, in order of (instant, profile).
    ``sizes`` counts members per segment, ``counts`` identity events such as merges; ``duplicates`` and
    ``failures`` count skipped events and failed evaluations, ``repairs`` (by kind) and ``clamped`` repaired
    events. ``profiles`` includes redirects. With ``retain``, hand-overs are kept so that ``split`` can undo
    them.
    """

    def __init__(
        self,
        segments: SegmentSet,
        *,
        wall_ms: int,
        engine: Engine | None = None,
        limits: IdentityLimits = DEFAULT,
        retain: bool = False,
    ) -> None:
        self.engine = Engine(segments) if engine is None else engine
        self.identity = Identity(self.engine, limits.rules)
        self.profiles: dict[str, Profile] = {}
        self.sizes = dict.fromkeys(segments.by_key, 0)
        self.counts: Counter[str] = Counter()
        self.clock_ms: int | None = None
        self.events = self.duplicates = self.clamped = self.failures = 0
        self.repairs: Counter[str] = Counter()
        self._skipped: list[tuple[str, Skip]] = []
        self._values: list[IndicatorValue] = []
        self._wall_ms = wall_ms
        self._limits = limits
        self._due: list[tuple[int, str]] = []
        self._handovers: dict[str, bytes] | None = {} if retain else None

    def feed(self, line: bytes, *, default_id: str) -> Iterator[Change]:
        """Apply one event given as bytes. Raises RejectedEvent, before anything changes, if it is invalid."""
        yield from self.apply(*self.read(line, default_id=default_id))

    def read(self, line: bytes, *, default_id: str) -> tuple[str, Event]:
        """Decode a line into profile id and event without applying it. Raises RejectedEvent."""
        repairs: Counter[str] = Counter()
        limits = self._limits
        routed = route(line, now_ms=self._wall_ms, default_time_ms=None, limits=limits, repairs=repairs)
        event = decode(
            line,
            time_ms=routed.time_ms,
            default_id=default_id,
            limits=limits,
            repairs=repairs,
            context_keys=self.engine.segments.context_keys,
        )
        self.clamped += routed.clamped
        self.repairs.update(repairs)
        return routed.profile_id, event

    def put_on_list(self, identifier: str, key: str, version: int = 1) -> Iterator[Change]:
        """Say that a version of a static list names an identifier, at the present clock."""
        yield from self._deliver([Listing(identifier, key, version, version)], self.clock_ms or 0)

    def apply(self, profile_id: str, event: Event) -> Iterator[Change]:
        """Advance the clock to an event, apply it to its profile, and merge profiles that it links."""
        yield from self.advance(event.time_ms)
        self.events += 1
        clock_ms = event.time_ms if self.clock_ms is None else self.clock_ms
        profile = self._profile(profile_id)
        due_ms = timer_of(profile)
        result = self.identity.on_event(profile, event, clock_ms=clock_ms)
        yield from self._account(profile, due_ms, result)
        yield from self._deliver(result.messages, clock_ms)

    def _profile(self, profile_id: str) -> Profile:
        profile = self.profiles.get(profile_id)
        if profile is None:
            profile = self.profiles[profile_id] = self.engine.new_profile(profile_id)
        return profile

    def _deliver(self, sent: Sequence[Message], clock_ms: int) -> Iterator[Change]:
        messages = deque(sent)
        while messages:
            message = messages.popleft()
            if self._handovers is not None and isinstance(message, Handover):
                self._handovers[message.source] = encode_message(message)
            profile = self._profile(message.to)
            due_ms = timer_of(profile)
            result = self.identity.on_message(profile, message, clock_ms=clock_ms)
            messages += result.messages
            yield from self._account(profile, due_ms, result)

    def split(self, profile_id: str) -> Iterator[Change]:
        """Undo the latest hand-over of a profile. Raises UserError if none is retained."""
        retained = (self._handovers or {}).get(profile_id)
        if retained is None:
            raise UserError(f"no retained hand-over of {profile_id!r}")
        yield from self._deliver([split_of(decode_message(retained))], self.clock_ms or 0)

    def advance(self, clock_ms: int) -> Iterator[Change]:
        """Advance the clock, never back, and evaluate profiles whose timers are due."""
        if self.clock_ms is None or clock_ms > self.clock_ms:
            self.clock_ms = clock_ms
        while self._due and self._due[0][0] <= self.clock_ms:
            due_ms, profile_id = heapq.heappop(self._due)
            profile = self.profiles[profile_id]
            if profile.due_ms == due_ms:
                # One instant at a time, so that the changes of all profiles come in time order.
                yield from self._account(profile, due_ms, self.engine.on_timer(profile, clock_ms=due_ms))

    def adopt(
        self, segments: SegmentSet, prepare: Callable[[Profile], None], fresh: Collection[str] = ()
    ) -> Iterator[Change]:
        """Go over to other segments at the present clock: evaluate each profile, after ``prepare``.

        ``fresh``: keys of segments and indicators that come into force with their history.
        """
        self.engine = Engine(segments)
        self.identity = Identity(self.engine, self._limits.rules)
        self.sizes = dict.fromkeys(segments.by_key, 0) | self.sizes
        for _, profile in sorted(self.profiles.items()):
            due_ms = timer_of(profile)
            prepare(profile)
            result = self.identity.on_definitions(profile, clock_ms=self.clock_ms or 0)
            give_reason(profile, result.changes, fresh, result.values)
            yield from self._account(profile, due_ms, result)

    def survivor_of(self, profile_id: str) -> str:
        """Return the id of the profile that a profile was merged into, at any distance, or its own."""
        while (into := self.profiles[profile_id].merged_into) is not None:
            profile_id = into
        return profile_id

    def take_skipped(self) -> list[tuple[str, Skip]]:
        """Return and clear the values that rules could not read, with their profile ids."""
        skipped, self._skipped = self._skipped, []
        return skipped

    def take_values(self) -> list[IndicatorValue]:
        """Return and clear the published values of indicators, in processing order."""
        values, self._values = self._values, []
        return values

    def _account(self, profile: Profile, was_due_ms: int | None, found: StepResult) -> Sequence[Change]:
        due_ms = timer_of(profile)
        if due_ms is not None and due_ms != was_due_ms:
            heapq.heappush(self._due, (due_ms, profile.id))
        self._values += found.values
        self._skipped += ((profile.id, skip) for skip in found.skipped)
        self.failures += len(found.failures)
        self.duplicates += found.duplicates
        if found.counts:
            self.counts.update(found.counts)
        for change in found.changes:
            self.sizes[change.segment_key] += 1 if change.member else -1
            change.evaluated_at = change.occurred_at
        return found.changes


class Publication:
    """Segments published in the middle of a replay, with the history that they need.

    Build it before the events that are to count, ``note`` each of them, then ``adopt``: what needs no history
    is in force first, all the rest at the same clock, as in a running system.
    """

    def __init__(self, replay: Replay, segments: SegmentSet) -> None:
        former = replay.engine.segments
        waits = waiting(segments, former.features)
        self._replay, self._segments = replay, segments
        self._at_once = SegmentSet(in_force_at_once(former, segments, waits)) if waits else segments
        self._features = missing(self._at_once.features, segments.features)
        self._collector = Collector(self._features)
        self._rows: dict[str, list[Row]] = {}
        self._events = 0

    @property
    def needs_history(self) -> bool:
        """Whether there is anything to ``note``."""
        return bool(self._features)

    def note(self, profile_id: str, event: Event, *, arrival_ms: int) -> None:
        """Keep what the missing features read of an event that was sent to a profile."""
        row = self._collector.row(event, arrival_ms=arrival_ms, partition=0, offset=self._events)
        self._events += 1
        if row is not None:
            self._rows.setdefault(profile_id, []).append(row)

    def adopt(self) -> Iterator[Change]:
        """Go over to the segments at the present clock of the replay; yield the published differences."""
        replay = self._replay
        if self._at_once.version != replay.engine.segments.version:
            yield from replay.adopt(self._at_once, lambda _: None)
        if self._at_once is not self._segments:
            yield from self._switch()

    def _switch(self) -> Iterator[Change]:
        replay, rows = self._replay, self._by_survivor()
        fresh = self._segments.index_of.keys() - self._at_once.index_of.keys()

        def prepare(profile: Profile) -> None:
            found = fold(profile, rows.get(profile.id, ()), self._features, now_ms=replay.clock_ms or 0)
            install(profile, found, self._features)

        yield from replay.adopt(self._segments, prepare, fresh)

    def _by_survivor(self) -> Mapping[str, Sequence[Row]]:
        """Return the rows of each profile and of all profiles merged into it."""
        found: dict[str, list[Row]] = {}
        for profile_id, rows in self._rows.items():
            found.setdefault(self._replay.survivor_of(profile_id), []).extend(rows)
        return found
