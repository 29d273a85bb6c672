"""Decisions: instants of profiles at which a model is asked what follows, and what followed then.

Decisions are taken in two ways, both from the past alone:

- at events, chosen by the hash of their message id, since a rule looks at a score when something happens;
- in quiet, since a rule looks at it then, too: 1, 4, 16, ... hours (times 0.5 to 1.5, by the hash of the
  profile) after its last event, up to some weeks.

A decision is labelled with whether a target event follows: after its instant t, and at most a horizon later.
It is known once the clock has passed t + horizon; until then it is pending. Beyond ``most`` decisions every
second one is dropped, by hash, and from then on only such are taken: those left are a sample of all.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec
from xxhash import xxh3_64_intdigest

#: One of so many events is a decision, before any is dropped.
EVERY: Final = 4
#: How long after the last event decisions are taken in quiet, in ms.
QUIET_MS: Final = tuple(4**number * 3_600_000 for number in range(6))
_SPREAD: Final = 1 << 16


class Profiles(Protocol):
    """The profiles of the stream as they are now, by their ids."""

    def latest_ms(self, profile: str) -> int | None:
        """Return the time of a profile's latest event; None if it is gone, or was merged into another."""

    def vector(self, profile: str, now_ms: int) -> Sequence[float] | None:
        """Return the features of a profile at an instant; None if no decision is to be taken on it."""

    def survivor(self, profile: str) -> str:
        """Return the id of the profile that a profile was merged into, at any distance, or its own."""


class Task(msgspec.Struct, frozen=True):
    """What a model foretells: that one of the ``targets`` follows within the horizon."""

    name: str
    targets: tuple[str, ...]
    horizon_ms: int


class Decision(msgspec.Struct, array_like=True, gc=False):
    """A decision: the profile, the instant, what was known then, and what followed.

    ``mark``: the hash that decides which decisions are dropped. ``foretold``: what the model in force at
    the instant said. ``quiet``: it was taken without an event.
    """

    profile: str
    at_ms: int
    mark: int
    vector: list[float]
    foretold: float | None = None
    observed: bool = False
    quiet: bool = False


class DecisionState(msgspec.Struct, array_like=True):
    """All of ``Decisions`` that a restart needs."""

    clock_ms: int
    level: int
    dropped: int
    pending: list[Decision]
    known: list[Decision]
    quiet: list[tuple[int, str, int]]
    targets: list[tuple[int, str]]


class Decisions:
    """The decisions of one task. The caller feeds it the stream, in the order of the clock."""

    def __init__(self, task: Task, profiles: Profiles, *, most: int) -> None:
        self.task = task
        #: What the model in force says of a vector; None: there is none.
        self.foretell: Callable[[Sequence[float]], float] | None = None
        self.pending: deque[Decision] = deque()
        #: Those whose outcome is known, by their instants.
        self.known: deque[Decision] = deque()
        self.dropped = 0
        self._profiles = profiles
        self._most = most
        self._level = 0
        self._clock_ms: int | None = None
        self._quiet: list[tuple[int, str, int]] = []
        #: Profile -> when it is next looked at in quiet; other entries of ``_quiet`` are void.
        self._due: dict[str, int] = {}
        self._targets: dict[str, list[int]] = {}
        self._target_times: deque[tuple[int, str]] = deque()

    def pass_time(self, to_ms: int) -> list[Decision]:
        """Take the decisions in quiet before an instant, and return those whose outcome became known.

        Call it before the event of that time is applied: nothing of it is seen.
        """
        while self._quiet and self._quiet[0][0] < to_ms:
            due_ms, profile, number = heapq.heappop(self._quiet)
            if self._due.get(profile) == due_ms:
                del self._due[profile]
                self._wake(profile, due_ms, number)
        self._clock_ms = to_ms if self._clock_ms is None else max(self._clock_ms, to_ms)
        return list(self._matured(self._clock_ms))

    def _wake(self, profile: str, due_ms: int, number: int) -> None:
        latest_ms = self._profiles.latest_ms(profile)
        if latest_ms is None:
            return
        if latest_ms + _after(profile, number) > due_ms:  # there were events in between
            self._wait(profile, latest_ms, 0)
            return
        at_ms = due_ms if self._clock_ms is None else max(due_ms, self._clock_ms)
        self._take(profile, at_ms, xxh3_64_intdigest(f"{profile}|{due_ms}".encode()), quiet=True)
        self._wait(profile, latest_ms, number + 1)

    def _wait(self, profile: str, latest_ms: int, number: int) -> None:
        if number < len(QUIET_MS):
            self._due[profile] = due_ms = latest_ms + _after(profile, number)
            heapq.heappush(self._quiet, (due_ms, profile, number))

    def after_event(self, profile: str, name: str, times: tuple[int, int], message_id: str) -> None:
        """Note an event that was applied to a profile; ``times``: its own, and that of its evaluation."""
        time_ms, now_ms = times
        if name in self.task.targets:
            self._targets.setdefault(profile, []).append(time_ms)
            self._target_times.append((time_ms, profile))
        due_ms = self._due.get(profile)
        if due_ms is None or due_ms > now_ms + _after(profile, 0):
            self._wait(profile, now_ms, 0)
        mark = xxh3_64_intdigest(message_id.encode())
        if mark % EVERY == 0:
            self._take(profile, now_ms, mark // EVERY)

    def merged(self, source: str, into: str) -> None:
        """Note that a profile was merged: what followed either is what followed the survivor."""
        times = self._targets.pop(source, None)
        if times:
            self._targets.setdefault(into, []).extend(times)
            self._target_times += ((time_ms, into) for time_ms in times)

    def _take(self, profile: str, at_ms: int, mark: int, *, quiet: bool = False) -> None:
        if mark & ((1 << self._level) - 1):
            return
        vector = self._profiles.vector(profile, at_ms)
        if vector is None:
            return
        foretold = None if self.foretell is None else self.foretell(vector)
        self.pending.append(Decision(profile, at_ms, mark, list(vector), foretold, quiet=quiet))
        while len(self.pending) + len(self.known) > self._most:
            self._thin()

    def _thin(self) -> None:
        before = len(self.pending) + len(self.known)
        self._level += 1
        keep = (1 << self._level) - 1
        self.pending = deque(each for each in self.pending if not each.mark & keep)
        self.known = deque(each for each in self.known if not each.mark & keep)
        self.dropped += before - len(self.pending) - len(self.known)

    def _matured(self, clock_ms: int) -> Iterable[Decision]:
        """Yield the decisions whose horizon the clock has passed, with what followed."""
        horizon = self.task.horizon_ms
        while self.pending and self.pending[0].at_ms + horizon < clock_ms:
            found = self.pending.popleft()
            times = self._targets.get(self._profiles.survivor(found.profile), [])
            found.observed = any(found.at_ms < time_ms <= found.at_ms + horizon for time_ms in times)
            self.known.append(found)
            yield found
        while self._target_times and self._target_times[0][0] < clock_ms - 2 * horizon:
            time_ms, profile = self._target_times.popleft()
            left = [each for each in self._targets.pop(profile, []) if each > time_ms]
            if left:
                self._targets[profile] = left

    def expire(self, before_ms: int) -> None:
        """Forget the decisions before an instant whose outcome is known."""
        while self.known and self.known[0].at_ms < before_ms:
            self.known.popleft()

    def forget(self, profiles: frozenset[str]) -> None:
        """Drop all of some profiles."""
        before = len(self.pending) + len(self.known)
        self.pending = deque(each for each in self.pending if each.profile not in profiles)
        self.known = deque(each for each in self.known if each.profile not in profiles)
        self.dropped += before - len(self.pending) - len(self.known)
        self._target_times = deque(each for each in self._target_times if each[1] not in profiles)
        for profile in profiles:
            self._targets.pop(profile, None)
            self._due.pop(profile, None)

    @property
    def state(self) -> DecisionState:
        """All that a restart needs."""
        return DecisionState(
            self._clock_ms or 0,
            self._level,
            self.dropped,
            list(self.pending),
            list(self.known),
            [each for each in self._quiet if self._due.get(each[1]) == each[0]],
            list(self._target_times),
        )

    def restore(self, state: DecisionState) -> None:
        """Go on from a state."""
        self._clock_ms, self._level, self.dropped = state.clock_ms, state.level, state.dropped
        self.pending, self.known = deque(state.pending), deque(state.known)
        self._quiet = [tuple(each) for each in state.quiet]  # type: ignore[misc]
        heapq.heapify(self._quiet)
        self._due = {profile: due_ms for due_ms, profile, _ in self._quiet}
        self._target_times = deque((time_ms, profile) for time_ms, profile in state.targets)
        self._targets = {}
        for time_ms, profile in self._target_times:
            self._targets.setdefault(profile, []).append(time_ms)


def _after(profile: str, number: int) -> int:
    """Return how long after its last event a profile's decision number ``number`` in quiet is taken."""
    part: int = xxh3_64_intdigest(profile.encode()) % _SPREAD
    after_ms: int = QUIET_MS[number] * (_SPREAD // 2 + part) // _SPREAD
    return after_ms
