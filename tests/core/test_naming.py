"""The user id, anonymous id and e-mail of a profile: latest event time wins, null removes, merged or not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.schemas.state import decode_profile, encode_profile, packed

from .helpers import MONDAY as T
from .helpers import D, segments

ENGINE = Engine(segments(opened={"did": "Opened", "within": "1h"}))
NEW, OLD = {"email": "new@x"}, {"email": "old@x"}
REMOVED: dict[str, Any] = {"email_removed": True, "traits": {"email": None}}


def lived(profile_id: str, *parts: tuple[int, dict[str, Any]]) -> Profile:
    """A profile of events of these days, in the order of their arrival; stored between two of them."""
    profile = ENGINE.new_profile(profile_id)
    for number, (day, fields) in enumerate(parts):
        fields = {"traits": {"email": fields["email"]} if "email" in fields else None, **fields}
        event = Event("identify", T + day * D, f"{profile_id}{number}", {}, **fields)
        ENGINE.on_event(profile, event, clock_ms=T)
        profile = decode_profile(encode_profile(profile))
    return profile


def agrees(profile: Profile, email: str | None) -> None:
    """The change that comes next says this e-mail, and traits to go with it."""
    event = Event("Opened", T + 99 * D, "last", {})
    (change,) = ENGINE.on_event(profile, event, clock_ms=T).changes
    assert (change.email, msgspec.json.decode(change.traits_json).get("email")) == (email, email)


def test_a_late_identify_does_not_bring_an_old_address_back() -> None:
    agrees(lived("user_id:u", (2, NEW), (1, OLD)), "new@x")


def test_a_late_removal_does_not_take_a_newer_address_away() -> None:
    agrees(lived("user_id:u", (2, NEW), (1, REMOVED)), "new@x")


def test_a_removed_address_stays_removed() -> None:
    agrees(lived("user_id:u", (1, OLD), (2, REMOVED)), None)
    agrees(lived("user_id:u", (2, REMOVED), (1, OLD)), None)


def test_an_address_set_again_after_its_removal_is_back() -> None:
    agrees(lived("user_id:u", (1, OLD), (2, REMOVED), (3, NEW)), "new@x")


def test_an_address_repeated_later_is_the_latest() -> None:
    agrees(lived("user_id:u", (1, NEW), (3, NEW), (2, OLD)), "new@x")


def test_of_equal_times_the_one_that_arrives_last_counts() -> None:
    agrees(lived("user_id:u", (1, OLD), (1, NEW)), "new@x")
    agrees(lived("user_id:u", (1, NEW), (1, REMOVED)), None)


def test_a_late_event_does_not_bring_an_old_device_or_user_back() -> None:
    profile = lived("user_id:u1", (2, {"user_id": "u2", "anonymous_id": "a2"}))
    for late in ({"anonymous_id": "a1"}, {"user_id": "u1"}, {"user_id": "u1", "anonymous_id": "a1"}):
        ENGINE.on_event(profile, Event("page", T + D, str(late), {}, **late), clock_ms=T)
    assert (profile.user_id, profile.anonymous_id) == ("u2", "a2")


def test_an_event_that_names_no_device_takes_none_away() -> None:
    profile = lived("user_id:u", (1, {"user_id": "u", "anonymous_id": "a1"}), (2, {"user_id": "u"}))
    assert (profile.user_id, profile.anonymous_id, profile.email) == ("u", "a1", None)


MERGES = {
    "the loser's is newer": ([(1, OLD)], [(2, NEW)], "new@x"),
    "the survivor's is newer": ([(2, NEW)], [(1, OLD)], "new@x"),
    "the loser removed it later": ([(1, OLD)], [(2, REMOVED)], None),
    "the survivor removed it later": ([(2, REMOVED)], [(1, OLD)], None),
    "the loser removed another one before": ([(2, NEW)], [(0, OLD), (1, REMOVED)], "new@x"),
    "the survivor removed another one before": ([(0, OLD), (1, REMOVED)], [(2, NEW)], "new@x"),
    "only the loser has one": ([(1, {})], [(1, NEW)], "new@x"),
    "equal times: the survivor's": ([(1, NEW)], [(1, OLD)], "new@x"),
    "equal times: the survivor's removal": ([(1, REMOVED)], [(1, OLD)], None),
    "neither has one": ([(1, {})], [(2, {})], None),
}


@pytest.mark.parametrize("name", MERGES)
def test_an_address_after_a_merge(name: str) -> None:
    mine, theirs, email = MERGES[name]
    survivor, loser = lived("user_id:u", *mine), lived("anonymous_id:a", *theirs)
    ENGINE.on_merge(survivor, [loser], clock_ms=T + 9 * D)
    agrees(survivor, email)


def test_of_two_losers_the_latest_counts() -> None:
    survivor = lived("user_id:u", (1, OLD))
    losers = [lived("anonymous_id:a", (3, REMOVED)), lived("anonymous_id:b", (2, NEW))]
    ENGINE.on_merge(survivor, losers, clock_ms=T + 9 * D)
    agrees(survivor, None)


def test_after_an_alias_the_user_named_last_is_told() -> None:
    survivor = lived("user_id:u1", (1, {"user_id": "u1", "anonymous_id": "a1"}))
    loser = lived("user_id:u2", (2, {"user_id": "u2"}), (0, {"user_id": "u2", "anonymous_id": "a2"}))
    ENGINE.on_merge(survivor, [loser], clock_ms=T + 9 * D)
    assert (survivor.user_id, survivor.anonymous_id) == ("u2", "a1")


def stored_before(profile: Profile) -> Profile:
    """A profile as a version without these times had stored it, in the first format."""
    fields = msgspec.msgpack.decode(packed(profile))
    gone = Profile.__struct_fields__.index("user_ms")
    return decode_profile(b"\x01" + msgspec.msgpack.encode(fields[:gone]))


def test_what_was_stored_without_a_time_is_older_than_any_event() -> None:
    known = {"user_id": "u", "anonymous_id": "a1", **NEW}
    old = stored_before(lived("user_id:u", (2, known)))
    assert (old.user_id, old.anonymous_id, old.email) == ("u", "a1", "new@x")
    event = Event("page", -(10**12), "early", {}, anonymous_id="a0", email="x@x")
    ENGINE.on_event(old, event, clock_ms=T)
    assert (old.user_id, old.anonymous_id, old.email) == ("u", "a0", "x@x")


def test_what_was_stored_without_a_time_is_older_than_what_has_one_in_a_merge() -> None:
    old, new = stored_before(lived("user_id:u", (2, NEW))), lived("anonymous_id:a", (1, OLD))
    ENGINE.on_merge(old, [new], clock_ms=T + 9 * D)
    assert old.email == "old@x"
    old, new = lived("user_id:u", (1, REMOVED)), stored_before(lived("anonymous_id:a", (2, NEW)))
    ENGINE.on_merge(old, [new], clock_ms=T + 9 * D)
    assert old.email is None


def test_of_two_that_were_stored_without_a_time_the_survivor_s_is_kept_if_it_has_one() -> None:
    mine, theirs = (lived(f"anonymous_id:{n}", (n, {"email": f"e{n}@x"})) for n in (1, 2))
    mine, theirs = stored_before(mine), stored_before(theirs)
    ENGINE.on_merge(mine, [theirs], clock_ms=T + 9 * D)
    assert mine.email == "e1@x"
    mine, theirs = stored_before(lived("user_id:u", (1, {}))), stored_before(lived("email:e@x", (1, NEW)))
    ENGINE.on_merge(mine, [theirs], clock_ms=T + 9 * D)
    assert mine.email == "new@x"
