"""The oracle: drives the reference evaluator by brute force, at every instant that could matter.

It follows the engine's contract (``SPEC.md#time``) but shares none of its mechanisms: it keeps every event,
has no timers, and finds edges by trying each instant that any duration and any known time could produce.
It predicts memberships by simulating them forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from segops.core.events import Event
from segops.core.rules.model import Node
from segops.core.rules.policy import Policy
from segops.core.rules.reference import Edges, EvaluatedMember, History, holds
from segops.core.segments import Definition

#: How far ahead the oracle looks for the next flip: more than two days and less than three.
FAR_MS = 2 * 86_400_000 + 10**7


@dataclass(frozen=True)
class ChangeSummary:
    """The fields of a change that are compared."""

    segment: str
    action: str
    reason: str
    occurred_at: int
    flips_at: int | None
    event_id: str | None


@dataclass(frozen=True)
class MembershipState:
    """The membership of one segment: whether and since when, the last exit, and the number of entries."""

    member: bool = False
    since_ms: int = 0
    left_ms: int | None = None
    entries: int = 0

    def blocked_until_ms(self, policy: Policy) -> int | None:
        """Return the instant before which the policy forbids a change of the membership."""
        if self.member:
            return self.since_ms + (policy.min_stay_ms or 0)
        return None if self.left_ms is None else self.left_ms + (policy.cool_down_ms or 0)

    def after(self, truth: bool, policy: Policy, now_ms: int) -> MembershipState:
        """Return the membership after the rule evaluated to ``truth`` at ``now_ms``."""
        blocked_until_ms = self.blocked_until_ms(policy)
        if truth is self.member or (blocked_until_ms is not None and now_ms < blocked_until_ms):
            return self
        if self.member:
            return replace(self, member=False, left_ms=now_ms)
        if policy.max_entries is not None and self.entries >= policy.max_entries:
            return self
        return replace(self, member=True, since_ms=now_ms, entries=self.entries + 1)


Memberships = dict[str, MembershipState]


class PublishedIdentity(NamedTuple):
    """The identifiers and traits that a change carries."""

    user_id: str | None
    anonymous_id: str | None
    email: str | None
    traits: dict[str, Any]


def published_identity(history: History) -> PublishedIdentity:
    """Return each identifier and trait with the latest event time; the last arrival breaks ties."""
    user_id = anonymous_id = email = None
    for event in history.in_order():
        user_id = event.user_id or user_id
        anonymous_id = event.anonymous_id or anonymous_id
        email = None if event.email_removed else event.email or email
    return PublishedIdentity(user_id, anonymous_id, email, history.traits())


@dataclass
class Oracle:
    """One profile, evaluated by brute force. ``definitions`` are in evaluation order."""

    definitions: list[Definition]
    history: History = field(default_factory=lambda: History("user_id:u1"))
    memberships: Memberships = field(default_factory=dict)
    evaluated_ms: int | None = None

    def __post_init__(self) -> None:
        self.memberships = {d.key: MembershipState() for d in self.definitions}
        self._edges = Edges(d.when for d in self.definitions)

    @property
    def members(self) -> set[str]:
        return {key for key, membership in self.memberships.items() if membership.member}

    def on_event(self, event: Event, clock_ms: int) -> list[ChangeSummary]:
        if any(event.message_id == known.message_id for known in self.history.events):
            return []
        changes = self.on_clock(max(event.time_ms, clock_ms))
        latest = max((known.time_ms for known in self.history.events), default=event.time_ms)
        now_ms = max(event.time_ms, clock_ms, latest)
        self.history.add(event, now_ms)
        self.evaluated_ms = now_ms
        return changes + self._adopt(
            self._evaluate(self.memberships, now_ms), now_ms, "event", event.message_id
        )

    def on_clock(self, until_ms: int) -> list[ChangeSummary]:
        if self.evaluated_ms is None:
            return []
        changes: list[ChangeSummary] = []
        for at, memberships in self._forward(self.memberships, self.evaluated_ms, until_ms):
            changes += self._adopt(memberships, at, "time", None)
        self.evaluated_ms = max(self.evaluated_ms, until_ms)
        return changes

    def _forward(
        self, memberships: Memberships, now_ms: int, until_ms: int
    ) -> Iterator[tuple[int, Memberships]]:
        """Yield each instant that could matter without an event, with the memberships at it."""
        coming = self._instants(now_ms, until_ms)
        while True:
            unblocked = [memberships[d.key].blocked_until_ms(d.policy or Policy()) for d in self.definitions]
            tried = [at for at in (*coming[:1], *unblocked) if at is not None and now_ms < at <= until_ms]
            if not tried:
                return
            now_ms = min(tried)
            coming = coming[coming[:1] == [now_ms] :]
            memberships = self._evaluate(memberships, now_ms)
            yield now_ms, memberships

    def _instants(self, now_ms: int, until_ms: int) -> list[int]:
        """Return the instants in ``(now_ms, until_ms]`` that could matter without an event, in order."""
        return self._edges.between(self.history, now_ms, until_ms)

    def _evaluate(self, memberships: Memberships, now_ms: int) -> Memberships:
        found: Memberships = {}
        for d in self.definitions:
            of = {key for key, membership in found.items() if membership.member}
            found[d.key] = self._after(d, of, memberships[d.key], now_ms)
        return found

    def _after(
        self, definition: Definition, of: set[str], membership: MembershipState, now_ms: int
    ) -> MembershipState:
        """Return the membership of a segment at ``now_ms``, for a member ``of`` those evaluated before it."""
        member = EvaluatedMember(of, membership.member)
        truth = holds(definition.when, self.history, now_ms, member)
        return membership.after(truth, definition.policy or Policy(), now_ms)

    def _adopt(
        self, memberships: Memberships, now_ms: int, reason: str, event_id: str | None
    ) -> list[ChangeSummary]:
        changed = [key for key, now in memberships.items() if now.member is not self.memberships[key].member]
        self.memberships = memberships
        coming = list(self._forward(memberships, now_ms, now_ms + FAR_MS)) if changed else []
        return [
            ChangeSummary(
                key,
                "entered" if memberships[key].member else "exited",
                reason,
                now_ms,
                next((at for at, then in coming if then[key].member is not memberships[key].member), None),
                event_id,
            )
            for key in changed
        ]


def instants(
    nodes: Sequence[Node], steps: Sequence[tuple[str, Any]], watermark: bool
) -> Iterator[tuple[History, int]]:
    """Yield each instant at which the verdict on one of ``nodes`` can change, with the history until then.

    Instants caused by time alone precede the event. With ``watermark``, events also advance the clock.
    """
    history, clock_ms, done_ms = History("user_id:u1"), -(10**15), None
    edges = Edges(nodes)
    for kind, arg in steps:
        time_ms = arg if kind == "clock" else arg.time_ms
        clock_ms = max(clock_ms, time_ms) if kind == "clock" or watermark else clock_ms
        if kind == "event" and any(arg.message_id == known.message_id for known in history.events):
            continue
        if done_ms is not None:
            for at in edges.between(history, done_ms, max(time_ms, clock_ms)):
                yield history, at
            done_ms = max(done_ms, time_ms, clock_ms)
        if kind == "event":
            done_ms = max(clock_ms, *(event.time_ms for event in history.events), time_ms)
            history.add(arg, done_ms)
            yield history, done_ms
