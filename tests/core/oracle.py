"""The brute-force driver of the reference evaluator: every instant that could matter is judged.

It mirrors the engine's contract (``SPEC.md#time``) with none of its means: it keeps every event, knows no
timers, and finds the edges by trying each instant that any duration and any known time could make. What
happens to memberships later it finds by living through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from segops.core.events import Event
from segops.core.rules.model import Node
from segops.core.rules.policy import Policy
from segops.core.rules.reference import EvaluatedMember, History, edges, holds
from segops.core.segments import Definition

#: How far ahead the oracle looks for the next flip: further than two days, and less than three.
FAR_MS = 2 * 86_400_000 + 10**7


@dataclass(frozen=True)
class Seen:
    """What a change says, for comparison."""

    segment: str
    action: str
    reason: str
    occurred_at: int
    flips_at: int | None
    event_id: str | None


@dataclass(frozen=True)
class Standing:
    """One segment: in it or not, since when, when it was left last, how often it was entered."""

    member: bool = False
    since_ms: int = 0
    left_ms: int | None = None
    entries: int = 0

    def free_ms(self, policy: Policy) -> int | None:
        """The instant before which the membership may not change."""
        if self.member:
            return self.since_ms + (policy.min_stay_ms or 0)
        return None if self.left_ms is None else self.left_ms + (policy.cool_down_ms or 0)

    def after(self, truth: bool, policy: Policy, now_ms: int) -> Standing:
        """What it becomes at an instant at which the rule for it is ``truth``."""
        free_ms = self.free_ms(policy)
        if truth is self.member or (free_ms is not None and now_ms < free_ms):
            return self
        if self.member:
            return replace(self, member=False, left_ms=now_ms)
        if policy.max_entries is not None and self.entries >= policy.max_entries:
            return self
        return replace(self, member=True, since_ms=now_ms, entries=self.entries + 1)


Standings = dict[str, Standing]


class Named(NamedTuple):
    """What is published of who the person is."""

    user_id: str | None
    anonymous_id: str | None
    email: str | None
    traits: dict[str, Any]


def named(history: History) -> Named:
    """Of each name and trait the value of the latest event time, at equal times that of the last arrival."""
    user_id = anonymous_id = email = None
    for event in history.in_order():
        user_id = event.user_id or user_id
        anonymous_id = event.anonymous_id or anonymous_id
        email = None if event.email_removed else event.email or email
    return Named(user_id, anonymous_id, email, history.traits())


@dataclass
class Oracle:
    """One profile, judged by brute force. ``definitions`` stand in the order of judging."""

    definitions: list[Definition]
    history: History = field(default_factory=lambda: History("user_id:u1"))
    standings: Standings = field(default_factory=dict)
    judged_ms: int | None = None

    def __post_init__(self) -> None:
        self.standings = {d.key: Standing() for d in self.definitions}

    @property
    def members(self) -> set[str]:
        return {key for key, standing in self.standings.items() if standing.member}

    def on_event(self, event: Event, clock_ms: int) -> list[Seen]:
        if any(event.message_id == known.message_id for known in self.history.events):
            return []
        changes = self.on_clock(max(event.time_ms, clock_ms))
        latest = max((known.time_ms for known in self.history.events), default=event.time_ms)
        now_ms = max(event.time_ms, clock_ms, latest)
        self.history.add(event, now_ms)
        self.judged_ms = now_ms
        return changes + self._adopt(self._judged(self.standings, now_ms), now_ms, "event", event.message_id)

    def on_clock(self, until_ms: int) -> list[Seen]:
        if self.judged_ms is None:
            return []
        changes: list[Seen] = []
        for at, standings in self._life(self.standings, self.judged_ms, until_ms):
            changes += self._adopt(standings, at, "time", None)
        self.judged_ms = max(self.judged_ms, until_ms)
        return changes

    def _life(self, standings: Standings, now_ms: int, until_ms: int) -> Iterator[tuple[int, Standings]]:
        """Every instant after ``now_ms`` that could matter if nothing happens, and what it leads to."""
        coming = edges([d.when for d in self.definitions], self.history, now_ms, until_ms)
        while True:
            free = [standings[d.key].free_ms(d.policy or Policy()) for d in self.definitions]
            tried = [at for at in (*coming[:1], *free) if at is not None and now_ms < at <= until_ms]
            if not tried:
                return
            now_ms = min(tried)
            coming = coming[coming[:1] == [now_ms] :]
            standings = self._judged(standings, now_ms)
            yield now_ms, standings

    def _judged(self, standings: Standings, now_ms: int) -> Standings:
        found: Standings = {}
        for d in self.definitions:
            around = EvaluatedMember(
                {key for key, standing in found.items() if standing.member}, standings[d.key].member
            )
            truth = holds(d.when, self.history, now_ms, around)
            found[d.key] = standings[d.key].after(truth, d.policy or Policy(), now_ms)
        return found

    def _adopt(self, standings: Standings, now_ms: int, reason: str, event_id: str | None) -> list[Seen]:
        changed = [key for key, now in standings.items() if now.member is not self.standings[key].member]
        self.standings = standings
        coming = list(self._life(standings, now_ms, now_ms + FAR_MS)) if changed else []
        return [
            Seen(
                key,
                "entered" if standings[key].member else "exited",
                reason,
                now_ms,
                next((at for at, then in coming if then[key].member is not standings[key].member), None),
                event_id,
            )
            for key in changed
        ]


def judged(
    nodes: Sequence[Node], steps: Sequence[tuple[str, Any]], watermark: bool
) -> Iterator[tuple[History, int]]:
    """Every instant of a stream at which the verdict on one of ``nodes`` can change, with what is known then.

    First in order of time what time alone may do, then the event. ``watermark``: events move the clock, too.
    """
    history, clock_ms, done_ms = History("user_id:u1"), -(10**15), None
    for kind, arg in steps:
        time_ms = arg if kind == "clock" else arg.time_ms
        clock_ms = max(clock_ms, time_ms) if kind == "clock" or watermark else clock_ms
        if kind == "event" and any(arg.message_id == known.message_id for known in history.events):
            continue
        if done_ms is not None:
            for at in edges(nodes, history, done_ms, max(time_ms, clock_ms)):
                yield history, at
            done_ms = max(done_ms, time_ms, clock_ms)
        if kind == "event":
            done_ms = max(clock_ms, *(event.time_ms for event in history.events), time_ms)
            history.add(arg, done_ms)
            yield history, done_ms
