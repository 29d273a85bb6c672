"""A merged profile equals a single profile that received every event of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import reducer_of, sliding
from segops.core.features.states import Sums
from segops.core.merge import REMEMBERED
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.core.windows import reach_ms
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import segments
from tests.rest import examples

from .oracle import Oracle
from .strategies import (
    AGGREGATES,
    ANCHORED_AGGREGATES,
    BASE_MS,
    NAMES,
    ORDERS,
    identities,
    purchases,
    streams,
)
from .test_equivalence import make_definition, segment_sets

BOTH, SURVIVOR, SOURCE = range(3)
NAMED = ("user_id", "user_ms", "anonymous_id", "anonymous_ms", "email", "email_ms")


@st.composite
def owned_events(draw: Any) -> list[tuple[Event, int]]:
    """Draw events with their owner. An event of both profiles has a millisecond of its own."""
    events = {step.message_id: step for kind, step in draw(streams()) if kind == "event"}
    times = [event.time_ms for event in events.values()]
    found = []
    for event in events.values():
        owner = draw(st.sampled_from([SURVIVOR, SOURCE, BOTH]))
        if owner == BOTH and times.count(event.time_ms) > 1:
            owner = SURVIVOR
        if draw(st.integers(0, 3)) == 0:
            event.name = draw(st.sampled_from(ORDERS[:3]))
            event.properties["order_id"] = draw(st.sampled_from(["", *events]))
        found.append((event, owner))
    return found


_WINDOWS: dict[str, dict[str, Any]] = {
    "always": {},
    "within": {"within": "9s"},
    "between": {"between": {"from": "1d", "to": "2s"}},
    "fixed": {"since": format_instant(BASE_MS + 2_000)},
    "calendar": {"calendar": {"this": "day", "zone": "Europe/Paris"}},
    "since-last": {"since_last": "B"},
    "same": {"since_last": "Order Completed", "same": "p"},
}
_STEPS = [{"did": "A"}, {"did": "B", "where": {"p": {"same_as": 1}}}]
_OTHERS: dict[str, dict[str, Any]] = {
    "first": {"first": "A", "is": {"older_than": "5s"}},
    "last": {"last": "A", "is": {"newer_than": "5s"}},
    "trait": {"trait": "p", "is": {"exists": True}},
    "has-been": {"has_been": {"trait": "p", "is": {"exists": True}}, "for": "3s"},
    "changed": {"changed": {"trait": "p", "to": {"gte": 1}}, "within": "9s"},
    "changed-ever": {"changed": {"trait": "p", "from": {"exists": False}}},
    "changed-before": {"changed": {"trait": "p", "from": 1}, "between": {"from": "1d", "to": "2s"}},
    "identified": {"identified": True},
    "no-address": {"not": {"has_identifier": "email"}},
    "sequence": {"sequence": _STEPS, "within": "20s"},
    "strict": {"sequence": [{"did": "A"}, {"did": "B"}, {"did_not": "A", "within": "3s"}], "strict": True},
    "rfm": {"rfm": "champions"},
    "worth": {"score": "ltv_90d", "is": {"gte": 5}},
    "intent": {"score": "intent", "is": {"gte": 1}},
    "near": {"near": {"lat": 0, "lon": 179.99, "radius": "200km"}, "within": "9s"},
    "known": {"known_for": "4s"},
    "timed": {"did": "A", "where": {"q": {"in_last": "9s"}}, "count": {"gte": 2}, "within": "1d"},
    "visited": {"near": {"lat": 0, "lon": 179.99, "radius": "200km"}, "anytime": True, "within": "9s"},
    "visited-before": {
        "near": {"lat": 0, "lon": 179.99, "radius": "200km"},
        "anytime": True,
        "between": {"from": "1d", "to": "2s"},
    },
    "visited-ever": {"near": {"lat": 0, "lon": 179.99, "radius": "200km"}, "anytime": True},
    "many": {"did": ["A", "B"], "count": {"gte": 300}, "within": "1d"},
    "of-some": {"did": "A", "where": {"p": 1}, "count": {"gte": 2}},
    "session-events": {"session": "events", "of": ["A", "B"], "gap": "2s", "is": {"gte": 2}},
    "session-first": {"session": {"first": "p"}, "of": ["A", "B"], "gap": "2s", "is": {"gte": 2}},
    "session-last": {"session": {"last": "p"}, "of": "A", "gap": "5s", "which": "last", "is": {"gte": 2}},
    "regularly": {"regularly": ["A", "B"], "every": "3s", "k": 2, "of": 4},
    "lifecycle": {"lifecycle": {"of": "A", "period": "4s", "is": ["new", "resurrected"]}},
}


def _everything() -> SegmentSet:
    """Return a segment for every family of features in every kind of window."""
    forms = dict(_OTHERS)
    for name, window in _WINDOWS.items():
        forms[f"did-{name}"] = {"did": ["A", "B"], "count": {"gte": 3}, **window}
        for function in ANCHORED_AGGREGATES if "since_last" in window else AGGREGATES:
            test = {"gte": 2}
            forms[f"{function}-{name}"] = {function: "p", "of": ["A", "B"], "is": test, **window}
        if "since_last" not in window:
            forms[f"days-{name}"] = {"active_days": "A", "zone": "Asia/Kolkata", "is": {"gte": 2}, **window}
            forms[f"sessions-{name}"] = {"sessions": ["A", "B"], "gap": "2s", "is": {"gte": 2}, **window}
    return SegmentSet([make_definition(key, form) for key, form in forms.items()])


EVERYTHING = _everything()


@st.composite
def dense_owned_events(draw: Any) -> list[tuple[Event, int]]:
    """Draw dense events, some a day later, most of which concern most features."""
    found: list[tuple[Event, int]] = []
    days = draw(st.sampled_from([(0,), (0, 0, 86_400_000)]))
    for number in range(draw(st.integers(1, 12))):
        owner = draw(st.sampled_from([SURVIVOR, SOURCE, BOTH]))
        name = draw(st.sampled_from([*NAMES[:2], *ORDERS]))
        time_ms = BASE_MS + 1_000 * draw(st.integers(0, 12)) + draw(st.sampled_from(days))
        # A message of both profiles has a millisecond of its own, by which its copy is recognized.
        time_ms += number + 1 if owner == BOTH else 0
        properties = {"p": draw(st.sampled_from([0, 1, 2.5, 0.1, "x"]))}
        properties["q"] = format_instant(time_ms)
        traits = draw(st.sampled_from([None, None, {"p": 1}, {"p": 2}, {"p": None}]))
        location = draw(st.sampled_from([None, (0.0, 179.0)]))
        if name in ORDERS:
            # Updates of an order that has left the period are ignored; a owned cannot know that it has.
            properties |= draw(
                purchases(("o1", "o1", "o2", None) if len(days) == 1 else (f"o{number}", None))
            )
        event = Event(
            name, time_ms, f"m{number}", properties, traits, location=location, **draw(identities())
        )
        found.append((event, owner))
    return draw(st.permutations(found))


def replayed(engine: Engine, profile_id: str, events: list[Event], clock_ms: int = -(10**15)) -> Profile:
    profile = engine.new_profile(profile_id)
    for event in events:
        engine.on_event(profile, event, clock_ms=-(10**15))
    engine.on_timer(profile, clock_ms=clock_ms)
    return decode_profile(encode_profile(profile))


def reads(segments: SegmentSet, profile: Profile, now_ms: int) -> dict[str, Any]:
    """Return the value of every feature at an instant."""
    found = {}
    for key, feature in segments.features.items():
        value = reducer_of(feature).read(profile.features.get(key), now_ms)  # type: ignore[arg-type]
        if feature.kind == "history" and value is not None:  # profiles may differ in older entries
            in_force = dict(zip(value.times, value.values, strict=True))
            value = {at: set_to for at, set_to in in_force.items() if at > now_ms - reach_ms(feature.window)}
            value = value or None
        found[str(feature)] = value
    return found


def all_events(history: list[tuple[Event, int]]) -> list[Event]:
    """Return all events ordered by time, the source's first."""
    in_turn = sorted(history, key=lambda owned: (owned[0].time_ms, owned[1] != SOURCE))
    return [event for event, _ in in_turn]


def events_seen_by(history: list[tuple[Event, int]], owner: int) -> list[Event]:
    return [event for event, of in history if of in (owner, BOTH)]


def stateless(segments: SegmentSet) -> bool:
    """Return whether memberships follow from the events alone, not from earlier evaluations."""
    return all(segment.rule is segment.referred for segment in segments.segments)


def punctual(segments: SegmentSet, history: list[tuple[Event, int]]) -> list[tuple[Event, int]]:
    """Return the history without late events if a figure is frozen: that depends on when each arrived."""
    if all(feature.refresh is None for feature in segments.features.values()):
        return history
    return sorted(history, key=lambda owned: (owned[0].time_ms, owned[1] != SOURCE))


def assert_merge(
    segments: SegmentSet, history: list[tuple[Event, int]], survivor_id: str, waits_ms: list[int]
) -> None:
    engine = Engine(segments)
    history = punctual(segments, history)
    clock_ms = max((event.time_ms for event, _ in history), default=0) + waits_ms[0]
    survivor = replayed(engine, survivor_id, events_seen_by(history, SURVIVOR), clock_ms)
    source = replayed(engine, "anonymous_id:a1", events_seen_by(history, SOURCE), clock_ms)
    engine.on_merge(survivor, [source], clock_ms=clock_ms)
    single = replayed(engine, survivor_id, all_events(history))
    engine.on_timer(single, clock_ms=clock_ms)
    survivor = decode_profile(encode_profile(survivor))
    for wait_ms in waits_ms:
        now_ms = clock_ms + wait_ms
        assert reads(segments, survivor, now_ms) == reads(segments, single, now_ms), now_ms
    if single.first_ms is None:
        return
    if stateless(segments):
        assert (survivor.members.keys(), survivor.flips) == (single.members.keys(), single.flips)
        assert survivor.due_ms == single.due_ms
    for field in ("traits", "trait_times", "first_ms", "latest_ms", "location", "location_ms", *NAMED):
        assert getattr(survivor, field) == getattr(single, field), field
    assert survivor.seen.keys() == single.seen.keys()
    assert survivor.counted.keys() == single.counted.keys()


survivors = st.sampled_from(["user_id:u1", "anonymous_id:a0"])
waits = st.lists(st.integers(0, 30_000), min_size=3, max_size=3)


@examples(50, of=200)
@given(dense_owned_events(), survivors, waits)
def test_every_feature_family_is_merged(
    history: list[tuple[Event, int]], survivor_id: str, waits_ms: list[int]
) -> None:
    assert_merge(EVERYTHING, history, survivor_id, waits_ms)


def has_outlived_orders(segments: SegmentSet, history: list[tuple[Event, int]], clock_ms: int) -> bool:
    """Return whether two events say something of one order that has left the period at the merge.

    An order leaves the period together with all that was said of it (SPEC: orders). So a later statement,
    or the copy of another profile, is compared with nothing.
    """
    periods = [each.purchases.period_ms for each in segments.features.values() if each.purchases is not None]
    times: dict[str, list[int]] = {}
    for event, _ in history:
        if event.name in ORDERS and event.properties.get("order_id"):
            times.setdefault(event.properties["order_id"], []).append(event.time_ms)
    several = [min(each) for each in times.values() if len(each) > 1]
    return any(time_ms <= clock_ms - period_ms for time_ms in several for period_ms in periods)


@settings(max_examples=40)
@given(segment_sets(), owned_events(), survivors, waits)
def test_merge_equals_a_profile_with_all_events(
    segments: SegmentSet, history: list[tuple[Event, int]], survivor_id: str, waits_ms: list[int]
) -> None:
    note(str({d.key: d.written for d in segments.definitions}))
    clock_ms = max((event.time_ms for event, _ in history), default=0) + waits_ms[0]
    assume(not has_outlived_orders(segments, history, clock_ms))
    assert_merge(segments, history, survivor_id, waits_ms)


@settings(max_examples=40)
@given(segment_sets(limited=False), owned_events())
def test_merge_agrees_with_the_oracle(segments: SegmentSet, history: list[tuple[Event, int]]) -> None:
    assume(stateless(segments))
    note(str({d.key: d.written for d in segments.definitions}))
    engine, oracle = Engine(segments), Oracle(segments.definitions)
    history = punctual(segments, history)
    clock_ms = max((event.time_ms for event, _ in history), default=0)
    survivor = replayed(engine, "user_id:u1", events_seen_by(history, SURVIVOR), clock_ms)
    source = replayed(engine, "anonymous_id:a1", events_seen_by(history, SOURCE), clock_ms)
    engine.on_merge(survivor, [source], clock_ms=clock_ms)
    for event in all_events(history):
        oracle.on_event(event, event.time_ms)
    oracle.on_clock(clock_ms)
    assert set(survivor.members) == oracle.members
    engine.on_timer(survivor, clock_ms=clock_ms + 30_000)
    oracle.on_clock(clock_ms + 30_000)
    assert set(survivor.members) == oracle.members


def events_of(name: str, times: Iterable[int], prefix: str, **properties: Any) -> list[Event]:
    return [Event(name, at, f"{prefix}{at}", {"p": 1, **properties}) for at in times]


def test_merged_long_sums_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliding, "MAX_ENTRIES", 256)
    rules = segments(total={"sum": "p", "of": "A", "is": {"gte": 1}, "within": "1d"})
    engine = Engine(rules)
    survivor = replayed(engine, "user_id:u1", events_of("A", range(BASE_MS, BASE_MS + 400_000, 2_000), "s"))
    source = replayed(
        engine, "anonymous_id:a", events_of("A", range(BASE_MS + 1, BASE_MS + 400_000, 2_000), "l")
    )
    engine.on_merge(survivor, [source], clock_ms=BASE_MS + 400_000)
    ((count, total),) = reads(rules, survivor, BASE_MS + 400_000).values()
    assert (count, total) == (400, 400)
    (state,) = survivor.features.values()
    assert isinstance(state, Sums) and len(state.times) <= 256


def test_order_in_different_messages_of_both_profiles_counts_once() -> None:
    engine = Engine(SegmentSet([make_definition("s", {"rfm": {"frequency": {"gte": 1}}})]))
    mine = events_of("Order Completed", [BASE_MS, BASE_MS + 2], "s", order_id="o1")
    theirs = events_of("Order Completed", [BASE_MS + 5], "l", order_id="o1")
    theirs += events_of("Order Completed", [BASE_MS + 4], "l", order_id="o2", revenue=3)
    survivor, source = replayed(engine, "user_id:u1", mine), replayed(engine, "anonymous_id:a", theirs)
    engine.on_merge(survivor, [source], clock_ms=BASE_MS + 9)
    (totals,) = reads(engine.segments, survivor, BASE_MS + 9).values()
    assert (totals.last_ms, totals.orders, totals.net) == (BASE_MS + 4, 2, 3)


def test_newer_calendar_period_is_kept() -> None:
    rules = segments(today={"did": "A", "count": {"gte": 2}, "calendar": {"this": "day"}})
    engine, day = Engine(rules), 86_400_000
    survivor = replayed(engine, "user_id:u1", events_of("A", [BASE_MS, BASE_MS + 1], "s"))
    source = replayed(engine, "anonymous_id:a", events_of("A", [BASE_MS + day], "l"))
    engine.on_merge(survivor, [source], clock_ms=BASE_MS + day)
    assert list(reads(rules, survivor, BASE_MS + day).values()) == [1]


def test_contributions_are_deleted_with_their_feature_and_their_message() -> None:
    spent = {"sum": "p", "of": "A", "is": {"gte": 1}}
    engine = Engine(segments(often={"did": "A", "count": {"gte": 2}}, spent=spent))
    profile = replayed(engine, "anonymous_id:a", events_of("A", [BASE_MS], "m"))
    (contribution,) = profile.counted.values()
    assert (len(contribution.tallies), list(contribution.totals.values())) == (1, [1])
    Engine(segments(spent=spent)).on_definitions(profile, clock_ms=BASE_MS)
    assert (contribution.tallies, len(contribution.totals)) == ([], 1)
    lasting = events_of("A", range(BASE_MS, BASE_MS + 90_000 * 1_100, 90_000), "m")
    profile = replayed(engine, "anonymous_id:a", lasting)
    assert profile.counted.keys() == profile.seen.keys()
    assert len(profile.counted) == REMEMBERED


def test_policy_considers_the_memberships_of_both() -> None:
    rule = {"did": "A", "within": "10s"}
    policies = {"stay": {"min_stay": "1h"}, "once": {"max_entries": 1}}
    engine = Engine(SegmentSet([make_definition(key, rule, policy) for key, policy in policies.items()]))
    later = BASE_MS + 20_000
    survivor = replayed(engine, "user_id:u1", [Event("B", later, "m1", {})], later)
    source = replayed(engine, "anonymous_id:a", [Event("A", BASE_MS, "m2", {})], later)
    assert (set(survivor.members), set(source.members)) == (set(), {"stay"})
    changes = engine.on_merge(survivor, [source], clock_ms=later).changes
    assert [(c.segment_key, c.action, c.flips_at) for c in changes] == [
        ("stay", "entered", BASE_MS + 3_600_000)
    ]
    assert survivor.members["stay"].since_ms == BASE_MS
    assert not engine.on_event(survivor, Event("A", later + 1, "m3", {}), clock_ms=later).changes


def test_user_profile_records_no_contributions() -> None:
    engine = Engine(segments(often={"did": "A", "count": {"gte": 2}}))
    user = replayed(engine, "user_id:u1", events_of("A", [BASE_MS], "m"))
    source = replayed(engine, "email:e@x", events_of("A", [BASE_MS], "m"))
    assert source.counted and not user.counted
    engine.on_merge(user, [source], clock_ms=BASE_MS)
    assert user.counted == {}
    assert list(reads(engine.segments, user, BASE_MS).values()) == [1]
