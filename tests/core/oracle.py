"""The brute-force driver of the reference evaluator: every instant that could matter is judged.

It mirrors the engine's contract (RULES section 5) with none of its means: it keeps every event, knows no
timers, and finds the edges by trying each instant that any duration and any known time could make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from segops.core.events import Event
from segops.core.rules.model import Node
from segops.core.rules.reference import History, edges, holds
from segops.core.segments import Definition

#: How far ahead the oracle looks for the next flip.
FAR_MS = 10**7


@dataclass(frozen=True)
class Seen:
    """What a change says, for comparison."""

    segment: str
    action: str
    reason: str
    occurred_at: int
    flips_at: int | None
    event_id: str | None


@dataclass
class Oracle:
    """One profile, judged by brute force. ``definitions`` stand in the order of judging."""

    definitions: list[Definition]
    history: History = field(default_factory=lambda: History("user_id:u1"))
    members: set[str] = field(default_factory=set)
    judged_ms: int | None = None

    def on_event(self, event: Event, clock_ms: int) -> list[Seen]:
        if any(event.message_id == known.message_id for known in self.history.events):
            return []
        changes = self.on_clock(max(event.time_ms, clock_ms))
        latest = max((known.time_ms for known in self.history.events), default=event.time_ms)
        now_ms = max(event.time_ms, clock_ms, latest)
        self.history.add(event)
        self.judged_ms = now_ms
        return changes + self._judge(now_ms, "event", event.message_id)

    def on_clock(self, until_ms: int) -> list[Seen]:
        if self.judged_ms is None:
            return []
        changes: list[Seen] = []
        for at in self._edges(self.judged_ms, until_ms):
            changes += self._judge(at, "time", None)
        self.judged_ms = max(self.judged_ms, until_ms)
        return changes

    def _edges(self, now_ms: int, until_ms: int) -> list[int]:
        return edges([d.when for d in self.definitions], self.history, now_ms, until_ms)

    def _truth(self, now_ms: int) -> set[str]:
        members: set[str] = set()
        for definition in self.definitions:
            if holds(definition.when, self.history, now_ms, members.__contains__):
                members.add(definition.key)
        return members

    def _judge(self, now_ms: int, reason: str, event_id: str | None) -> list[Seen]:
        members = self._truth(now_ms)
        changed = [d.key for d in self.definitions if (d.key in members) != (d.key in self.members)]
        self.members = members
        coming = [(at, self._truth(at)) for at in self._edges(now_ms, now_ms + FAR_MS)] if changed else []
        return [
            Seen(
                key,
                "entered" if key in members else "exited",
                reason,
                now_ms,
                next((at for at, truth in coming if (key in truth) != (key in members)), None),
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
            history.add(arg)
            done_ms = max(clock_ms, *(event.time_ms for event in history.events), time_ms)
            yield history, done_ms
