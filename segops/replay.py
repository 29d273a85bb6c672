"""Membership changes of a stream of events, without Kafka: one source, its event clock, profiles in memory.

This is the engine's own answer to what a running system must emit for the same input.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from segops.core.engine import Engine, Transition
from segops.core.events import Change, Event
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.schemas.events import decode, route


class Replay:
    """Feeds events in the order of arrival and yields changes in the order in which they are decided.

    The clock is the greatest event time so far. Before an event moves it on, every profile that falls due
    up to the new time is judged, each at its own instant, in order of (instant, profile).
    ``sizes`` counts members; ``duplicates``, ``skipped_values`` and ``failures`` what happened on the way.
    """

    def __init__(self, segments: SegmentSet, *, wall_ms: int, engine: Engine | None = None) -> None:
        self.engine = Engine(segments) if engine is None else engine
        self.profiles: dict[str, Profile] = {}
        self.sizes = dict.fromkeys(segments.by_key, 0)
        self.clock_ms: int | None = None
        self.events = self.duplicates = self.skipped_values = self.failures = 0
        self._wall_ms = wall_ms
        self._due: list[tuple[int, str]] = []

    def feed(self, line: bytes, *, default_id: str) -> Iterator[Change]:
        """Apply one event as bytes. Raises RejectedEvent, before anything has changed, for what is none."""
        yield from self.apply(*self.read(line, default_id=default_id))

    def read(self, line: bytes, *, default_id: str) -> tuple[str, Event]:
        """The profile and the event of a line, neither applied. Raises RejectedEvent."""
        routed = route(line, now_ms=self._wall_ms, default_time_ms=None)
        return routed.profile_id, decode(line, time_ms=routed.time_ms, default_id=default_id)

    def apply(self, profile_id: str, event: Event) -> Iterator[Change]:
        """Move the clock on to an event, and apply it to its profile."""
        yield from self.advance(event.time_ms)
        self.events += 1
        profile = self.profiles.get(profile_id)
        if profile is None:
            profile = self.profiles[profile_id] = self.engine.new_profile(profile_id)
        due_ms = profile.due_ms
        clock_ms = event.time_ms if self.clock_ms is None else self.clock_ms
        yield from self._account(profile, due_ms, self.engine.on_event(profile, event, clock_ms=clock_ms))

    def advance(self, clock_ms: int) -> Iterator[Change]:
        """Move the clock on, never back, and judge what falls due."""
        if self.clock_ms is None or clock_ms > self.clock_ms:
            self.clock_ms = clock_ms
        while self._due and self._due[0][0] <= self.clock_ms:
            due_ms, profile_id = heapq.heappop(self._due)
            profile = self.profiles[profile_id]
            if profile.due_ms == due_ms:
                # One instant at a time, so that the changes of all profiles come in order of time.
                yield from self._account(profile, due_ms, self.engine.on_timer(profile, clock_ms=due_ms))

    def _account(self, profile: Profile, was_due_ms: int | None, transition: Transition) -> Iterable[Change]:
        if profile.due_ms is not None and profile.due_ms != was_due_ms:
            heapq.heappush(self._due, (profile.due_ms, profile.id))
        self.duplicates += transition.duplicate
        self.skipped_values += transition.skipped_values
        self.failures += len(transition.failures)
        for change in transition.changes:
            self.sizes[change.segment_key] += 1 if change.member else -1
            change.evaluated_at = change.occurred_at
        return transition.changes
