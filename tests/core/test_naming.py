"""User id, anonymous id and e-mail of a profile: latest event time wins, null removes, merged or not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.schemas.state import decode_profile, encode_profile, packed
from segops.testing import segments

from .helpers import MONDAY as T
from .helpers import D

ENGINE = Engine(segments(opened={"did": "Opened", "within": "1h"}))
NEW, OLD = {"email": "new@x"}, {"email": "old@x"}
REMOVED: dict[str, Any] = {"email_removed": True, "traits": {"email": None}}


def replayed(profile_id: str, *events: tuple[int, dict[str, Any]]) -> Profile:
    """Return a profile after events of these days, in order of arrival, stored after each."""
    profile = ENGINE.new_profile(profile_id)
    for number, (day, fields) in enumerate(events):
        fields = {"traits": {"email": fields["email"]} if "email" in fields else None, **fields}
        event = Event("identify", T + day * D, f"{profile_id}{number}", {}, **fields)
        ENGINE.on_event(profile, event, clock_ms=T)
        profile = decode_profile(encode_profile(profile))
    return profile


def assert_published(profile: Profile, email: str | None) -> None:
    """Assert that the next change carries this e-mail and the matching traits."""
    event = Event("Opened", T + 99 * D, "last", {})
    (change,) = ENGINE.on_event(profile, event, clock_ms=T).changes
    assert (change.email, msgspec.json.decode(change.traits_json).get("email")) == (email, email)


def test_late_identify_does_not_restore_an_old_address() -> None:
    assert_published(replayed("user_id:u", (2, NEW), (1, OLD)), "new@x")


def test_late_removal_does_not_remove_a_newer_address() -> None:
    assert_published(replayed("user_id:u", (2, NEW), (1, REMOVED)), "new@x")


def test_removed_address_stays_removed() -> None:
    assert_published(replayed("user_id:u", (1, OLD), (2, REMOVED)), None)
    assert_published(replayed("user_id:u", (2, REMOVED), (1, OLD)), None)


def test_removed_address_can_be_set_again() -> None:
    assert_published(replayed("user_id:u", (1, OLD), (2, REMOVED), (3, NEW)), "new@x")


def test_repeated_address_takes_the_later_time() -> None:
    assert_published(replayed("user_id:u", (1, NEW), (3, NEW), (2, OLD)), "new@x")


def test_last_arrival_breaks_ties() -> None:
    assert_published(replayed("user_id:u", (1, OLD), (1, NEW)), "new@x")
    assert_published(replayed("user_id:u", (1, NEW), (1, REMOVED)), None)


def test_late_event_does_not_restore_an_old_device_or_user() -> None:
    profile = replayed("user_id:u1", (2, {"user_id": "u2", "anonymous_id": "a2"}))
    for late in ({"anonymous_id": "a1"}, {"user_id": "u1"}, {"user_id": "u1", "anonymous_id": "a1"}):
        ENGINE.on_event(profile, Event("page", T + D, str(late), {}, **late), clock_ms=T)
    assert (profile.user_id, profile.anonymous_id) == ("u2", "a2")


def test_event_without_a_device_removes_none() -> None:
    profile = replayed("user_id:u", (1, {"user_id": "u", "anonymous_id": "a1"}), (2, {"user_id": "u"}))
    assert (profile.user_id, profile.anonymous_id, profile.email) == ("u", "a1", None)


MERGES = {
    "the source's is newer": ([(1, OLD)], [(2, NEW)], "new@x"),
    "the survivor's is newer": ([(2, NEW)], [(1, OLD)], "new@x"),
    "the source removed it later": ([(1, OLD)], [(2, REMOVED)], None),
    "the survivor removed it later": ([(2, REMOVED)], [(1, OLD)], None),
    "the source removed another one earlier": ([(2, NEW)], [(0, OLD), (1, REMOVED)], "new@x"),
    "the survivor removed another one before": ([(0, OLD), (1, REMOVED)], [(2, NEW)], "new@x"),
    "only the source has one": ([(1, {})], [(1, NEW)], "new@x"),
    "equal times: the survivor's": ([(1, NEW)], [(1, OLD)], "new@x"),
    "equal times: the survivor's removal": ([(1, REMOVED)], [(1, OLD)], None),
    "neither has one": ([(1, {})], [(2, {})], None),
}


@pytest.mark.parametrize("name", MERGES)
def test_address_after_a_merge(name: str) -> None:
    mine, theirs, email = MERGES[name]
    survivor, source = replayed("user_id:u", *mine), replayed("anonymous_id:a", *theirs)
    ENGINE.on_merge(survivor, [source], clock_ms=T + 9 * D)
    assert_published(survivor, email)


def test_latest_of_two_sources_wins() -> None:
    survivor = replayed("user_id:u", (1, OLD))
    sources = [replayed("anonymous_id:a", (3, REMOVED)), replayed("anonymous_id:b", (2, NEW))]
    ENGINE.on_merge(survivor, sources, clock_ms=T + 9 * D)
    assert_published(survivor, None)


def test_latest_user_id_is_published_after_an_alias() -> None:
    survivor = replayed("user_id:u1", (1, {"user_id": "u1", "anonymous_id": "a1"}))
    source = replayed("user_id:u2", (2, {"user_id": "u2"}), (0, {"user_id": "u2", "anonymous_id": "a2"}))
    ENGINE.on_merge(survivor, [source], clock_ms=T + 9 * D)
    assert (survivor.user_id, survivor.anonymous_id) == ("u2", "a1")


def stored_before(profile: Profile) -> Profile:
    """Return a profile as a version without these times stored it, in the first format."""
    fields = msgspec.msgpack.decode(packed(profile))
    gone = Profile.__struct_fields__.index("user_ms")
    return decode_profile(b"\x01" + msgspec.msgpack.encode(fields[:gone]))


def test_value_stored_without_a_time_is_older_than_any_event() -> None:
    known = {"user_id": "u", "anonymous_id": "a1", **NEW}
    old = stored_before(replayed("user_id:u", (2, known)))
    assert (old.user_id, old.anonymous_id, old.email) == ("u", "a1", "new@x")
    event = Event("page", -(10**12), "early", {}, anonymous_id="a0", email="x@x")
    ENGINE.on_event(old, event, clock_ms=T)
    assert (old.user_id, old.anonymous_id, old.email) == ("u", "a0", "x@x")


def test_value_stored_without_a_time_is_older_in_a_merge() -> None:
    old, new = stored_before(replayed("user_id:u", (2, NEW))), replayed("anonymous_id:a", (1, OLD))
    ENGINE.on_merge(old, [new], clock_ms=T + 9 * D)
    assert old.email == "old@x"
    old, new = replayed("user_id:u", (1, REMOVED)), stored_before(replayed("anonymous_id:a", (2, NEW)))
    ENGINE.on_merge(old, [new], clock_ms=T + 9 * D)
    assert old.email is None


def test_survivor_wins_between_values_without_times() -> None:
    mine, theirs = (replayed(f"anonymous_id:{n}", (n, {"email": f"e{n}@x"})) for n in (1, 2))
    mine, theirs = stored_before(mine), stored_before(theirs)
    ENGINE.on_merge(mine, [theirs], clock_ms=T + 9 * D)
    assert mine.email == "e1@x"
    mine, theirs = (
        stored_before(replayed("user_id:u", (1, {}))),
        stored_before(replayed("email:e@x", (1, NEW))),
    )
    ENGINE.on_merge(mine, [theirs], clock_ms=T + 9 * D)
    assert mine.email == "new@x"
