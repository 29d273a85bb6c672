"""Static lists: listings through merges, splits and erasures; the swap of versions; the expiry."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.activity import activity_of
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.identity.erasure import is_erased
from segops.core.identity.protocol import Identity
from segops.core.messages import Erase, Listing
from segops.core.profile import Erasing, Profile
from segops.core.rules import model
from segops.core.rules.model import ListInForce, OnList
from segops.core.segments import Definition, SegmentSet
from segops.core.static_lists import MAX_VERSIONS, bind, note_listing
from segops.core.views.explain import explain
from segops.core.views.profile import view_profile
from segops.schemas.state import decode_profile, encode_profile
from segops.schemas.static_lists import bound
from segops.testing import Customer, Flip, segments

from .helpers import MONDAY as T
from .helpers import S, issues_of
from .network import Network
from .test_split import RetainingNetwork

VIP: dict[str, Any] = {"list": "vip"}
USER = "user_id:u"


def in_force(version: int = 1, expires_ms: int | None = None, **rules: dict[str, Any]) -> SegmentSet:
    """Return segments, by default ``on`` the list and ``off`` it, with a version of the list in force."""
    written = rules or {"on": VIP, "off": {"not": VIP}}
    return SegmentSet(bound(segments(**written).definitions, {"vip": ListInForce(version, expires_ms)}))


def event(number: int, time_ms: int = T, **more: Any) -> Event:
    return Event("A", time_ms, f"m{number}", {}, **more)


def network(kind: type[Network] = Network, **options: Any) -> Any:
    return kind(in_force(), partitions=4, seed=1, **options)


def members(network: Network, profile_id: str) -> set[str]:
    return set(network.profile(profile_id).members)


def test_listing_of_an_unknown_identifier_waits_for_the_first_event() -> None:
    one = network()
    one.send(-1, Listing(USER, "vip", 1))
    one.run()
    stored = one.profile(USER)
    assert stored.lists == {"vip": [1]}
    assert (stored.first_ms, activity_of(stored), stored.members, one.published) == (None, None, {}, {})
    one.run([event(1, user_id="u")])
    assert members(one, USER) == {"on"}
    assert [(c.reason, c.event_id) for c in one.published.values()] == [("event", "m1")]


def test_listing_is_no_event() -> None:
    rules = {"old": {"known_for": "1s"}, "any": {"did": "any_event", "count": {"gte": 2}}, "on": VIP}
    identity = Identity(Engine(in_force(**rules)))
    profile = identity.engine.new_profile(USER)
    identity.on_event(profile, event(1, user_id="u"), clock_ms=T)
    before = encode_profile(profile)
    result = identity.on_message(profile, Listing(USER, "other", 1), clock_ms=T + 500)
    assert (result.changes, result.moved) == ((), True)
    profile.lists = {}
    assert encode_profile(profile) == before


def test_repeated_listing_changes_nothing() -> None:
    identity = Identity(Engine(in_force()))
    profile = identity.engine.new_profile(USER)
    for moved in (True, False):
        assert identity.on_message(profile, Listing(USER, "vip", 2, 1), clock_ms=T).moved is moved
    assert profile.lists == {"vip": [2]}


def test_late_listing_of_the_version_in_force_is_evaluated_at_once() -> None:
    one = network()
    one.run([event(1, user_id="u")])
    one.send(-1, Listing(USER, "vip", 1))
    one.run()
    assert members(one, USER) == {"on"}
    assert [c.reason for c in one.published.values()] == ["event", "definition", "definition"]


@pytest.mark.parametrize("first", [True, False], ids=["before the merge", "after it"])
def test_listing_of_a_merged_identifier_reaches_the_survivor(first: bool) -> None:
    one = network()
    listing, both = Listing("anonymous_id:a", "vip", 1), event(2, T + S, anonymous_id="a", user_id="u")
    one.run([event(1, anonymous_id="a")])
    if first:
        one.send(-1, listing)
        one.run()
    one.run([both])
    if not first:
        one.send(-1, listing)
        one.run()
    assert one.root("anonymous_id:a") == USER
    assert members(one, USER) == {"on"}


def test_identifier_without_events_brings_its_lists_into_a_merge() -> None:
    one = network()
    one.send(-1, Listing("email:a@b.c", "vip", 1))
    one.run()
    one.run([event(1, user_id="u", email="a@b.c")])
    assert members(one, USER) == {"on"}
    assert one.profile(USER).first_ms == T


def test_split_gives_back_the_lists_from_before_the_merge() -> None:
    one = network(RetainingNetwork)
    one.run([event(1, anonymous_id="a"), event(2, user_id="u")])
    one.send(-1, Listing("anonymous_id:a", "vip", 1))
    one.run()
    one.run([event(3, T + S, anonymous_id="a", user_id="u")])
    assert members(one, USER) == {"on"}
    one.split("anonymous_id:a")
    one.run()
    assert one.root("anonymous_id:a") == "anonymous_id:a"
    assert members(one, "anonymous_id:a") == {"on"}
    assert one.profile(USER).lists == {"vip": [1]}


def test_erasure_deletes_listings_even_of_an_identifier_without_events() -> None:
    identity = Identity(Engine(in_force()))
    profile = identity.engine.new_profile(USER)
    identity.on_message(profile, Listing(USER, "vip", 1), clock_ms=T)
    erased = identity.on_message(profile, Erase(USER, Erasing("r")), clock_ms=T).erased
    assert [each.found for each in erased] == ["profile"]
    assert profile.lists == {}
    assert is_erased(profile)
    identity.on_message(profile, Listing(USER, "vip", 2), clock_ms=T)
    assert not is_erased(profile), "it is stored again"
    identity.on_timer(profile, clock_ms=T)
    assert profile.due_ms is None


@given(st.integers(0, 10**6))
def test_any_order_of_listings_and_merges_ends_on_the_list(seed: int) -> None:
    one = Network(in_force(), partitions=3, seed=seed, fault_rate=0.05)
    for identifier in ("email:e@x.y", "anonymous_id:a"):
        one.send(-1, Listing(identifier, "vip", 1))
    found = [event(1, anonymous_id="a"), event(2, user_id="u", email="e@x.y"), event(3, user_id="u")]
    one.run([*found, event(4, T + S, anonymous_id="a", user_id="u")])
    assert members(one, USER) == {"on"}


# -- versions -------------------------------------------------------------------------------------------


def test_swap_moves_only_those_who_are_on_one_version() -> None:
    engine = Engine(in_force(1))
    customers = {name: engine.new_profile(f"user_id:{name}") for name in ("both", "old", "new", "none")}
    for name, versions in {"both": [1, 2], "old": [1], "new": [2]}.items():
        customers[name].lists = {"vip": versions}
    for number, profile in enumerate(customers.values()):
        engine.on_event(profile, event(number), clock_ms=T)
    later = Engine(SegmentSet(in_force(2).definitions, engine.segments))
    changes = {
        name: [(c.segment_key, c.action, c.reason, c.occurred_at) for c in result.changes]
        for name, profile in customers.items()
        if (result := later.on_definitions(profile, clock_ms=T + S))
    }
    reason, at = "definition", T + S
    assert changes == {
        "both": [],
        "old": [("off", "entered", reason, at), ("on", "exited", reason, at)],
        "new": [("off", "exited", reason, at), ("on", "entered", reason, at)],
        "none": [],
    }


def test_another_version_compiles_only_the_segments_that_read_the_list() -> None:
    first = in_force(1, on=VIP, other={"did": "A"})
    second = SegmentSet(bound(first.definitions, {"vip": ListInForce(2)}), first)
    assert second.changed_since == {first.version: frozenset({"on"})}
    assert [each.version for each in second.definitions] == [1, 1]


def test_expiry_ends_the_membership_at_its_millisecond() -> None:
    ann = Customer(T, on=VIP, off={"not": VIP})
    assert ann.upload("vip", expires_ms=T + 5 * S) == []
    assert ann.did("A", T) == [Flip("entered", "on", T)]
    assert ann.profile.flips == {"on": T + 5 * S, "off": T + 5 * S}
    assert ann.wait(T + 5 * S - 1) == []
    assert ann.wait(T + 9 * S) == [Flip("entered", "off", T + 5 * S), Flip("exited", "on", T + 5 * S)]


def test_next_upload_takes_a_customer_off_the_list() -> None:
    ann = Customer(T, on=VIP)
    ann.did("A", T)
    assert ann.upload("vip") == [Flip("entered", "on", T)]
    assert ann.upload("vip") == []
    assert ann.upload("vip", names=False) == [Flip("exited", "on", T)]
    ann.adopt(again=VIP)
    assert ann.upload("vip") == [Flip("entered", "again", T)]


def test_list_that_is_not_uploaded_names_no_one() -> None:
    engine = Engine(segments(on=VIP, off={"not": VIP}))
    profile = engine.new_profile(USER)
    profile.lists = {"vip": [1, 2]}
    engine.on_event(profile, event(1), clock_ms=T)
    assert set(profile.members) == {"off"}


def test_versions_out_of_use_are_dropped_and_uncompleted_ones_are_bounded() -> None:
    profile = Profile(USER)
    for version in range(1, 100):
        note_listing(profile, "vip", version, 1)
    assert profile.lists["vip"] == [1, *range(101 - MAX_VERSIONS, 100)]
    note_listing(profile, "vip", 100, 98)
    assert profile.lists["vip"] == [98, 99, 100]


def test_version_in_force_in_the_partition_stays_although_a_later_one_is_published() -> None:
    identity = Identity(Engine(in_force(1)))
    profile = identity.engine.new_profile(USER)
    profile.lists = {"vip": [1, 2]}
    identity.on_event(profile, event(1, user_id="u"), clock_ms=T)
    identity.on_message(profile, Listing(USER, "vip", 3, 2), clock_ms=T)
    assert profile.lists == {"vip": [1, 2, 3]}
    assert set(profile.members) == {"on"}


def test_listings_survive_storage() -> None:
    stored = decode_profile(encode_profile(Profile(USER, lists={"vip": [1, 7]})))
    assert stored.lists == {"vip": [1, 7]}


def test_binding_changes_only_rules_that_name_a_list() -> None:
    lists = {"vip": ListInForce(2, 5)}
    plain = model.All((model.KnownFor(1), model.Not(model.InSegment("vip"))))
    assert bind(plain, lists) is plain
    nested = model.AtLeast(1, (model.Not(OnList("vip")), model.Any((OnList("other", 7),))))
    assert bind(nested, lists) == model.AtLeast(
        1, (model.Not(OnList("vip", 2, 5)), model.Any((OnList("other"),)))
    )
    definition = Definition("a", "A", plain)
    assert bound([definition], lists)[0] is definition


def test_explanation_says_which_version_counts_and_until_when() -> None:
    engine = Engine(in_force(3, T + S, on=VIP))
    on, off = engine.new_profile(USER), engine.new_profile(USER)
    on.lists = {"vip": [2, 3]}
    seen = []
    for profile in (on, off):
        engine.on_event(profile, event(1), clock_ms=T)
        rule = explain(engine.segments, profile, T).segments[0].rule
        seen.append((rule.label, rule.holds, rule.value, rule.threshold, rule.changes_at))
    until = "version 3 until 2025-10-13T00:00:01.000Z"
    assert seen == [
        ("on list vip", True, f"on {until}", until, T + S),
        ("on list vip", False, f"not on {until}", until, None),
    ]


def test_profile_shows_the_lists_whose_version_in_force_names_it() -> None:
    known = segments(on={"any": [{"list": key} for key in ("a", "b", "c")]})
    read = SegmentSet(bound(known.definitions, {"a": ListInForce(1), "b": ListInForce(2)}))
    profile = Profile(USER, lists={"a": [1], "b": [1], "c": [1], "unread": [1]})
    assert view_profile(read, profile, T).lists == ("a",)


@pytest.mark.parametrize("key", ["", "Vip", "a b", 7, None, ["vip"], "-a", "a" * 65])
def test_list_needs_a_key(key: object) -> None:
    expected = "expected the key of a list (lower-case letters, digits and -)"
    assert issues_of({"list": key}) == [f"f: when.list: {expected}, got {key!r}"]


def test_keys_beside_a_list_are_refused() -> None:
    assert issues_of({"list": "vip", "within": "1d"}) == ["f: when.within: unknown key; expected one of list"]
