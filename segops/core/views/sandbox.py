"""What would happen to a profile: imaginary events and time on copies of it, with the engine's own code.

Nothing is stored or published. Two copies take the same steps, one of them later: it shows the state before
each step, so that a change of membership says which nodes of the rule have changed their verdicts.
Identifiers in imaginary events are not followed: the profile stays one, and takes over no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from segops.core.engine import Engine
from segops.core.events import Change, Event
from segops.core.profile import Profile
from segops.core.step import StepResult
from segops.core.views.explain import RulePart, SegmentExplanation, explain
from segops.core.views.profile import MembershipView, view_memberships

#: The most changes of one run.
MAX_CHANGES: Final = 1_000
Step = Callable[[Profile], StepResult]


class FlippedLeaf(msgspec.Struct, frozen=True):
    """A leaf of a rule whose verdict has changed; ``was`` and ``holds`` are None if it fails to evaluate.

    ``path``: the positions of its ancestors and itself among their siblings, from the root down.
    """

    path: tuple[int, ...]
    label: str
    was: bool | None
    holds: bool | None
    value_before: object = None
    value: object = None
    threshold: str | None = None


class SandboxChange(msgspec.Struct, frozen=True):
    """A change of membership at ``at_ms``, by ``reason`` event or time.

    ``event``: the number of the imaginary event that caused it, from 0, in the order in which they were
    given. ``until``: when the next change follows if nothing more happens (None: never). ``because``: the
    rule after the change. ``flipped``: the leaves whose verdict is another one than just before; empty if
    only the segment's policy has caused the change.
    """

    at_ms: int
    segment: str
    name: str
    version: int
    action: str
    reason: str
    event: int | None
    until: int | None
    because: RulePart
    flipped: tuple[FlippedLeaf, ...]


class SandboxView(msgspec.Struct, frozen=True):
    """The changes from ``now_ms``, the clock, on in their order, and the memberships before and after.

    ``reached_ms``: the instant up to which all changes are listed; ``stopped`` says why that is before
    ``until_ms``: ``changes`` (too many) or ``time`` (it took too long). ``failed``: the segments whose rule
    failed, so that their memberships did not change.
    """

    profile_id: str
    now_ms: int
    until_ms: int
    reached_ms: int
    stopped: Literal["changes", "time"] | None
    before: tuple[MembershipView, ...]
    changes: tuple[SandboxChange, ...]
    after: tuple[MembershipView, ...]
    failed: tuple[str, ...] = ()


class Sandbox:
    """One run. ``copies``: two equal copies of the profile, which the run changes.

    ``since``: the features of which no profile knows earlier events, as in ``explain``. ``may_go_on`` is
    asked before each step.

    >>> from segops.core.rules import model
    >>> from segops.core.segments import Definition, SegmentSet
    >>> engine = Engine(SegmentSet([Definition("old", "Old", model.KnownFor(10))]))
    >>> copies = engine.new_profile("user_id:u1"), engine.new_profile("user_id:u1")
    >>> view = Sandbox(engine, copies, clock_ms=0).run([Event("page", 5, "m", {})], until_ms=100)
    >>> [(each.at_ms, each.action, each.reason) for each in view.changes]
    [(15, 'entered', 'time')]
    >>> view.changes[0].flipped[0].label, view.changes[0].flipped[0].was
    ('known for 10ms', False)
    """

    def __init__(
        self,
        engine: Engine,
        copies: tuple[Profile, Profile],
        *,
        clock_ms: int,
        since: Mapping[int, int] = MappingProxyType({}),
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._engine = engine
        self._earlier, self._profile = copies
        self._now_ms = self._clock_ms = self._reached_ms = clock_ms
        self._since = since
        self._may_go_on = may_go_on
        self._definitions = {each.key: each for each in engine.segments.definitions}
        self._changes: list[SandboxChange] = []
        self._failed: set[str] = set()
        self._stopped: Literal["changes", "time"] | None = None

    def run(self, events: Sequence[Event], *, until_ms: int) -> SandboxView:
        """Apply the events in order of their times, then let time pass to ``until_ms``; call it once."""
        self._adopt()
        before = self._memberships()
        for number in sorted(range(len(events)), key=lambda each: events[each].time_ms):
            self._pass_time(events[number].time_ms)
            if self._must_stop():
                break
            self._happen(number, events[number])
        self._pass_time(until_ms)
        return SandboxView(
            self._profile.id,
            self._now_ms,
            until_ms,
            self._reached_ms if self._stopped else until_ms,
            self._stopped,
            before,
            tuple(self._changes),
            self._memberships(),
            tuple(sorted(self._failed)),
        )

    def _memberships(self) -> tuple[MembershipView, ...]:
        return view_memberships(self._profile, self._definitions)

    def _adopt(self) -> None:
        """Evaluate the copies by the segments in force, as the engine does before the next event."""
        for each in (self._earlier, self._profile):
            if each.evaluated_by != self._engine.version and each.first_ms is not None:
                self._engine.on_definitions(each, clock_ms=self._clock_ms)

    def _must_stop(self) -> bool:
        if self._stopped is None and len(self._changes) >= MAX_CHANGES:
            self._stopped = "changes"
        elif self._stopped is None and not self._may_go_on():
            self._stopped = "time"
        return self._stopped is not None

    def _pass_time(self, until_ms: int) -> None:
        """Fire the timers up to an instant, each at its own."""
        while (due_ms := self._profile.due_ms) is not None and due_ms <= until_ms:
            if self._must_stop():
                return
            self._take(partial(self._engine.on_timer, clock_ms=due_ms), None, due_ms - 1)
            self._reached_ms = max(self._reached_ms, due_ms)
        self._clock_ms = max(self._clock_ms, until_ms)

    def _happen(self, number: int, event: Event) -> None:
        clock_ms = self._clock_ms
        now_ms = max(clock_ms, event.time_ms, self._profile.latest_ms)
        self._take(partial(self._engine.on_event, event=event, clock_ms=clock_ms), number, now_ms)
        self._reached_ms = max(self._reached_ms, clock_ms)

    def _take(self, step: Step, number: int | None, just_before_ms: int) -> None:
        """Let the profile take a step, then the earlier copy; note the changes in between."""
        result = step(self._profile)
        self._failed.update(result.failures)
        if result.changes:
            keys = {change.segment_key for change in result.changes}
            was = self._explained(self._earlier, just_before_ms, keys)
            at_ms = result.changes[-1].occurred_at
            now = self._explained(self._profile, at_ms, keys)
            self._changes += (
                self._change(change, number, was[change.segment_key], now[change.segment_key])
                for change in result.changes
            )
        step(self._earlier)

    def _explained(
        self, profile: Profile, at_ms: int, keys: Collection[str]
    ) -> dict[str, SegmentExplanation]:
        found = explain(self._engine.segments, profile, at_ms, since=self._since, keys=keys)
        return {each.segment_key: each for each in found.segments}

    @staticmethod
    def _change(
        change: Change, number: int | None, was: SegmentExplanation, now: SegmentExplanation
    ) -> SandboxChange:
        return SandboxChange(
            change.occurred_at,
            change.segment_key,
            now.name,
            change.segment_version,
            change.action,
            change.reason,
            number,
            change.flips_at,
            now.rule,
            tuple(flipped_leaves(was.rule, now.rule)),
        )


def flipped_leaves(was: RulePart, now: RulePart, path: tuple[int, ...] = ()) -> Iterator[FlippedLeaf]:
    """Yield the leaves that have another verdict in one of two explanations of a rule than in the other."""
    for number, (one, two) in enumerate(zip(was.parts, now.parts, strict=True)):
        yield from flipped_leaves(one, two, (*path, number))
    if not now.parts and was.holds is not now.holds:
        yield FlippedLeaf(path, now.label, was.holds, now.holds, was.value, now.value, now.threshold)
