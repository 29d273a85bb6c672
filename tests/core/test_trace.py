"""The last change of each node: a traced profile against the oracle, evaluated at every instant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.rules import model
from segops.core.rules.reference import EvaluatedMember, holds
from segops.core.segments import SegmentSet
from segops.core.views.explain import RulePart
from segops.core.views.trace import Tracer
from segops.testing import segments
from tests.rest import examples

from .helpers import MONDAY as T
from .helpers import H
from .oracle import ChangeSummary, Memberships, Oracle
from .strategies import streams
from .test_equivalence import segment_sets


def parts(part: RulePart) -> Iterator[RulePart]:
    yield part
    for child in part.parts:
        yield from parts(child)


def nodes(node: model.Node) -> Iterator[model.Node]:
    yield node
    for child in model.children(node):
        yield from nodes(child)


class Reference(Oracle):
    """The verdict on every node and the instant of its last change; blank profiles have verdicts, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        members: set[str] = set()
        for d in self.definitions:  # no memberships yet, except rules that others evaluate inline
            if d.policy is None and model.side(d.when, inside=True) is d.when:
                members |= {d.key} if holds(d.when, self.history, 0, EvaluatedMember(members)) else set()
        self.verdicts = self._verdicts(members, 0)
        self.changed: list[int | None] = [None] * len(self.verdicts)

    def _verdicts(self, members: set[str], now_ms: int) -> list[bool]:
        inside = self.members
        return [
            holds(node, self.history, now_ms, EvaluatedMember(members, d.key in inside))
            for d in self.definitions
            for node in nodes(d.when)
        ]

    def _adopt(
        self, memberships: Memberships, now_ms: int, reason: str, event_id: str | None
    ) -> list[ChangeSummary]:
        self.memberships = memberships
        verdicts = self._verdicts(self.members, now_ms)
        pairs = zip(self.verdicts, verdicts, self.changed, strict=True)
        self.changed = [now_ms if old is not new else known for old, new, known in pairs]
        self.verdicts = verdicts
        return []


@examples(60, of=200)
@given(segment_sets(), streams(), st.booleans())
def test_every_node_has_the_instant_of_its_last_change(
    known: SegmentSet, steps: list[tuple[str, Any]], watermark: bool
) -> None:
    note(str({d.key: d.written for d in known.definitions}))
    follower, expected, clock_ms = Tracer(known), Reference(known.definitions), -(10**15)
    profile = follower.new_profile("user_id:u1")
    for kind, arg in steps:
        if kind == "clock" or watermark:
            clock_ms = max(clock_ms, arg if kind == "clock" else arg.time_ms)
        if kind == "clock":
            follower.on_timer(profile, clock_ms=clock_ms)
            expected.on_clock(clock_ms)
        else:
            follower.on_event(profile, arg, clock_ms=clock_ms)
            expected.on_event(arg, clock_ms)
    if profile.first_ms is None:
        return
    found = follower.explain(profile, max(clock_ms, profile.latest_ms))
    seen = [part for explanation in found.segments for part in parts(explanation.rule)]
    assert [part.holds for part in seen] == expected.verdicts
    assert [(part.label, part.changed_at) for part in seen] == [
        (part.label, changed) for part, changed in zip(seen, expected.changed, strict=True)
    ]
    for explanation in found.segments:
        if explanation.member and explanation.since != profile.first_ms and explanation.limits is None:
            assert explanation.rule.changed_at in (explanation.since, None)


def follow(known: SegmentSet, now_ms: int, *events: tuple[str, int], keys: Any = None) -> list[RulePart]:
    follower = Tracer(known, keys)
    profile = follower.new_profile("user_id:u1")
    for number, (name, time_ms) in enumerate(events):
        follower.on_event(profile, Event(name, time_ms, f"m{number}", {}), clock_ms=time_ms)
    return [p for explanation in follower.explain(profile, now_ms).segments for p in parts(explanation.rule)]


def test_each_node_records_its_own_changes_by_events_and_time() -> None:
    rule = {"all": [{"did": "A", "count": {"gte": 2}, "within": "2h"}, {"not": {"did": "B", "within": "1h"}}]}
    events = (("A", T), ("B", T + 1), ("A", T + H))
    found = follow(segments(rule=rule), T + 2 * H - 1, *events)
    assert [(part.holds, part.changed_at) for part in found] == [
        (True, T + H + 1),
        (True, T + H),
        (True, T + H + 1),
        (False, T + H + 1),
    ]
    later = follow(segments(rule=rule), T + 2 * H, *events)
    assert [part.changed_at for part in later] == [T + 2 * H, T + 2 * H, T + H + 1, T + H + 1]


def test_unchanged_node_has_no_changed_at() -> None:
    did, did_not = follow(segments(rule={"any": [{"did": "A"}, {"did_not": "B"}]}), T + 9 * H, ("A", T))[1:]
    assert (did.holds, did.changed_at) == (True, T)
    assert (did_not.holds, did_not.changed_at) == (True, None)


def test_two_opposite_changes_at_one_instant_count_as_a_change() -> None:
    (found,) = follow(segments(rule={"did": "A", "count": {"eq": 1}}), T, ("B", T - 5), ("A", T), ("A", T))
    assert (found.holds, found.changed_at) == (False, T)


def test_only_explained_segments_are_traced() -> None:
    known = segments(a={"did": "A"}, b={"did": "A", "within": "1h"})
    assert [part.changed_at for part in follow(known, T + 2 * H, ("A", T), keys=("b",))] == [None, T + H]


def test_number_and_boolean_predicates_are_traced_separately() -> None:
    known = segments(a={"trait": "p", "is": {"eq": 1}}, b={"trait": "p", "is": {"eq": True}})
    follower = Tracer(known)
    profile = follower.new_profile("user_id:u1")
    follower.on_event(profile, Event("identify", T, "m", {}, {"p": True}), clock_ms=T)
    assert [s.rule.changed_at for s in follower.explain(profile, T).segments] == [None, T]
