"""What is told, and what is settled without a message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.audiences.model import Audience, Rate
from segops.core.delivery.deciding import Terms, accepted, answered, decide, properties_of, refused
from segops.core.delivery.messages import Message, Person
from segops.core.delivery.model import CAPPED, DEAD, DISCARDED, EXISTING, Entry, Target, Told

PERSON = Person("p", "u", email="ann@shop.example")


def target(since_ms: int = 100, **changed: Any) -> Target:
    found = Target(True, "c1", 1, "event", since_ms, since_ms + 5, PERSON, since_ms, 900, {"aov": 7})
    return msgspec.structs.replace(found, **changed)


def audience(**changed: Any) -> Audience:
    return Audience("winback", "at-risk", "email", **changed)


def entry(told: Told | None = None, **changed: Any) -> Entry:
    return Entry({"p": target(**changed)}, None, told)


def told(**changed: Any) -> Told:
    return msgspec.structs.replace(Told(True, "c1", "p", 110, 100, {"aov": 7}), **changed)


def test_an_entry_says_all_that_is_known() -> None:
    found = decide(entry(), "a", Terms(audience(), 50), now_ms=200)
    assert found == Message(
        "entered", "winback", "a", PERSON, "c1", 1, "event", 100, 100, 900, False, {"aov": 7}
    )


@pytest.mark.parametrize(
    ("existing", "since_ms", "skipped"),
    [("only_new", 50, EXISTING), ("only_new", 51, None), ("send", 50, None)],
)
def test_members_at_the_activation(existing: Any, since_ms: int, skipped: str | None) -> None:
    found = decide(entry(since_ms=since_ms), "a", Terms(audience(existing=existing), 50), now_ms=200)
    assert getattr(found, "skipped", None) == skipped


def test_what_is_settled_is_decided_once_and_its_exit_is_not_told() -> None:
    terms, known = Terms(audience(), 500), entry()
    settled = decide(known, "a", terms, now_ms=600)
    assert isinstance(settled, Told)
    known.told = settled
    assert decide(known, "a", terms, now_ms=700) is None
    known.take("p", target(member=False, change_id="c2"))
    assert decide(known, "a", terms, now_ms=700) is None


@pytest.mark.parametrize(("published_ms", "skipped"), [(300, DISCARDED), (301, None)])
def test_a_release_discards_what_was_published_before(published_ms: int, skipped: str | None) -> None:
    terms = Terms(audience(), 50, discarded_ms=300)
    found = decide(entry(published_ms=published_ms), "a", terms, now_ms=400)
    assert getattr(found, "skipped", None) == skipped
    left = Entry({}, target(member=False, change_id="c2", published_ms=published_ms), told())
    found = decide(left, "a", terms, now_ms=400)
    assert isinstance(found, Told if skipped else Message)
    if isinstance(found, Told):
        left.told = found
        assert found.member
        assert decide(left, "a", terms, now_ms=401) is None


def test_a_cap_counts_other_entries_in_its_span() -> None:
    terms = Terms(audience(frequency=Rate(2, 100)), 50)
    known = entry()
    assert isinstance(decide(known, "a", terms, told_ms={"x": 150, "c1": 160}, now_ms=200), Message)
    found = decide(known, "a", terms, told_ms={"x": 150, "y": 101}, now_ms=200)
    assert getattr(found, "skipped", None) == CAPPED
    assert isinstance(decide(known, "a", terms, told_ms={"x": 150, "y": 100}, now_ms=200), Message)


def test_an_update_tells_changed_properties_once() -> None:
    terms, known = Terms(audience(), 50), entry(told(properties={"aov": 6}))
    found = decide(known, "a", terms, now_ms=200)
    assert isinstance(found, Message)
    assert (found.action, found.properties) == ("updated", {"aov": 7})
    assert found.change_id != "c1"
    known.told = accepted(found, known, 210)
    assert decide(known, "a", terms, now_ms=220) is None


def test_the_reason_makes_a_message_quiet() -> None:
    terms = Terms(audience(reasons={"backfill": "quiet", "merge": "normal"}), 50)
    found = [
        decide(entry(reason=reason), "a", terms, now_ms=200) for reason in ("backfill", "merge", "event")
    ]
    assert [each.quiet for each in found if isinstance(each, Message)] == [True, False, False]


def test_a_membership_without_a_trace_ends_with_the_same_id_each_time() -> None:
    terms, known = Terms(audience(), 50), Entry({}, None, told())
    first, second = (decide(known, "a", terms, now_ms=at) for at in (200, 300))
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.action, first.reason, first.person) == ("exited", "erasure", Person("p"))
    assert first.change_id == second.change_id


def test_a_refused_message_waits_for_an_answer_or_another_change() -> None:
    terms, known = Terms(audience(), 50), entry()
    message = decide(known, "a", terms, now_ms=200)
    assert isinstance(message, Message)
    known.told = dead = refused(message, known, 210, why=DEAD, detail="unknown customer")
    assert decide(known, "a", terms, now_ms=220) is None
    assert decide(entry(dead, change_id="c3"), "a", terms, now_ms=220) is not None
    known.told = answered(dead, "drop")
    assert decide(known, "a", terms, now_ms=220) is None
    known.told = answered(dead, "retry")
    assert decide(known, "a", terms, now_ms=220) == message


def test_what_a_destination_has_lost_is_told_again_with_the_same_id() -> None:
    terms, known = Terms(audience(), 150), entry(told())
    assert decide(known, "a", terms, now_ms=200) is None
    known.told = answered(told(), "again")
    found = decide(known, "a", terms, now_ms=200)
    assert isinstance(found, Message)
    assert (found.action, found.change_id) == ("entered", "c1")
    assert answered(told(member=False), "again") == told(member=False)
    assert answered(told(), "drop") == told()


def test_the_profile_that_was_told_of_decides_while_it_is_a_member() -> None:
    known = entry(told())
    known.take("q", target(since_ms=10, change_id="q1", person=Person("q")))
    assert known.wanted is known.targets["p"]
    known.take("p", target(member=False, change_id="c2"))
    assert known.wanted is known.targets["q"]
    assert decide(known, "a", Terms(audience(), 50), now_ms=200) is None


def test_properties_are_named_by_their_paths() -> None:
    named = ["trait.address.city", "trait.first_name", "indicator.aov", "indicator.none", "trait.address.no"]
    traits = {"address": {"city": "Oslo"}, "first_name": "Ann"}
    found = properties_of(named, traits, {"aov": 7})
    assert found == {"address.city": "Oslo", "first_name": "Ann", "aov": 7}
