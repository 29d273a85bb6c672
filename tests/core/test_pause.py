"""Paused segments: frozen memberships, current features, and the exact difference on resumption."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.segments import SegmentSet
from segops.core.views.profile import view_profile
from segops.testing import definition
from segops.testing.customer import LONG_AGO

from .helpers import MONDAY as T
from .helpers import D, H, S

VIEW = {"did": "A", "within": "10s"}
OFTEN = {"did": "A", "count": {"gte": 2}, "within": "1d"}


class Pausable:
    """A profile that is evaluated by rules, some of which are paused."""

    def __init__(self, *paused: str, **rules: dict[str, Any]) -> None:
        self.rules = rules
        self.clock_ms = LONG_AGO
        self.engine = self._engine(paused)
        self.profile = self.engine.new_profile("user_id:u1")

    def _engine(self, paused: tuple[str, ...]) -> Engine:
        found = (definition(key, rule) for key, rule in self.rules.items())
        return Engine(SegmentSet(msgspec.structs.replace(d, paused=d.key in paused) for d in found))

    def pause(self, *keys: str) -> list[tuple[str, str, str]]:
        """Pause these segments and resume all others."""
        self.engine = self._engine(keys)
        result = self.engine.on_definitions(self.profile, clock_ms=self.clock_ms)
        return [(c.action, c.segment_key, c.reason) for c in result.changes]

    def did(self, name: str, time_ms: int) -> list[tuple[str, str]]:
        event = Event(name, time_ms, f"{name}{time_ms}", {})
        result = self.engine.on_event(self.profile, event, clock_ms=self.clock_ms)
        return [(c.action, c.segment_key) for c in result.changes]

    def wait(self, clock_ms: int) -> list[tuple[str, str]]:
        self.clock_ms = clock_ms
        result = self.engine.on_timer(self.profile, clock_ms=clock_ms)
        return [(c.action, c.segment_key) for c in result.changes]


def test_neither_time_nor_events_change_a_paused_membership() -> None:
    visitor = Pausable(view=VIEW, often=OFTEN)
    visitor.did("A", T)
    assert visitor.pause("view", "often") == []
    assert visitor.wait(T + 10 * S) == []
    assert visitor.did("A", T + H) == []
    assert visitor.profile.due_ms is None
    assert set(visitor.profile.members) == {"view"}


def test_resumption_publishes_the_difference_with_the_reason_definition() -> None:
    visitor = Pausable("often", view=VIEW, often=OFTEN)
    visitor.did("A", T)
    visitor.did("A", T + H)
    visitor.wait(T + 2 * H)
    assert visitor.pause() == [("entered", "often", "definition")]
    assert visitor.profile.due_ms == T + D


def test_dependants_read_the_frozen_membership() -> None:
    visitor = Pausable(view=VIEW, other={"not": {"in_segment": "view"}})
    visitor.did("A", T)
    visitor.pause("view")
    visitor.wait(T + D)
    assert set(visitor.profile.members) == {"view"}
    assert visitor.pause() == [("exited", "view", "definition"), ("entered", "other", "definition")]


def test_min_stay_counts_the_time_of_the_pause() -> None:
    visitor = Pausable(view={**VIEW, "membership": {"min_stay": "1h"}})
    visitor.did("A", T)
    visitor.pause("view")
    visitor.wait(T + 2 * H)
    assert visitor.pause() == [("exited", "view", "definition")]


def test_merge_and_erasure_still_publish() -> None:
    visitor, source = Pausable("view", view=VIEW), Pausable(view=VIEW)
    visitor.did("B", T)
    source.did("A", T)
    source.pause("view")
    merged = visitor.engine.on_merge(visitor.profile, [source.profile], clock_ms=T + D)
    assert [(c.action, c.reason) for c in merged.changes] == [("entered", "merge")]
    erased = visitor.engine.on_erase(visitor.profile, clock_ms=T + D)
    assert [(c.action, c.reason) for c in erased.changes] == [("exited", "erasure")]


def test_pausing_changes_the_version_of_the_set_only() -> None:
    visitor = Pausable(view=VIEW)
    running = visitor.engine.version
    visitor.pause("view")
    assert visitor.engine.version != running
    assert visitor.engine.segments.by_key["view"].version == 1
    visitor.pause()
    assert visitor.engine.version == running


def test_a_profile_shows_that_a_membership_is_frozen() -> None:
    visitor = Pausable(view=VIEW)
    visitor.did("A", T)
    (before,) = view_profile(visitor.engine.segments, visitor.profile, T).memberships
    visitor.pause("view")
    (after,) = view_profile(visitor.engine.segments, visitor.profile, T).memberships
    assert [(each.paused, each.until) for each in (before, after)] == [(False, T + 10 * S), (True, None)]


steps = st.lists(
    st.tuples(st.sampled_from(["A", "B", "wait", "pause", "resume"]), st.integers(1, 30 * S)), max_size=30
)


@given(steps)
def test_a_resumed_segment_has_the_members_of_one_that_was_never_paused(
    taken: list[tuple[str, int]],
) -> None:
    rules = {"view": VIEW, "both": {"all": [{"in_segment": "view"}, {"did": "B", "within": "20s"}]}}
    paused, never = Pausable(**rules), Pausable(**rules)
    now_ms = T
    for action, length_ms in taken:
        now_ms += length_ms
        if action == "wait":
            paused.wait(now_ms)
            never.wait(now_ms)
        elif action in "AB":
            paused.did(action, now_ms)
            never.did(action, now_ms)
        else:
            paused.pause(*(["view"] if action == "pause" else []))
    paused.wait(now_ms)
    never.wait(now_ms)
    paused.pause()
    assert paused.profile.members.keys() == never.profile.members.keys()
    assert paused.profile.flips == never.profile.flips
    assert paused.profile.features == never.profile.features
