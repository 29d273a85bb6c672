"""Helpers for the tests of the core: one profile and its engine, with one line per step."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.rules.parsing import Context, read_policy, read_rule
from segops.core.segments import Definition, SegmentSet
from segops.core.step import StepResult
from segops.core.values import parse_instant

S, M, H, D = 1_000, 60_000, 3_600_000, 86_400_000
#: A Monday, 00:00 UTC.
MONDAY = 1_760_313_600_000
#: Earlier than any event of a test.
LONG_AGO = -(10**14)


def at(text: str) -> int:
    """Return an ISO 8601 instant in milliseconds since 1970."""
    ms = parse_instant(text)
    assert ms is not None
    return ms


def definition(key: str, rule: dict[str, Any], *, version: int = 1) -> Definition:
    """Parse a rule as an author writes it, and its policy if it has a ``membership`` block."""
    context = Context("test")
    when = {name: part for name, part in rule.items() if name != "membership"}
    node = read_rule(when, key, context)
    policy = read_policy(rule["membership"], key, context) if "membership" in rule else None
    return Definition(key, key, node, version=version, written=when, policy=policy)


def issues_of(rule: dict[str, Any]) -> list[str]:
    """Return the issues of an invalid rule, located at ``when`` in file ``f``."""
    with pytest.raises(DefinitionError) as refused:
        read_rule(rule, "when", Context("f"))
    return [str(issue) for issue in refused.value.issues]


def segments(**rules: dict[str, Any]) -> SegmentSet:
    """Return a segment set with one segment per keyword; an underscore becomes a hyphen in the key."""
    return SegmentSet([definition(key.replace("_", "-"), rule) for key, rule in rules.items()])


class Edge(NamedTuple):
    """The fields of a change that most tests compare."""

    action: str
    segment: str
    occurred_at: int


def edges(result: StepResult) -> list[Edge]:
    """Return the changes of a step, in order. Fails if an evaluation failed."""
    assert not result.failures
    return [Edge(c.action, c.segment_key, c.occurred_at) for c in result.changes]


class Customer:
    """A profile and its engine. Only ``wait`` advances the clock."""

    def __init__(self, clock_ms: int = LONG_AGO, /, **rules: dict[str, Any]) -> None:
        self.engine = Engine(segments(**rules))
        self.profile: Profile = self.engine.new_profile("user_id:u1")
        self.clock_ms = clock_ms
        self._count = 0

    def send(
        self,
        name: str,
        time_ms: int,
        *,
        id: str | None = None,
        traits: dict[str, Any] | None = None,
        **p: Any,
    ) -> StepResult:
        """Apply an event whose properties are the keyword arguments."""
        self._count += 1
        event = Event(name, time_ms, id or f"m{self._count}", p, traits)
        return self.engine.on_event(self.profile, event, clock_ms=self.clock_ms)

    def did(self, name: str, time_ms: int, **more: Any) -> list[Edge]:
        """Apply an event and return its changes."""
        return edges(self.send(name, time_ms, **more))

    def wait(self, clock_ms: int) -> list[Edge]:
        """Advance the clock and return the changes caused by time."""
        self.clock_ms = max(clock_ms, self.clock_ms)
        return edges(self.engine.on_timer(self.profile, clock_ms=self.clock_ms))

    def adopt(self, **rules: dict[str, Any]) -> StepResult:
        """Switch to other definitions."""
        self.engine = Engine(segments(**rules))
        return self.engine.on_definitions(self.profile, clock_ms=self.clock_ms)

    @property
    def member_of(self) -> set[str]:
        """The keys of the segments that the profile is a member of."""
        return set(self.profile.members)


def holds_at(rule: dict[str, Any], now_ms: int, *events: tuple[Any, ...]) -> bool:
    """Return whether a rule holds at ``now_ms`` after events ``(name, time, {property: value})``."""
    customer = Customer(rule=rule)
    for name, time_ms, *properties in events:
        customer.send(name, time_ms, **(properties[0] if properties else {}))
    customer.wait(now_ms)
    return customer.member_of == {"rule"}
