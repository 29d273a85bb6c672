"""The view of a profile: identifiers with their origin, features, memberships."""

from __future__ import annotations

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.identity.protocol import Identity
from segops.core.views.profile import (
    EVENT,
    ITSELF,
    TAKEN_OVER,
    FeatureView,
    Identifier,
    MembershipView,
    view_profile,
)
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import Customer, segments

from .helpers import MONDAY as T
from .helpers import H, M
from .network import Network

SEGMENTS = segments(
    viewers={"did": "Viewed", "count": {"gte": 2}, "within": "2h"},
    spenders={"sum": "total", "of": "Bought", "is": {"gte": 10}},
    old={"known_for": "1h"},
)


def merged_network() -> Network:
    network = Network(SEGMENTS, partitions=4, seed=3)
    network.run([Event("Viewed", T, "m1", {}, anonymous_id="a1", email="a@x")])
    network.run([Event("Bought", T + M, "m2", {"total": 12.5}, user_id="u1", email="a@x")])
    network.run([Event("Viewed", T + 2 * M, "m3", {}, user_id="u1", anonymous_id="a2")])
    network.run([Event("Viewed", T + 3 * M, "line:4", {}, user_id="u1", others=("card:7",), named=False)])
    network.tick(T + 2 * H)
    network.run()
    return network


def test_identifiers_show_the_event_that_introduced_them() -> None:
    found = view_profile(SEGMENTS, merged_network().profile("user_id:u1"), T + 2 * H).identifiers
    assert {each.identifier: each for each in found} == {
        "user_id:u1": Identifier("user_id:u1", ITSELF, T, None),
        "email:a@x": Identifier("email:a@x", TAKEN_OVER, T + M, "m2"),
        "anonymous_id:a1": Identifier("anonymous_id:a1", EVENT, T, "m1"),
        "anonymous_id:a2": Identifier("anonymous_id:a2", EVENT, T + 2 * M, "m3"),
        "card:7": Identifier("card:7", EVENT, T + 3 * M, None),
    }


def test_merged_identifier_shows_the_event_that_caused_the_merge() -> None:
    network = Network(SEGMENTS, partitions=4, seed=3)
    network.run([Event("Viewed", T, "m1", {}, user_id="u1", anonymous_id="a1")])
    network.run([Event("Viewed", T + M, "m2", {}, email="b@x", anonymous_id="a1")])
    found = view_profile(SEGMENTS, network.profile("user_id:u1"), T + H).identifiers
    assert Identifier("email:b@x", TAKEN_OVER, T + M, "m2") in found
    assert Identifier("anonymous_id:a1", EVENT, T, "m1") in found


def test_features_show_the_values_that_rules_read_now() -> None:
    profile = merged_network().profile("user_id:u1")
    assert view_profile(SEGMENTS, profile, T + 2 * H).features == (
        FeatureView("count of Viewed within 2h", 2),
        FeatureView("sum of total over Bought", 12.5),
    )
    assert view_profile(SEGMENTS, profile, T + 5 * H).features[0].value == 0


def test_count_above_256_is_shown_as_a_number_of_events() -> None:
    found = segments(often={"did": "Viewed", "count": {"gte": 300}, "within": "2h"})
    engine = Engine(found)
    profile = engine.new_profile("user_id:u1")
    for number in range(2):
        engine.on_event(profile, Event("Viewed", T + number, f"m{number}", {}), clock_ms=T)
    assert view_profile(found, profile, T + M).features == (FeatureView("count of Viewed within 2h", 2),)


def test_memberships_show_their_start_cause_and_next_flip() -> None:
    found = view_profile(SEGMENTS, merged_network().profile("user_id:u1"), T + 2 * H).memberships
    assert found == (
        MembershipView("old", "old", 1, T + H, "time", None, None),
        MembershipView("spenders", "spenders", 1, T + M, "event", "m2", None),
        MembershipView("viewers", "viewers", 1, T + 2 * M, "event", "m3", T + 2 * M + 2 * H),
    )


def test_membership_that_neither_profile_had_is_caused_by_the_merge() -> None:
    network = Network(SEGMENTS, partitions=4, seed=3)
    network.run([Event("Viewed", T, "m1", {}, anonymous_id="a1")])
    network.run([Event("Viewed", T, "m2", {}, user_id="u1")])
    network.run([Event("Seen", T + M, "m3", {}, user_id="u1", anonymous_id="a1")])
    found = view_profile(SEGMENTS, network.profile("user_id:u1"), T + M).memberships
    assert found == (MembershipView("viewers", "viewers", 1, T + M, "merge", None, T + 2 * H),)


def test_membership_by_a_new_definition_or_an_unnamed_event_shows_its_cause() -> None:
    customer = Customer()
    identity = Identity(customer.engine)
    identity.on_event(customer.profile, Event("Viewed", T, "x", {}, named=False, user_id="u1"), clock_ms=T)
    customer.profile.members.clear()
    engine = Engine(SEGMENTS)
    engine.on_definitions(customer.profile, clock_ms=T + H)
    engine.on_event(customer.profile, Event("Bought", T + H, "y", {"total": 10}, named=False), clock_ms=T + H)
    found = view_profile(SEGMENTS, decode_profile(encode_profile(customer.profile)), T + H).memberships
    assert [(each.segment_key, each.reason) for each in found] == [
        ("old", "definition"),
        ("spenders", "event"),
    ]


def test_waiting_profile_shows_its_pending_claims() -> None:
    profile = Engine(SEGMENTS).new_profile("user_id:u1")
    event = Event("Viewed", T, "m1", {}, user_id="u1", anonymous_id="a1")
    Identity(Engine(SEGMENTS)).on_event(profile, event, clock_ms=T)
    found = view_profile(SEGMENTS, profile, T)
    assert (found.awaits, found.held, found.first_ms, found.latest_ms) == (
        ("anonymous_id:a1",),
        1,
        None,
        None,
    )
