"""One customer, one line a step: what the tests of the core are written in."""

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
#: Longer ago than any event of a test.
LONG_AGO = -(10**14)


def at(text: str) -> int:
    """The milliseconds of an ISO-8601 instant."""
    ms = parse_instant(text)
    assert ms is not None
    return ms


def definition(key: str, rule: dict[str, Any], *, version: int = 1) -> Definition:
    """A checked definition of a rule as an author writes it; with a policy where ``membership`` is in it."""
    context = Context("test")
    when = {name: part for name, part in rule.items() if name != "membership"}
    node = read_rule(when, key, context)
    policy = read_policy(rule["membership"], key, context) if "membership" in rule else None
    return Definition(key, key, node, version=version, written=when, policy=policy)


def mistakes(rule: dict[str, Any]) -> list[str]:
    """What is refused about a rule that stands at ``when`` of a file ``f``."""
    with pytest.raises(DefinitionError) as refused:
        read_rule(rule, "when", Context("f"))
    return [str(issue) for issue in refused.value.issues]


def segments(**rules: dict[str, Any]) -> SegmentSet:
    """A set of segments; an underscore in a name stands for a hyphen in the key."""
    return SegmentSet([definition(key.replace("_", "-"), rule) for key, rule in rules.items()])


class Edge(NamedTuple):
    """What a change says in most tests."""

    action: str
    segment: str
    occurred_at: int


def edges(transition: StepResult) -> list[Edge]:
    """The changes of a step, in order."""
    assert not transition.failures
    return [Edge(c.action, c.segment_key, c.occurred_at) for c in transition.changes]


class Customer:
    """A profile and its engine. The clock stands still unless a step moves it."""

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
        """An event, with its properties as keywords."""
        self._count += 1
        event = Event(name, time_ms, id or f"m{self._count}", p, traits)
        return self.engine.on_event(self.profile, event, clock_ms=self.clock_ms)

    def did(self, name: str, time_ms: int, **more: Any) -> list[Edge]:
        """An event; the changes that it causes."""
        return edges(self.send(name, time_ms, **more))

    def wait(self, clock_ms: int) -> list[Edge]:
        """The clock reaches an instant; the changes that time causes."""
        self.clock_ms = max(clock_ms, self.clock_ms)
        return edges(self.engine.on_timer(self.profile, clock_ms=self.clock_ms))

    def adopt(self, **rules: dict[str, Any]) -> StepResult:
        """Other definitions come into force."""
        self.engine = Engine(segments(**rules))
        return self.engine.on_definitions(self.profile, clock_ms=self.clock_ms)

    @property
    def member_of(self) -> set[str]:
        """The segments that the customer is in."""
        return set(self.profile.members)


def holds_at(rule: dict[str, Any], now_ms: int, *events: tuple[Any, ...]) -> bool:
    """Whether a rule is true at ``now_ms``. Events: ``(name, time, {property: value})``, as they arrived."""
    customer = Customer(rule=rule)
    for name, time_ms, *properties in events:
        customer.send(name, time_ms, **(properties[0] if properties else {}))
    customer.wait(now_ms)
    return customer.member_of == {"rule"}
