"""The plan of an edit: its numbers equal the changes that publishing then makes, change for change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.backfill import in_force_at_once, waiting
from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.scans import (
    DAY_MS,
    ENTERING,
    LEAVING,
    MAX_INSTANTS,
    SHARE_FROM,
    STAYING,
    Limits,
    Plan,
    Planner,
    SegmentPlan,
    beyond,
    edit_of,
)
from segops.core.segments import Definition, SegmentSet, references
from segops.schemas.state import encode_profile
from segops.testing import definition, segments
from tests.rest import examples

from .helpers import MONDAY, H
from .strategies import streams
from .test_equivalence import segment_sets
from .test_forecast import Flickering, end_of, lived
from .test_scans import LIVE, population

RULES: dict[str, Any] = {
    "buyers": {"did": "Order", "count": {"gte": 3}, "within": "7d"},
    "fans": {"all": [{"in_segment": "buyers"}, {"not": {"in_segment": "german"}}]},
}


def published(changed: Sequence[Definition], removed: Sequence[str], live: SegmentSet) -> Engine:
    """Return the engine that is in force at once after an edit."""
    after = {each.key: each for each in live.definitions if each.key not in removed}
    wanted = SegmentSet((after | {each.key: each for each in changed}).values(), live)
    waits = waiting(wanted, live.features)
    return Engine(SegmentSet(in_force_at_once(live, wanted, waits), live))


def with_features_of(drafts: SegmentSet, live: SegmentSet) -> SegmentSet:
    """Return the live segments and copies of the drafts, so that profiles hold what the drafts need."""
    copies = [msgspec.structs.replace(each, key=f"x-{each.key}") for each in drafts.definitions]
    known = live.by_key.keys()
    return SegmentSet([*live.definitions, *(each for each in copies if known >= set(references(each.when)))])


def planned(planner: Planner, profiles: Sequence[Profile], now_ms: int) -> Plan:
    """Return the plan over some profiles, after checking that it left them as they were."""
    for profile in profiles:
        before = encode_profile(profile)
        planner.visit(profile, now_ms)
        assert encode_profile(profile) == before
    return planner.result()


def happened(engine: Engine, profiles: Sequence[Profile], now_ms: int, keys: Sequence[str]) -> Plan:
    """Publish the definitions of an engine, let 24 hours pass, and return the changes as a plan."""
    found = {key: SegmentPlan(samples={}) for key in keys}

    for profile in profiles:
        for key in profile.members.keys() & set(keys):
            found[key].members += 1
        for change in engine.on_definitions(profile, clock_ms=now_ms).changes:
            found[change.segment_key].entering += change.member
            found[change.segment_key].leaving += not change.member
        for change in engine.on_timer(profile, clock_ms=now_ms + DAY_MS - 1).changes:
            if (segment := found.get(change.segment_key)) is not None:
                segment.entering_later += change.member
                segment.leaving_later += not change.member
    return Plan(found)


def removable(definitions: Sequence[Definition], removed: set[str]) -> set[str]:
    """Return the keys that can be removed: no remaining definition refers to them."""
    used = {key for each in definitions if each.key not in removed for key in references(each.when)}
    return removed - used


@examples(25, of=100)
@given(segment_sets(), segment_sets(), st.lists(streams(), min_size=1, max_size=3), st.data())
def test_plan_equals_what_publishing_does_change_for_change(
    live: SegmentSet, drafts: SegmentSet, lives: list[Any], data: Any
) -> None:
    if data.draw(st.booleans(), "nothing waits for history"):
        live = with_features_of(drafts, live)
    engine, now_ms = Engine(live), max(map(end_of, lives))
    changed = [msgspec.structs.replace(each, version=2) for each in drafts.definitions]
    others = [each for each in live.definitions if each.key not in drafts.by_key]
    wanted = data.draw(st.sets(st.sampled_from([each.key for each in others]))) if others else set()
    removed = sorted(removable([*changed, *others], wanted))
    profiles = [lived(engine, steps, now_ms, f"user_id:u{n}") for n, steps in enumerate(lives)]
    profiles = [profile for profile in profiles if profile.first_ms is not None]
    edit = edit_of(changed, removed, live)
    found = planned(Planner(edit), profiles, now_ms)
    expected = happened(published(changed, removed, live), profiles, now_ms, list(edit.moving))
    for segment in found.segments.values():
        segment.lacking, segment.waits, segment.failed = [], False, 0
    assert found.segments == expected.segments


def test_every_profile_is_counted_once_by_what_the_edit_does_to_it() -> None:
    live = segments(**LIVE)
    profiles = population(Engine(live))
    edit = edit_of([definition(key, rule) for key, rule in RULES.items()], [], live)
    found = planned(Planner(edit, samples=2), profiles, MONDAY + H).segments
    assert list(found) == ["buyers", "fans"]
    # 40 profiles have 0 to 4 orders and one of three countries; the live rule takes 2 orders
    assert (found["buyers"].members, found["buyers"].entering, found["buyers"].leaving) == (24, 0, 8)
    assert (found["buyers"].then, found["buyers"].moved) == (16, 8)
    fans = sum(n % 5 >= 3 and n % 3 > 0 for n in range(40))
    assert (found["fans"].members, found["fans"].entering, found["fans"].leaving) == (0, fans, 0)
    assert {kind: len(each) for kind, each in found["buyers"].samples.items()} == {LEAVING: 2, STAYING: 2}
    assert set(found["fans"].samples) == {ENTERING}


def test_segment_that_refers_to_an_edited_one_moves_with_it() -> None:
    live = segments(
        buyers={"did": "Order", "within": "7d"},
        both={"all": [{"in_segment": "buyers"}, {"trait": "country", "is": {"eq": "DE"}}]},
        german={"trait": "country", "is": {"eq": "DE"}},
    )
    edit = edit_of([definition("buyers", {"did": "Order", "within": "6d"})], [], live)
    assert set(edit.moving) == {"both", "buyers"}
    assert set(edit.segments.by_key) == {"both", "buyers"}
    assert edit.moving["both"] == edit.moving["buyers"] == ["count of Order within 6d"]


def test_segments_that_wait_for_history_keep_what_they_have() -> None:
    live = segments(**LIVE)
    profiles = population(Engine(live))
    drafts = [
        definition("buyers", {"all": [{"in_segment": "german"}, {"did": "Order", "within": "30d"}]}),
        definition("new", {"did": "Order", "within": "30d"}),
    ]
    found = planned(Planner(edit_of(drafts, [], live), samples=1), profiles, MONDAY + H).segments
    wanted = ["count of Order within 30d"]
    assert {key: (each.members, each.moved, each.lacking) for key, each in found.items()} == {
        "buyers": (24, 0, wanted),
        "new": (0, 0, wanted),
    }


def test_removed_segment_stays_while_the_former_rule_of_a_waiting_one_needs_it() -> None:
    live = segments(**LIVE, both={"all": [{"in_segment": "buyers"}, {"in_segment": "german"}]})
    profiles = population(Engine(live))
    edit = edit_of([definition("both", {"did": "Order", "within": "30d"})], ["buyers"], live)
    found = planned(Planner(edit), profiles, MONDAY + H).segments
    wanted = ["count of Order within 30d"]
    assert {key: (each.moved, each.lacking) for key, each in found.items()} == {
        "both": (0, wanted),
        "buyers": (0, wanted),
    }


def test_removed_segment_loses_all_members() -> None:
    live = segments(**LIVE)
    profiles = population(Engine(live))
    found = planned(Planner(edit_of([], ["buyers", "unknown"], live), samples=1), profiles, MONDAY + H)
    assert list(found.segments) == ["buyers"]
    buyers = found.segments["buyers"]
    assert (buyers.members, buyers.leaving, buyers.then) == (24, 24, 0)
    assert set(buyers.samples) == {LEAVING}


def test_edit_with_an_unknown_reference_is_refused() -> None:
    with pytest.raises(DefinitionError, match="unknown segment nowhere"):
        edit_of([definition("draft", {"in_segment": "nowhere"})], [], segments(**LIVE))


def test_definition_that_did_not_change_moves_nothing() -> None:
    live = segments(**LIVE)
    assert dict(edit_of(live.definitions, [], live).moving) == {}


def test_changes_by_time_are_those_of_the_next_24_hours() -> None:
    live = segments(known={"known_for": "1d"})
    profile = lived(Engine(live), [("event", Event("A", MONDAY, "m1", {}))], MONDAY + H)
    rules = {
        "soon": {"known_for": "25h"},
        "late": {"known_for": "26h"},
        "brief": {"did": "A", "within": "2h"},
    }
    drafts = [definition(key, rule) for key, rule in rules.items()]
    found = planned(Planner(edit_of(drafts, [], live)), [profile], MONDAY + H + 1).segments
    later = {key: (each.entering_later, each.leaving_later) for key, each in found.items()}
    assert later == {"brief": (0, 0), "late": (0, 0), "soon": (1, 0)}


def test_rule_that_fails_is_counted_and_its_membership_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    live = segments(**LIVE)
    profiles = population(Engine(live))
    edit = edit_of([definition("buyers", RULES["buyers"])], [], live)
    (segment,) = edit.segments.segments
    broken = msgspec.structs.replace(segment.rule, holds=lambda *_: 1 / 0)
    edit.segments.segments = (msgspec.structs.replace(segment, rule=broken),)
    found = planned(Planner(edit), profiles, MONDAY + H).segments["buyers"]
    assert (found.failed, found.members, found.moved) == (40, 24, 0)


def test_profile_with_too_many_changes_is_cut_and_counted() -> None:
    live = segments(**LIVE)
    planner = Planner(edit_of([definition("buyers", {"known_for": "3h"})], [], live))
    profile = population(Engine(live))[4]
    planner._engine = stubborn = Flickering(planner._engine.segments)
    planner.visit(profile, MONDAY + H)
    assert (planner.result().cut, stubborn.fired) == (1, MAX_INSTANTS)


@given(st.lists(st.integers(0, 39), max_size=6), st.data())
def test_merging_does_not_depend_on_the_order(cuts: list[int], data: Any) -> None:
    live = segments(**LIVE)
    profiles = population(Engine(live))
    edit = edit_of([definition(key, rule) for key, rule in RULES.items()], [], live)
    whole = planned(Planner(edit, samples=3), profiles, MONDAY + H)
    parts: list[Plan] = []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        planner = Planner(edit, samples=3)
        parts.append(planned(planner, profiles[begin:end], MONDAY + H))
    assert reduce(Plan.merged, data.draw(st.permutations(parts))) == whole


# -- the limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "limits", "expected"),
    [
        (SegmentPlan(members=SHARE_FROM, leaving=201), Limits(), "201 changes, 20.1 % of 1,000 members"),
        (SegmentPlan(members=SHARE_FROM, leaving=200), Limits(), None),
        (SegmentPlan(members=SHARE_FROM - 1, leaving=999), Limits(), None),
        (SegmentPlan(members=500, entering=600), Limits(), "600 changes, 54.5 % of 1,100 members"),
        (SegmentPlan(members=900_000, entering=10_001), Limits(), "10,001 changes"),
        (SegmentPlan(members=900_000, entering=10_000), Limits(), None),
        (SegmentPlan(members=500, leaving=500), Limits(changes=499), "500 changes"),
        (SegmentPlan(members=999, waits=True), Limits(), None),
        (SegmentPlan(members=1_000, lacking=["count of A"]), Limits(), None),
        (
            SegmentPlan(members=1_000, waits=True),
            Limits(),
            "1,000 members, and it waits for history: only a plan knows the changes",
        ),
    ],
)
def test_limits(plan: SegmentPlan, limits: Limits, expected: str | None) -> None:
    assert beyond(Plan({"vip": plan}), limits) == ({"vip": expected} if expected else {})


def test_share_does_not_limit_a_new_segment() -> None:
    plan = Plan({"vip": SegmentPlan(entering=5_000), "all": SegmentPlan(entering=10_001)})
    assert Counter(beyond(plan, Limits(), {"vip", "all"})) == {"all": "10,001 changes"}
