"""The arms of an audience, as the compiled rules and the fold of their changes count them.

What random events of anonymous and known customers, who are merged, must lead to is counted a second time
from these events alone: neither rules, nor changes, nor profiles take part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.audiences.arms import ARMS, ArmName, Arms, Counting, reasons_of
from segops.core.audiences.compiling import definition_of, measuring_of
from segops.core.audiences.lift import Arm
from segops.core.audiences.model import Audience
from segops.core.events import Change
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant
from segops.replay import Publication, Replay
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.testing import definition
from tests.rest import examples

from .helpers import audience
from .people import HOUR_MS, WINDOW_MS, Customer, expected

START_MS: Final = 1_772_000_000_000
#: So many changes are published twice at a time.
REPEATED: Final = 7
AT_RISK = definition("at-risk", {"did": "Visited", "within": "2h"})


def measured() -> Audience:
    """Return an audience without conditions of its own, half of it held out."""
    return audience(
        channel="webhook",
        suppress=None,
        reasons=None,
        hold_out={"salt": "s", "percent": 50},
        goal={"did": "Ordered", "within": "3h"},
    )


def published(found: Audience) -> list[Definition]:
    """Return what is published of an audience, as workers read it from their topic."""
    compiled = [definition_of(found, ()), *measuring_of(found, ())]
    read = [definition_from_record(definition_to_record(each)) for each in compiled]
    definitions = [each for each in read if each is not None]
    assert [(each.key, each.identity) for each in definitions] == [
        (each.key, each.identity) for each in compiled
    ]
    return definitions


def all_counted(found: Audience, *, initial: bool = False) -> Counting:
    return Counting(WINDOW_MS, 0, 0, [(0, None)], reasons_of(found), initial)


def sent(number: int, name: str, at_ms: int, **who: str) -> bytes:
    kind = {"type": "identify"} if name == "identify" else {"type": "track", "event": name}
    return json.dumps({**kind, **who, "messageId": str(number), "timestamp": format_instant(at_ms)}).encode()


_events = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(
            ["anonymous_id Visited", "anonymous_id Ordered", "user_id Visited", "user_id Ordered", "identify"]
        ),
        st.integers(0, 3),
    ),
    max_size=40,
    # Distinct instants, so that the order of the events at one instant decides nothing.
    unique_by=lambda event: event[0],
).map(sorted)


@examples(60, of=1_000)
@given(_events, st.integers(0, 60))
def test_arms_of_random_events_are_those_of_an_independent_count(
    drawn: list[tuple[int, str, int]], more: int
) -> None:
    events = [(START_MS + hours * HOUR_MS // 2, name, number) for hours, name, number in drawn]
    found = measured()
    replay, arms = Replay(SegmentSet([AT_RISK, *published(found)]), wall_ms=2 * START_MS), Arms(found)
    changes: list[Change] = []
    for index, (at_ms, name, number) in enumerate(events):
        changes += replay.feed(_line(index, name, at_ms, number), default_id="")
    clock_ms = (events[-1][0] if events else START_MS) + more * HOUR_MS // 2
    changes += replay.advance(clock_ms)
    for first in range(0, len(changes), REPEATED):
        for each in changes[first : first + REPEATED] * 2:  # as after a crash
            arms.take(each)
    assert arms.count(all_counted(found), clock_ms) == expected(events, clock_ms)


def _line(index: int, name: str, at_ms: int, number: int) -> bytes:
    if name == "identify":
        return sent(index, name, at_ms, userId=f"c{number}", anonymousId=f"c{number}")
    kind, event = name.split()
    who = {"userId" if kind == "user_id" else "anonymousId": f"c{number}"}
    return sent(index, event, at_ms, **who)


@pytest.mark.parametrize(
    "changed", [{"key": "k" * 64, "name": "n" * 200}, {"goal": {"did": "any_event", "within": "90s"}}]
)
def test_every_audience_with_a_goal_and_a_hold_out_is_measured(changed: dict[str, Any]) -> None:
    found = audience(**changed)
    assert [each.key for each in published(found)] == [found.definition_key, *found.measuring_keys]


@pytest.mark.parametrize("missing", ["goal", "hold_out"])
def test_nothing_is_measured_without_a_goal_or_a_hold_out(missing: str) -> None:
    assert measuring_of(audience(**{missing: None}), ()) == []


# -- one by one --------------------------------------------------------------------------------------------


def change(key: str, at_ms: int, sequence: int, *, member: bool = True, **more: Any) -> Change:
    """Return a change of the profile u in a definition of the audience ``winback-email``."""
    who = {"profile_id": "u", "reason": "event", "merged_into": None, **more}
    own = {"segment_key": f"audience.winback-email.{key}", "segment_version": 1, "change_id": f"{sequence}"}
    rest = {"event_id": None, "flips_at": None, "user_id": None, "anonymous_id": None, "email": None}
    action = "entered" if member else "exited"
    return Change(
        **own, **who, **rest, action=action, member=member, occurred_at=at_ms, evaluated_at=at_ms,
        sequence=sequence, traits_json="{}",
    )  # fmt: skip


def counted(changes: Iterable[Change], clock_ms: int | None = 10**9, **changed: Any) -> dict[ArmName, Arm]:
    """Return the arms with a window of 100 ms."""
    arms = Arms(audience())
    for each in changes:
        arms.take(each)
    counting = Counting(100, 0, 0, [(0, None)], ("event", "time"), initial=False)
    return arms.count(counting._replace(**changed), clock_ms)


ENTRY = change("sent", 1_000, 1)


@pytest.mark.parametrize(
    ("changed", "expected_arm"),
    [
        ({}, Arm(matured=1)),
        ({"since_ms": 999}, Arm(matured=1)),
        ({"since_ms": 1_000}, Arm()),
        ({"complete_ms": 1_000}, Arm(matured=1)),
        ({"complete_ms": 1_001}, Arm()),
        ({"active": []}, Arm()),
        ({"active": [(0, 1_000)]}, Arm()),
        ({"active": [(0, 500), (999, 1_001)]}, Arm(matured=1)),
        ({"active": [(1_000, None)]}, Arm()),
        ({"reasons": ("time",)}, Arm()),
        ({"clock_ms": 1_099}, Arm(open=1)),
        ({"clock_ms": 1_100}, Arm(matured=1)),
        ({"clock_ms": None}, Arm(open=1)),
    ],
)
def test_entries_count_from_their_terms_on(changed: dict[str, Any], expected_arm: Arm) -> None:
    assert counted([ENTRY], **changed) == {"sent": expected_arm, "held_out": Arm()}


@pytest.mark.parametrize("reason", ["definition", "backfill"])
def test_initial_members_count_only_where_they_are_told(reason: str) -> None:
    entry = change("held-out", 1_000, 1, reason=reason)
    assert counted([entry], since_ms=5_000, active=[]) == {"sent": Arm(), "held_out": Arm()}
    found = counted([entry], since_ms=5_000, active=[], initial=True)
    assert found["held_out"] == Arm(matured=1)
    assert counted([entry], complete_ms=1_001, initial=True)["held_out"] == Arm()


def test_goal_counts_if_it_holds_at_the_end_of_the_window() -> None:
    reached = change("goal", 1_100, 2)
    for moves, converted in (
        ([reached], 1),
        ([change("goal", 1_101, 2)], 0),
        ([change("goal", 1_001, 2), change("goal", 1_050, 3, member=False)], 0),
        ([change("goal", 1_001, 2), change("goal", 1_101, 3, member=False)], 1),
    ):
        assert counted([ENTRY, *moves])["sent"] == Arm(matured=1, converted=converted)


def test_only_the_first_entry_of_a_person_counts() -> None:
    left, again = change("sent", 1_101, 2, member=False), change("sent", 2_000, 3)
    assert counted([ENTRY, left, again, change("goal", 2_001, 4)])["sent"] == Arm(matured=1)
    other = change("held-out", 900, 1, profile_id="a")
    into = change("held-out", 1_200, 2, member=False, profile_id="a", merged_into="u", reason="merge")
    assert counted([ENTRY, other, into]) == {"sent": Arm(), "held_out": Arm(matured=1)}


def test_entry_whose_end_is_unknown_is_left_out() -> None:
    erased = change("sent", 1_100, 2, member=False, reason="erasure")
    assert counted([ENTRY, erased])["sent"] == Arm(left_out=1)
    assert counted([ENTRY, erased], clock_ms=1_050)["sent"] == Arm(left_out=1)
    later = change("sent", 1_101, 2, member=False, reason="erasure")
    assert counted([ENTRY, later])["sent"] == Arm(matured=1)


def test_windows_that_end_before_the_goal_has_its_history_are_left_out() -> None:
    ready = change("goal", 1_101, 1, profile_id="other", reason="backfill")
    assert counted([ENTRY, ready])["sent"] == Arm(left_out=1)
    ready.occurred_at = 1_100
    assert counted([ENTRY, ready])["sent"] == Arm(matured=1)


def test_merges_and_splits_are_followed() -> None:
    into = change("sent", 1_010, 2, member=False, merged_into="v", reason="merge")
    joined = change("sent", 1_010, 1, profile_id="v", reason="merge")
    goal = change("goal", 1_020, 2, profile_id="v")
    assert counted([ENTRY, into, joined, goal])["sent"] == Arm(matured=1, converted=1)
    split = change("sent", 1_030, 3, reason="split")
    assert counted([ENTRY, into, joined, goal, split])["sent"] == Arm(matured=1)
    back = change("sent", 1_040, 3, member=False, profile_id="v", merged_into="u", reason="merge")
    assert counted([ENTRY, into, joined, split, back])["sent"] == Arm(matured=1)


def test_repeated_changes_change_nothing() -> None:
    reached, lost = change("goal", 1_001, 2), change("goal", 1_050, 3, member=False)
    assert counted([ENTRY, reached, lost, ENTRY, reached])["sent"] == Arm(matured=1)


#: Customers who visit at 0 h, and so lapse at 4 h; others visit at 5 h, and lapse at 9 h.
EARLY, LATE = range(40), range(40, 80)
VISITS_AND_ORDERS = [
    *((0, "Visited", number) for number in EARLY),
    *((5, "Ordered", number) for number in EARLY[::4]),
    *((5, "Visited", number) for number in LATE),
    *((12, "Ordered", number) for number in LATE[::2]),
]


def test_time_is_a_reason_and_the_definitions_may_come_later() -> None:
    """The definitions come at 5 h, with a goal that needs history."""
    found = measured()
    lapsed = definition("at-risk", {"all": [{"did": "Visited"}, {"did_not": "Visited", "within": "4h"}]})
    replay, arms = Replay(SegmentSet([lapsed, published(found)[0]]), wall_ms=2 * START_MS), Arms(found)
    publication = Publication(replay, SegmentSet([lapsed, *published(found)]))
    changes: list[Change] = []
    for index, (hours, name, number) in enumerate(VISITS_AND_ORDERS):
        if (name, number) == ("Visited", LATE[0]):
            changes += publication.adopt()
        line = sent(index, name, START_MS + hours * HOUR_MS, userId=f"c{number}")
        profile_id, event = replay.read(line, default_id="")
        publication.note(profile_id, event, arrival_ms=event.time_ms)
        changes += replay.apply(profile_id, event)
    clock_ms = START_MS + 100 * HOUR_MS
    for each in [*changes, *replay.advance(clock_ms)]:
        arms.take(each)
    early, late, converted = ([_arm_of(each) for each in some] for some in (EARLY, LATE, LATE[::2]))
    for initial, entered in ((False, late), (True, early + late)):
        assert arms.count(all_counted(found, initial=initial), clock_ms) == {
            name: Arm(matured=entered.count(name), converted=converted.count(name)) for name in ARMS
        }


def _arm_of(number: int) -> ArmName:
    return Customer(f"user_id:c{number}").own
