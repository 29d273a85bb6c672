"""Compiled rules over bounded state equal the oracle over all events, in changes and flips_at."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Change, Event
from segops.core.profile import Profile
from segops.core.rules.parsing import Context, read_indicators, read_policy, read_rfm, read_rule
from segops.core.segments import Definition, SegmentSet
from segops.schemas.state import decode_profile, encode_profile

from .oracle import FAR_MS, ChangeSummary, Oracle, PublishedIdentity, published_identity
from .strategies import BASE_MS, RFM, composite, policies, rules, streams
from .strategies_areas import area_context
from .strategies_figures import INDICATORS, indicator_rules
from .strategies_grids import measured_grids
from .strategies_lists import LISTINGS, LISTS
from .strategies_scores import OWN_SCORES, score_models

_limits = st.one_of(st.none(), policies())


@composite
def segment_sets(draw: Any, *, limited: bool = True) -> SegmentSet:
    """Draw one to three segments; with ``limited``, some have a membership policy."""
    limits = _limits if limited else st.none()
    forms = {"s0": draw(rules())}
    for number in range(1, draw(st.integers(1, 3))):
        forms[f"s{number}"] = draw(rules(tuple(forms)))
    if draw(st.integers(0, 9)) == 0:
        forms["s0"] = draw(indicator_rules)
    return SegmentSet([make_definition(key, form, draw(limits)) for key, form in forms.items()])


def make_definition(key: str, form: dict[str, Any], limits: dict[str, Any] | None = None) -> Definition:
    context = area_context("fuzz", read_rfm(RFM, "rfm", Context("fuzz")))
    context.indicators = read_indicators(INDICATORS, "indicators", context)
    context.lists = LISTS
    context.scores, context.models = OWN_SCORES, score_models(form)
    context.grids = measured_grids()
    node = read_rule(form, key, context)
    policy = None if limits is None else read_policy(limits, "membership", context)
    return Definition(key, key, node, written={"when": form, "membership": limits}, policy=policy)


def seen_of(change: Change, now_ms: int) -> ChangeSummary:
    flips_at = change.flips_at if change.flips_at is None or change.flips_at <= now_ms + FAR_MS else None
    return ChangeSummary(
        change.segment_key, change.action, change.reason, change.occurred_at, flips_at, change.event_id
    )


def _published_identity_of(change: Change) -> PublishedIdentity:
    traits = msgspec.json.decode(change.traits_json)
    return PublishedIdentity(change.user_id, change.anonymous_id, change.email, traits)


def _stored_identity(profile: Profile) -> PublishedIdentity:
    return PublishedIdentity(profile.user_id, profile.anonymous_id, profile.email, profile.traits)


def _engine_step(engine: Engine, profile: Profile, kind: str, arg: Any, clock_ms: int) -> list[Change]:
    if kind == "clock":
        return engine.on_timer(profile, clock_ms=clock_ms).changes
    result = engine.on_event(profile, arg, clock_ms=clock_ms)
    assert not result.failures
    return result.changes


def assert_agreement(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
    """Assert that engine and oracle agree at every step. ``watermark``: events advance the clock."""
    engine, oracle = Engine(segments), Oracle(segments.definitions)
    profile = engine.new_profile("user_id:u1")
    profile.lists = {key: [*versions] for key, versions in LISTINGS.items()}
    oracle.history.put_on(LISTINGS)
    clock_ms = -(10**15)
    for kind, arg in steps:
        if kind == "clock" or watermark:
            clock_ms = max(clock_ms, arg if kind == "clock" else arg.time_ms)
        changes = _engine_step(engine, profile, kind, arg, clock_ms)
        expected = oracle.on_clock(clock_ms) if kind == "clock" else oracle.on_event(arg, clock_ms)
        assert [seen_of(c, c.occurred_at) for c in changes] == expected, (kind, arg)
        assert set(profile.members) == oracle.members
        # Changes caused by time before an event carry the identifiers from before it.
        reason = "time" if kind == "clock" else "event"
        published = [_published_identity_of(change) for change in changes if change.reason == reason]
        assert published == [published_identity(oracle.history)] * len(published)
        assert _stored_identity(profile) == published_identity(oracle.history)
        # Each step starts from the stored profile alone.
        profile = decode_profile(encode_profile(profile))
    assert profile.due_ms == min(profile.flips.values(), default=None)


@given(segment_sets(), streams(), st.booleans())
def test_compiled_equals_reference(
    segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool
) -> None:
    note({d.key: d.written for d in segments.definitions})
    assert_agreement(segments, steps, watermark)


def test_a_date_in_the_context_passes_out_of_its_window() -> None:
    said = {"app": {"v": "2025-10-09T08:53:19.501Z"}}
    test = {"as": "date", "in_last": "500ms"}
    rule = {"most_frequent": "context.app.v", "of": "any_event", "as": "text", "is": test}
    event = Event("A", 1_760_000_000_000, "m", {}, context=said)
    assert_agreement(SegmentSet([make_definition("s0", rule)]), [("event", event)], watermark=True)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ([20], [20.0], True),
        ({"a": [1]}, {"a": [1.0]}, True),
        ([0], [-0.0], True),
        ([10.0**300], [10.0**300], True),
        ([1], [True], False),
        ({"a": False}, {"a": 0}, False),
        ([1], ["1"], False),
        ([1, 2], [2, 1], False),
        ([0.1], [0.1000001], False),
    ],
)
def test_nested_numbers_are_compared_by_value(first: Any, second: Any, same: bool) -> None:
    """Compare the values of two events by ``distinct`` and ``same_as``, in engine and oracle."""
    forms = {
        "different": {"distinct": "p", "of": "A", "is": {"gte": 2}},
        "repeated": {"sequence": [{"did": "A"}, {"did": "A", "where": {"p": {"same_as": 1}}}]},
    }
    segments = SegmentSet([make_definition(key, form) for key, form in forms.items()])
    steps = [
        ("event", Event("A", BASE_MS + number, f"m{number}", {"p": value}))
        for number, value in enumerate((first, second))
    ]
    assert_agreement(segments, steps, watermark=True)
    oracle = Oracle(segments.definitions)
    for _, event in steps:
        oracle.on_event(event, event.time_ms)
    assert oracle.members == {"repeated" if same else "different"}
