"""identified, has_identifier: through events, removals, merges, splits and erasures."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.messages import Erase
from segops.core.profile import Erasing
from segops.core.segments import SegmentSet
from segops.core.survey import Survey
from segops.core.views.explain import explain
from segops.testing import definition, segments

from .helpers import MONDAY as T
from .helpers import S, issues_of
from .network import Network
from .test_split import RetainingNetwork

RULES: dict[str, dict[str, Any]] = {
    "known": {"identified": True},
    "anonymous": {"identified": False},
    "mailable": {"has_identifier": "email"},
    "device": {"has_identifier": "device_id"},
    "visitor": {"all": [{"did": "A"}, {"not": {"has_identifier": ["user_id", "email"]}}]},
}


def named(**rules: dict[str, Any]) -> SegmentSet:
    return segments(**(rules or RULES))


def event(number: int, time_ms: int, **more: Any) -> Event:
    return Event("A", time_ms, f"m{number}", {}, **more)


def network(kind: type[Network] = Network) -> Any:
    return kind(named(), partitions=4, seed=1)


def members(network: Network, profile_id: str) -> set[str]:
    return set(network.profile(profile_id).members)


def published(network: Network, profile_id: str) -> list[tuple[str, str, str, int]]:
    return [
        (c.segment_key, c.action, c.reason, c.occurred_at)
        for (who, _), c in sorted(network.published.items())
        if who == profile_id
    ]


def test_visitor_and_user_differ() -> None:
    both = network()
    both.run([event(1, T, anonymous_id="vi"), event(2, T, user_id="us")])
    assert members(both, "anonymous_id:vi") == {"anonymous", "visitor"}
    assert members(both, "user_id:us") == {"known"}


def test_address_counts_from_its_event_until_null_removes_it() -> None:
    one = network()
    one.run([event(1, T, user_id="u"), event(2, T + S, user_id="u", email="a@b.c")])
    assert members(one, "user_id:u") == {"known", "mailable"}
    one.run([event(3, T + 2 * S, user_id="u", email_removed=True)])
    assert members(one, "user_id:u") == {"known"}
    assert published(one, "user_id:u")[1:] == [
        ("mailable", "entered", "event", T + S),
        ("mailable", "exited", "event", T + 2 * S),
    ]


def test_late_address_before_its_removal_changes_nothing() -> None:
    one = network()
    one.run([event(1, T, user_id="u", email_removed=True), event(2, T - S, user_id="u", email="a@b.c")])
    assert members(one, "user_id:u") == {"known"}


def test_merge_gives_the_survivor_the_identifiers_of_both() -> None:
    two = network()
    two.run([event(1, T, anonymous_id="a", email="a@b.c"), event(2, T, user_id="u")])
    assert members(two, "email:a@b.c") == {"anonymous", "mailable"}
    two.run([event(3, T + S, user_id="u", anonymous_id="a")])
    assert members(two, "user_id:u") == {"known", "mailable"}
    assert ("anonymous", "exited", "merge") in {each[:3] for each in published(two, "email:a@b.c")}


def test_device_counts_while_it_leads_to_the_profile() -> None:
    split = network(RetainingNetwork)
    split.run([event(1, T, others=("device_id:d",)), event(2, T, user_id="u")])
    assert members(split, "device_id:d") == {"anonymous", "device", "visitor"}
    split.run([event(3, T + S, user_id="u", others=("device_id:d",))])
    assert members(split, "user_id:u") == {"known", "device"}
    split.split("device_id:d")
    split.run()
    assert members(split, "user_id:u") == {"known"}
    assert members(split, "device_id:d") == {"anonymous", "device", "visitor"}
    assert ("device", "exited", "split") in {each[:3] for each in published(split, "user_id:u")}


def test_device_of_an_unknown_profile_is_claimed_with_its_event() -> None:
    one = network()
    one.run([event(1, T, user_id="u"), event(2, T + S, user_id="u", others=("device_id:d",))])
    assert ("device", "entered", "event", T + S) in published(one, "user_id:u")


def test_erased_customer_begins_again_without_identifiers() -> None:
    one = network()
    one.run([event(1, T, anonymous_id="a", email="a@b.c"), event(2, T, user_id="u", email="a@b.c")])
    assert members(one, "user_id:u") == {"known", "mailable"}
    one.send(-3, Erase("user_id:u", Erasing("r1")))
    one.run()
    one.run([event(3, T + S, user_id="u")])
    assert members(one, "user_id:u") == {"known"}


def test_new_rule_reads_what_is_kept() -> None:
    engine = Engine(named(known={"identified": True}))
    profile = engine.new_profile("user_id:u")
    engine.on_event(profile, event(1, T, user_id="u", email="a@b.c"), clock_ms=T)
    result = Engine(named()).on_definitions(profile, clock_ms=T)
    assert {(c.segment_key, c.reason) for c in result.changes} == {("mailable", "definition")}


def test_events_without_names_evaluate_nothing() -> None:
    found = named(known={"identified": True})
    engine, profile = Engine(found), Engine(found).new_profile("user_id:u")
    engine.on_event(profile, event(1, T, user_id="u"), clock_ms=T)
    touched: set[int] = set()
    engine._note_names(profile, event(2, T + 1, user_id="u"), touched)
    assert touched == set()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"identified": "yes"}, "when.identified: expected true or false, got 'yes'"),
        ({"has_identifier": []}, "when.has_identifier: expected a type or a non-empty list of types"),
        (
            {"has_identifier": ""},
            "when.has_identifier: expected a type of identifiers, such as email, got ''",
        ),
        ({"has_identifier": "email:x"}, "when.has_identifier: expected a type of identifiers"),
        ({"has_identifier": 5}, "when.has_identifier: expected a string, got 5"),
        ({"has_identifier": "email", "within": "1d"}, "when.within: unknown key"),
    ],
)
def test_mistakes_are_refused_with_the_reason(rule: dict[str, Any], message: str) -> None:
    found = issues_of(rule)
    assert any(issue.startswith(f"f: {message}") for issue in found), found


def test_layout_does_not_change_the_meaning() -> None:
    forms = ({"has_identifier": ["email", "device_id"]}, {"has_identifier": ["device_id", "email", "email"]})
    assert len({definition("s", form).identity for form in forms}) == 1
    assert (
        definition("s", {"identified": True}).identity
        == definition("s", {"has_identifier": "user_id"}).identity
    )


def test_check_of_events_names_types_that_no_event_has() -> None:
    survey = Survey([definition("s", {"has_identifier": ["email", "loyalty", "device_id"]})])
    survey.observe(event(1, T, user_id="u", email="a@b.c", others=("device_id:d",)))
    assert list(survey.paths_never_met()) == ["no event has an identifier of the type loyalty"]


def test_explanation_names_the_types_that_are_there() -> None:
    found = named(rule={"has_identifier": ["email", "user_id", "device_id"]})
    engine, profile = Engine(found), Engine(found).new_profile("device_id:d")
    engine.on_event(profile, event(1, T, user_id="u"), clock_ms=T)
    node = explain(found, profile, T).segments[0].rule
    assert (node.value, node.threshold, node.holds) == (
        "device_id, user_id",
        "device_id or email or user_id",
        True,
    )
    assert node.label == "has identifier device_id or email or user_id"
