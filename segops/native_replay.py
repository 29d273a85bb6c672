"""A replay where the kernel runs: it applies lines of events, and Python does what it leaves.

The changes, their order and all counts are those of ``segops.replay``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple, cast

from segops.core.events import Change, Event
from segops.core.links import is_waiting, timer_of
from segops.core.messages import Message
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.survey import Survey
from segops.kernel.surveys import surveyed
from segops.replay import Replay
from segops.schemas.events import decode, route
from segops.schemas.identifying import DEFAULT, IdentityLimits
from segops.schemas.messages import decode_message
from segops.schemas.state import decode_profile, encode_exactly
from segops.streaming.native_route import native_route
from segops.streaming.partition.native_segment import native_engine

#: Profiles of a replay have no bound, in bytes.
_UNBOUNDED: Final = 1 << 50
#: Before the first event, in milliseconds.
_NEVER: Final = -(1 << 62)


class Stopped(NamedTuple):
    """Where the kernel stopped: an index, and the number of lines before it.

    ``reason``: why the line there is Python's; None at the end.
    """

    at: int
    number: int
    reason: str | None


class NativeReplay(Replay):
    """A ``Replay`` that has in ``profiles`` only those that Python did last; the kernel has the others.

    ``feed_lines`` applies many lines. After another step, ``give_back`` returns profiles to the kernel.
    """

    def __init__(
        self,
        segments: SegmentSet,
        *,
        native: Any,
        survey: Survey,
        wall_ms: int,
        limits: IdentityLimits = DEFAULT,
    ) -> None:
        super().__init__(segments, wall_ms=wall_ms, limits=limits)
        self._native = native
        self._lines: Any = native.Replay(native_route(native, limits), surveyed(survey), wall_ms)
        self._taken: dict[str, None] = {}
        self._begin()

    def _begin(self) -> None:
        native = self._native
        of_kernel, self._answers = native_engine(native, self.engine, self._limits, _UNBOUNDED)
        self._partition: Any = native.Partition(of_kernel)

    # -- lines -----------------------------------------------------------------------------------------------

    def feed_lines(
        self, text: bytes, at: int, number: int, *, before_ms: int | None = None, note_all: bool = False
    ) -> Stopped:
        """Apply whole lines from an index on; ``number`` lines are before it. ``take_*`` returns the outcome.

        ``before_ms``: stop before an event of this time or a later one. ``note_all``: ``take_events``
        yields each event, and not only those that tell a survey something new.
        """
        due_ms = self._next_own_ms()
        limits = [each for each in (before_ms, due_ms) if each is not None]
        self._set_clock()
        at, number, reason, left_messages = self._lines.feed(
            self._partition, text, (at, number), min(limits, default=None), note_all
        )
        events, clamped = self._lines.take_counts()
        self.events += events
        self.clamped += clamped
        now_ms = self._partition.clock()[3]
        self.clock_ms = self.clock_ms if now_ms == _NEVER else now_ms
        return Stopped(at, number, "message" if left_messages else reason)

    def take_events(self, text: bytes) -> Iterator[tuple[str, Event]]:
        """Yield the events of a text that a survey has to observe, with their profile ids, in order."""
        limits, keys = self._limits, self.engine.segments.context_keys
        for number, begin, end in self._lines.take_observed():
            line = text[begin:end]
            routed = route(line, now_ms=self._wall_ms, default_time_ms=None, limits=limits)
            time_ms, default_id = routed.time_ms, f"line:{number}"
            event = decode(line, time_ms=time_ms, default_id=default_id, limits=limits, context_keys=keys)
            yield routed.profile_id, event

    def take_text(self) -> str:
        """Return the kernel's changes as published, a line each, in processing order."""
        text, sizes = self._lines.take_lines(self._partition)
        for key, size in sizes:
            self.sizes[key] += size
        self._count()
        return str(text)

    def take_changes(self) -> Iterator[Change]:
        """Yield the kernel's changes in processing order."""
        groups = self._partition.take_changes(Change)
        self._count()
        for _, _, changes in groups:
            for change in changes:
                self.sizes[change.segment_key] += 1 if change.member else -1
                change.evaluated_at = change.occurred_at
                yield change

    def deliver_rest(self) -> Iterator[Change]:
        """Deliver the messages that the kernel has left."""
        messages = map(decode_message, self._lines.take_pending())
        yield from self._deliver(cast("list[Message]", [*messages]), self.clock_ms or 0)

    def _count(self) -> None:
        duplicates, _, relayed, stale = self._partition.take_counts()
        self.duplicates += duplicates
        self.counts.update({k: n for k, n in (("relayed", relayed), ("stale", stale)) if n})
        _, failures = self._answers.take()
        self.failures += failures.total()

    # -- time ------------------------------------------------------------------------------------------------

    def _next_own_ms(self) -> int | None:
        """Return when the next profile of Python is due."""
        due = self._due
        while due and not self._is_due(*due[0]):
            heapq.heappop(due)
        return due[0][0] if due else None

    def _is_due(self, due_ms: int, profile_id: str) -> bool:
        profile = self.profiles.get(profile_id)
        return profile is not None and profile.due_ms == due_ms

    def _set_clock(self) -> None:
        now_ms = _NEVER if self.clock_ms is None else self.clock_ms
        self._partition.set_clock(([], [], 0, now_ms, False, False))

    def advance(self, clock_ms: int) -> Iterator[Change]:
        if self.clock_ms is None or clock_ms > self.clock_ms:
            self.clock_ms = clock_ms
        partition = self._partition
        while True:
            own_ms = self._next_own_ms()
            own = self._due[0] if own_ms is not None and own_ms <= self.clock_ms else None
            taken = partition.take_due(self.clock_ms, 1, own)
            if taken:
                due_ms, profile_id = taken[0]
                _, _, why = partition.fire([profile_id], 0, due_ms)
                if why >= 0:
                    self._profile(profile_id)
                else:
                    yield from self.take_changes()
            elif own is None:
                return
            else:
                due_ms, profile_id = heapq.heappop(self._due)
                profile = self._profile(profile_id)
                yield from self._account(profile, due_ms, self.engine.on_timer(profile, clock_ms=due_ms))

    # -- profiles --------------------------------------------------------------------------------------------

    def _profile(self, profile_id: str) -> Profile:
        self._taken[profile_id] = None
        if profile_id not in self.profiles and not self._take(profile_id):
            self._partition.note_away(profile_id)
        return super()._profile(profile_id)

    def _take(self, profile_id: str) -> bool:
        """Take a profile from the kernel; return whether it has it."""
        found = self._partition.check_out(profile_id)
        if found is None:
            return False
        profile = self.profiles[profile_id] = self.engine.open(decode_profile(found[0]))
        due_ms = timer_of(profile)
        if due_ms is not None:
            heapq.heappush(self._due, (due_ms, profile_id))
        return True

    def _take_all(self) -> None:
        for profile_id in self._partition.ids():
            self._take(profile_id)

    def give_back(self) -> None:
        """Return to the kernel the profiles that Python has changed, as far as it can hold them."""
        taken, self._taken = self._taken, {}
        for profile_id in taken:
            profile = self.profiles.get(profile_id)
            if profile is None or not self._is_plain(profile):
                continue
            state = encode_exactly(profile)
            if state is not None and self._lines.give(self._partition, profile_id, state):
                del self.profiles[profile_id]

    def _is_plain(self, profile: Profile) -> bool:
        """Whether it is worth trying: the kernel holds redirects, and profiles with nothing to merge."""
        if profile.merged_into is not None:
            return True
        links = profile.links
        if profile.evaluated_by != self.engine.version or (links is not None and links.sources):
            return False
        return profile.first_ms is not None or is_waiting(profile)

    def adopt(
        self, segments: SegmentSet, prepare: Callable[[Profile], None], fresh: Collection[str] = ()
    ) -> Iterator[Change]:
        self._take_all()
        yield from super().adopt(segments, prepare, fresh)
        self._begin()
        self._taken = dict.fromkeys(self.profiles)
        for profile_id in self.profiles:
            self._partition.note_away(profile_id)
        self.give_back()

    def survivor_of(self, profile_id: str) -> str:
        if len(self._partition):
            self._take_all()
        return super().survivor_of(profile_id)
