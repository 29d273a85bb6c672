"""The sandbox: equal to a replay of the same events from the start, and why each membership changed."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.values import MAX_MS
from segops.core.views import sandbox as sandboxes
from segops.core.views.sandbox import Sandbox, SandboxView
from segops.replay import Replay
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import Customer, segments
from tests.rest import examples

from .helpers import MONDAY as T
from .helpers import D, H
from .strategies import DAYS_MS, streams
from .test_equivalence import segment_sets

ANN = "user_id:ann"
Step = tuple[str, Any]
_ANONYMOUS = {"user_id": None, "anonymous_id": None, "email": None, "others": (), "previous_id": None}


def copies(profile: Profile) -> tuple[Profile, Profile]:
    stored = encode_profile(profile)
    return decode_profile(stored), decode_profile(stored)


def replayed(replay: Replay, steps: list[Step]) -> list[tuple[Any, ...]]:
    found = []
    for kind, what in steps:
        changes = replay.advance(what) if kind == "clock" else replay.apply(ANN, what)
        found += [(c.occurred_at, c.segment_key, c.action, c.reason, c.flips_at) for c in changes]
    return found


def listed(view: SandboxView) -> list[tuple[Any, ...]]:
    return [(each.at_ms, each.segment, each.action, each.reason, each.until) for each in view.changes]


def named(steps: list[Step], prefix: str) -> list[Step]:
    """Give the events of one part ids of their own, and no identifiers: the profile stays one."""
    changed: list[Step] = []
    for kind, what in steps:
        if kind == "event":
            what = msgspec.structs.replace(what, message_id=prefix + what.message_id, **_ANONYMOUS)
        changed.append((kind, what))
    return changed


@examples(60, of=400)
@given(segment_sets(), streams(), streams(), st.sampled_from([0, 1, 30_000, *DAYS_MS]))
def test_a_sandbox_equals_the_replay_of_the_same_events_from_the_start(
    known: SegmentSet, lived: list[Step], imagined: list[Step], later_ms: int
) -> None:
    note(str({d.key: d.written for d in known.definitions}))
    replay = Replay(known, wall_ms=MAX_MS)
    replayed(replay, named(lived, "lived "))
    profile, clock_ms = replay.profiles.get(ANN), replay.clock_ms or 0
    if profile is None:
        return
    events = [what for kind, what in named(imagined, "imagined ") if kind == "event"]
    until_ms = max([clock_ms, *(each.time_ms for each in events)]) + later_ms
    stored = encode_profile(profile)
    view = Sandbox(Engine(known), copies(profile), clock_ms=clock_ms).run(events, until_ms=until_ms)
    assert encode_profile(profile) == stored
    again: list[Step] = [("event", each) for each in sorted(events, key=lambda each: each.time_ms)]
    assert listed(view) == replayed(replay, [*again, ("clock", until_ms)])
    assert {each.segment_key for each in view.after} == set(replay.profiles[ANN].members)
    assert (view.stopped, view.reached_ms) == (None, until_ms)


def run(customer: Customer, *events: Event, until_ms: int, **options: Any) -> SandboxView:
    sandbox = Sandbox(customer.engine, copies(customer.profile), clock_ms=customer.clock_ms, **options)
    return sandbox.run(events, until_ms=until_ms)


def test_each_change_says_which_leaves_have_flipped() -> None:
    rule = {"all": [{"did": "Buy", "within": "7d"}, {"not": {"did": "Return", "within": "1d"}}]}
    ann = Customer(T, happy=rule)
    ann.did("Buy", T)
    view = run(ann, Event("Return", T + H, "r", {}), until_ms=T + 60 * D)
    assert [each.segment_key for each in view.before] == ["happy"]
    assert not view.after
    flipped = [
        (each.action, [(leaf.path, leaf.was, leaf.holds) for leaf in each.flipped]) for each in view.changes
    ]
    assert flipped == [
        ("exited", [((1, 0), False, True)]),
        ("entered", [((1, 0), True, False)]),
        ("exited", [((0,), True, False)]),
    ]
    assert [each.event for each in view.changes] == [0, None, None]
    assert [(each.at_ms - T) // H for each in view.changes] == [1, 25, 168]
    assert [each.because.holds for each in view.changes] == [False, True, False]


def test_a_policy_alone_flips_no_leaf() -> None:
    ann = Customer(T, calm={"did": "Buy", "within": "1h", "membership": {"min_stay": "1d"}})
    view = run(ann, Event("Buy", T, "b", {}), until_ms=T + 2 * D)
    assert [(each.action, each.at_ms - T, len(each.flipped)) for each in view.changes] == [
        ("entered", 0, 1),
        ("exited", D, 0),
    ]


def test_events_are_applied_in_the_order_of_their_times_and_numbered_as_given() -> None:
    ann = Customer(T, buyer={"did": "Buy", "count": {"gte": 2}})
    view = run(ann, Event("Buy", T + 2 * H, "b", {}), Event("Buy", T + H, "a", {}), until_ms=T + 2 * H)
    assert [(each.at_ms - T, each.event) for each in view.changes] == [(2 * H, 0)]


def test_definitions_of_the_profile_are_caught_up_first() -> None:
    ann = Customer(T, buyer={"did": "Buy"})
    ann.did("Buy", T)
    other = Engine(segments(other={"known_for": "1d"}))
    view = Sandbox(other, copies(ann.profile), clock_ms=T).run([], until_ms=T + D)
    assert (view.before, [(each.segment, each.at_ms) for each in view.changes]) == ((), [("other", T + D)])


def test_a_run_that_takes_too_long_says_how_far_it_came() -> None:
    ann = Customer(T, buyer={"did": "Buy", "within": "1d"})
    turns = iter([True, True])
    view = run(ann, Event("Buy", T, "b", {}), until_ms=T + 9 * D, may_go_on=lambda: next(turns, False))
    assert (view.stopped, view.reached_ms) == (None, T + 9 * D)
    assert [each.action for each in view.changes] == ["entered", "exited"]
    view = run(ann, Event("Buy", T, "b", {}), until_ms=T + 9 * D, may_go_on=iter([True, False]).__next__)
    assert (view.stopped, view.reached_ms) == ("time", T)
    assert [each.action for each in view.changes] == ["entered"]


def test_a_run_ends_after_many_changes(monkeypatch: Any) -> None:
    monkeypatch.setattr(sandboxes, "MAX_CHANGES", 5)
    ann = Customer(T, night={"all": [{"did": "Buy"}, {"did": "Buy", "within": "1h"}]})
    events = [Event("Buy", T + n * D, f"b{n}", {}) for n in range(9)]
    view = run(ann, *events, until_ms=T + 20 * D)
    assert (view.stopped, len(view.changes)) == ("changes", 5)
    assert view.reached_ms == view.changes[-1].at_ms
