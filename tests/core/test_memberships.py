"""Memberships that differ from the verdict of their rule: policies, hysteresis, in_segment of both."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.errors import DefinitionError
from segops.core.profile import Past, Profile
from segops.core.rules.model import identity
from segops.core.rules.parsing import Context, read_policy
from segops.core.rules.policy import Policy
from segops.core.segments import SegmentSet
from segops.core.views.explain import explain
from segops.schemas.state import body_of, decode_profile, encode_profile
from segops.testing import Customer, Flip, definition

from .helpers import MONDAY as T
from .helpers import D, H, S, issues_of

VIEW = {"did": "A", "within": "10s"}


def entered(at_ms: int, key: str = "rule") -> Flip:
    return Flip("entered", key, at_ms)


def exited(at_ms: int, key: str = "rule") -> Flip:
    return Flip("exited", key, at_ms)


def limited(rule: dict[str, Any] = VIEW, **limits: Any) -> dict[str, Any]:
    return {**rule, "membership": limits}


# -- policies ------------------------------------------------------------------------------------------


def test_member_stays_for_min_stay_and_then_exits_by_time_alone() -> None:
    customer = Customer(rule=limited(min_stay="1m"))
    change = customer.send("A", T).changes[0]
    assert (change.occurred_at, change.flips_at) == (T, T + 60 * S)
    assert customer.wait(T + 60 * S - 1) == []
    assert customer.wait(T + 60 * S) == [exited(T + 60 * S)]


def test_rule_that_holds_again_when_min_stay_ends_keeps_the_membership() -> None:
    customer = Customer(rule=limited(min_stay="1m"))
    customer.did("A", T)
    assert customer.did("A", T + 55 * S) == []
    assert customer.wait(T + D) == [exited(T + 65 * S)]


def test_event_cannot_end_a_membership_before_min_stay() -> None:
    rule = {"all": [{"did": "A"}, {"did_not": "B"}]}
    customer = Customer(rule=limited(rule, min_stay="1m"))
    customer.did("A", T)
    assert customer.did("B", T + S) == []
    assert customer.profile.due_ms == T + 60 * S
    assert customer.wait(T + D) == [exited(T + 60 * S)]


def test_cool_down_blocks_entry_and_ends_by_time_alone() -> None:
    customer = Customer(rule=limited({"did": "A", "within": "10s"}, cool_down="15s"))
    customer.did("A", T)
    assert customer.wait(T + 10 * S) == [exited(T + 10 * S)]
    assert customer.did("A", T + 20 * S) == []
    assert customer.profile.due_ms == T + 25 * S
    assert customer.wait(T + D) == [entered(T + 25 * S), exited(T + 30 * S)]


def test_no_entry_after_a_cool_down_if_the_rule_is_false() -> None:
    customer = Customer(rule=limited(cool_down="1m"))
    customer.did("A", T)
    customer.wait(T + 10 * S)
    assert customer.did("A", T + 20 * S) == []
    assert customer.profile.due_ms is None
    assert customer.wait(T + D) == []


def test_entries_are_limited_by_max_entries() -> None:
    customer = Customer(rule=limited(max_entries=2))
    for number in range(2):
        assert customer.did("A", T + number * H) == [entered(T + number * H)]
        customer.wait(T + number * H + 10 * S)
    assert customer.did("A", T + 2 * H) == []
    assert customer.profile.due_ms is None
    assert customer.profile.past == {"rule": Past(2, T + H + 10 * S)}


def test_only_fields_that_the_policy_needs_are_recorded() -> None:
    customer = Customer(plain=VIEW, stay=limited(min_stay="1s"), cool=limited(cool_down="1s"))
    customer.did("A", T)
    assert set(customer.profile.past) == {"cool"}
    customer.adopt(plain=VIEW, stay=limited(min_stay="1s"), cool=VIEW)
    assert customer.profile.past == {}


def test_membership_older_than_its_policy_counts_as_the_first_entry() -> None:
    customer = Customer(rule=VIEW)
    customer.did("A", T)
    assert not customer.adopt(rule=limited(max_entries=1)).changes
    assert customer.wait(T + 10 * S) == [exited(T + 10 * S)]
    assert customer.did("A", T + H) == []


def test_removed_segment_exits_its_members_immediately_and_is_deleted() -> None:
    customer = Customer(rule=limited(min_stay="30d", max_entries=1), other={"did": "B"})
    customer.did("A", T)
    changes = customer.adopt(other={"did": "B"}).changes
    assert [(c.action, c.segment_key, c.reason) for c in changes] == [("exited", "rule", "definition")]
    assert customer.profile.past == {} == customer.profile.flips


def test_state_of_a_version_without_policies_is_read() -> None:
    new = encode_profile(Profile("user_id:u1", sequence=3))
    body = body_of(new)
    fields = msgspec.msgpack.decode(body)
    old = new.removesuffix(body) + msgspec.msgpack.encode(fields[: Profile.__struct_fields__.index("past")])
    assert decode_profile(old) == Profile("user_id:u1", sequence=3)


# -- in_segment ----------------------------------------------------------------------------------------


def test_in_segment_reads_the_membership_not_the_rule() -> None:
    customer = Customer(a=limited(min_stay="1m"), b={"in_segment": "a"}, c={"not": {"in_segment": "a"}})
    changes = customer.send("A", T).changes
    assert [(c.segment_key, c.flips_at) for c in changes] == [("a", T + 60 * S), ("b", T + 60 * S)]
    end = T + 60 * S
    assert customer.wait(T + H) == [exited(end, "a"), exited(end, "b"), entered(end, "c")]


def test_in_segment_predicts_through_a_cool_down() -> None:
    both = {"any": [{"did": "A", "within": "10s"}, {"last": "A", "is": {"older_than": "12s"}}]}
    rule = {"all": [{"in_segment": "a"}, {"known_for": "11s"}]}
    customer = Customer(a=limited(both, cool_down="5s"), rule=rule)
    customer.did("A", T)
    # a exits at 10 s; its rule holds again at 12 s, and its cool-down ends at 15 s.
    assert customer.profile.flips == {"a": T + 10 * S, "rule": T + 15 * S}
    assert customer.wait(T + D)[-1] == entered(T + 15 * S)


def test_in_segment_predicts_that_max_entries_is_reached() -> None:
    both = {"any": [{"did": "A", "within": "10s"}, {"last": "A", "is": {"older_than": "12s"}}]}
    rule = {"all": [{"in_segment": "a"}, {"known_for": "11s"}]}
    for most, due in ((1, None), (2, T + 12 * S)):
        customer = Customer(a=limited(both, max_entries=most), rule=rule)
        customer.did("A", T)
        assert customer.profile.flips.get("rule") == due


#: True for 10 s after A, from 12 s to 14 s, and from 16 s to 18 s.
THRICE = {
    "any": [
        VIEW,
        {"did": "A", "between": {"from": "14s", "to": "12s"}},
        {"did": "A", "between": {"from": "18s", "to": "16s"}},
    ]
}


def test_in_segment_counts_predicted_entries() -> None:
    rule = {"all": [{"in_segment": "a"}, {"known_for": "15s"}]}
    for most, due in ((2, None), (3, T + 16 * S)):
        customer = Customer(a=limited(THRICE, max_entries=most), rule=rule)
        customer.did("A", T)
        assert customer.profile.flips.get("rule") == due


def test_exit_carries_the_next_entry_that_its_cool_down_allows() -> None:
    customer = Customer(rule=limited(THRICE, cool_down="5s"))
    customer.did("A", T)
    customer.clock_ms = T + 10 * S
    change = customer.engine.on_timer(customer.profile, clock_ms=T + 10 * S).changes[0]
    assert (change.action, change.flips_at) == ("exited", T + 16 * S)
    assert customer.wait(T + D) == [entered(T + 16 * S), exited(T + 18 * S)]


def test_first_event_evaluates_references_to_a_segment_of_absence() -> None:
    absent = limited({"did_not": "A"}, min_stay="1h")
    customer = Customer(a=absent, b={"in_segment": "a"})
    assert customer.did("B", T) == [entered(T, "a"), entered(T, "b")]


def test_failing_rule_keeps_the_membership_that_references_read(monkeypatch: pytest.MonkeyPatch) -> None:
    customer = Customer(a=limited(min_stay="1s"), b={"in_segment": "a"})
    customer.did("A", T)

    def fail(*_: Any) -> bool:
        raise ArithmeticError

    monkeypatch.setattr(type(customer.engine.segments.by_key["a"].rule), "holds", fail)
    assert customer.send("A", T + S).failures == ["a"]
    assert customer.member_of == {"a", "b"}
    assert customer.profile.flips == {}


# -- hysteresis ----------------------------------------------------------------------------------------

QUIET = {"score": "recency_days", "enter": {"gte": 5}, "exit": {"lt": 2}}
ORDERS = {"rfm": {"enter": {"recency": 5}, "exit": {"recency": {"lte": 3}}}}


def test_score_enters_and_exits_at_different_values() -> None:
    active = {"score": "recency_days", "enter": {"lt": 1}, "exit": {"gte": 3}}
    customer = Customer(rule=active)
    change = customer.send("A", T).changes[0]
    assert (change.action, change.flips_at) == ("entered", T + 3 * D)
    assert customer.did("A", T + 2 * D) == []
    assert customer.wait(T + 9 * D) == [exited(T + 5 * D)]
    assert customer.profile.due_ms is None


def test_rfm_enters_and_exits_at_different_digits() -> None:
    customer = Customer(rule=ORDERS)
    change = customer.send("Order Completed", T).changes[0]
    assert (change.action, change.flips_at) == ("entered", T + 60 * D)
    assert customer.wait(T + 45 * D) == []
    assert customer.wait(T + 90 * D) == [exited(T + 60 * D)]
    assert customer.did("Order Completed", T + 91 * D) == [entered(T + 91 * D)]


def test_in_segment_of_a_hysteresis_reads_the_membership() -> None:
    customer = Customer(a=ORDERS, b={"in_segment": "a"})
    customer.did("Order Completed", T)
    assert customer.profile.flips == {"a": T + 60 * D, "b": T + 60 * D}
    assert customer.wait(T + 59 * D) == []
    assert customer.wait(T + 60 * D) == [exited(T + 60 * D, "a"), exited(T + 60 * D, "b")]


def test_segment_without_policy_or_hysteresis_follows_its_rule() -> None:
    known = SegmentSet([definition("a", VIEW), definition("b", {"in_segment": "a"})])
    assert all(segment.rule is segment.referred for segment in known.segments)


# -- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "issue"),
    [
        ({"not": QUIET}, "f: when.not: enter and exit are not allowed under not: "),
        (
            {"not": {"not": {"any": [QUIET]}}},
            "f: when.not.not.any[0]: enter and exit are not allowed under not: ",
        ),
        ({"not": ORDERS}, "f: when.not.rfm: enter and exit are not allowed under not: "),
        ({**QUIET, "exit": {"gte": 7}}, "f: when: enter and exit both hold for 7"),
        ({**QUIET, "exit": {"lte": 5}}, "f: when: enter and exit both hold for 5"),
        ({**QUIET, "enter": {"gt": 3}, "exit": {"lt": 4}}, "f: when: enter and exit both hold for 3.5"),
        ({**QUIET, "exit": {"ne": 3}}, "f: when: enter and exit both hold for 5"),
        ({**QUIET, "enter": {"exists": False}}, "f: when: enter and exit both hold for a missing score"),
        ({**QUIET, "is": {"gte": 5}}, "f: when.is: expected either is, or enter and exit"),
        (
            {"score": "recency_days", "enter": {"gte": 5}},
            "f: when: missing exit: enter and exit go together",
        ),
        ({"rfm": {"exit": "champions"}}, "f: when.rfm: missing enter: enter and exit go together"),
        (
            {"rfm": {**ORDERS["rfm"], "recency": 3}},
            "f: when.rfm.recency: unknown key; expected one of enter, exit",
        ),
        ({"rfm": {"enter": "champions", "exit": "best"}}, "f: when.rfm.exit: unknown tier 'best'"),
        (
            {"rfm": {"enter": "champions", "exit": {"recency": {"lte": 5}, "monetary": 2}}},
            "f: when.rfm: enter and exit both hold for recency 5, frequency 4, monetary 2",
        ),
        (
            {"rfm": {"enter": ["new", "loyal"], "exit": "new"}},
            "f: when.rfm: enter and exit both hold for rec",
        ),
    ],
    ids=str,
)
def test_invalid_hysteresis_is_rejected(rule: dict[str, Any], issue: str) -> None:
    assert issues_of(rule)[0].startswith(issue)


@pytest.mark.parametrize(
    ("block", "issue"),
    [
        (None, "f: m: expected a map with any of min_stay, cool_down, max_entries"),
        ({}, "f: m: expected a map with any of min_stay, cool_down, max_entries"),
        ({"min_stay": "0d"}, "f: m.min_stay: expected a duration above 0"),
        ({"cool_down": "0ms"}, "f: m.cool_down: expected a duration above 0"),
        ({"cool_down": 3}, "f: m.cool_down: expected a duration in ms, s, m, h, d or w, such as 48h, got 3"),
        ({"max_entries": 0}, "f: m.max_entries: expected an integer of at least 1, got 0"),
        ({"max_entries": True}, "f: m.max_entries: expected an integer of at least 1, got True"),
        ({"cooldown": "1d"}, "f: m.cooldown: unknown key; expected one of min_stay, cool_down, max_entries"),
    ],
    ids=str,
)
def test_invalid_policy_is_rejected(block: Any, issue: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        read_policy(block, "m", Context("f"))
    assert str(refused.value.issues[0]).startswith(issue)


def test_version_covers_the_policy_only_if_there_is_one() -> None:
    plain = definition("a", VIEW)
    kinds = [plain, *(definition("a", limited(min_stay=length)) for length in ("1h", "60m", "2h"))]
    without, hour, same, two = (d.identity for d in kinds)
    assert without == identity(plain.when)
    assert hour == same
    assert len({without, hour, two}) == 3
    assert Policy(min_stay_ms=H).written == {"min_stay": "1h"}


# -- explain -------------------------------------------------------------------------------------------


def test_explanation_shows_the_policy_and_the_flip_that_it_causes() -> None:
    customer = Customer(rule=limited(min_stay="1m", cool_down="1h", max_entries=3))
    customer.did("A", T)
    customer.wait(T + 20 * S)
    inside = explain(customer.engine.segments, customer.profile, T + 20 * S).segments[0]
    assert (inside.member, inside.rule.holds, inside.flips_at) == (True, False, T + 60 * S)
    assert inside.limits is not None
    assert (inside.limits.stays_until, inside.limits.entries, inside.limits.max_entries) == (T + 60 * S, 1, 3)
    customer.wait(T + 2 * 60 * S)
    outside = explain(customer.engine.segments, customer.profile, T + 2 * 60 * S).segments[0]
    assert outside.limits is not None
    assert (outside.limits.stays_until, outside.limits.enters_from) == (None, T + 60 * S + H)


def test_explanation_of_hysteresis_shows_both_sides() -> None:
    customer = Customer(rule=ORDERS)
    customer.did("Order Completed", T)
    customer.wait(T + 45 * D)
    rule = explain(customer.engine.segments, customer.profile, T + 45 * D).segments[0].rule
    assert rule.label == "rfm enter recency = 5, exit recency ≤ 3"
    assert (rule.holds, rule.changes_at, rule.changed_at) == (True, T + 60 * D, T)
    assert [(part.label, part.holds) for part in rule.parts] == [
        ("rfm recency = 5", False),
        ("rfm recency ≤ 3", False),
    ]
