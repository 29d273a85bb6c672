"""Which values of an event name its person: e-mail sources, group calls, external ids."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.events import Event
from segops.schemas.events import decode, route
from segops.schemas.identifying import DEFAULT, IdentityLimits

EVERYWHERE = IdentityLimits(email_sources=("traits", "context.traits", "properties"))


def line(**fields: Any) -> bytes:
    form = {"type": "track", "event": "A", "anonymousId": "a1", "timestamp": "2026-01-01", **fields}
    return msgspec.json.encode(form)


def read(limits: IdentityLimits = DEFAULT, **fields: Any) -> Event:
    return decode(line(**fields), time_ms=5, default_id="d", limits=limits)


def profile_of(limits: IdentityLimits = DEFAULT, **fields: Any) -> str:
    """Route an event and check that its profile is that of its first identifier."""
    routed = route(line(**fields), now_ms=10**14, default_time_ms=None, limits=limits)
    assert limits.rules.identifiers_of(read(limits, **fields))[0] == routed.profile_id
    return routed.profile_id


def context(**traits: Any) -> dict[str, Any]:
    return {"traits": traits}


# -- group calls -----------------------------------------------------------------------------------

_OFFICE = {"name": "Acme", "email": "office@acme.example"}


@pytest.mark.parametrize("kind", ["group", "Group", " GROUP "])
def test_group_traits_neither_identify_nor_describe_the_person(kind: str) -> None:
    fields = {"type": kind, "groupId": "acme", "traits": _OFFICE}
    assert profile_of(**fields) == "anonymous_id:a1"
    event = read(**fields)
    assert (event.email, event.email_removed, event.traits) == (None, False, None)
    assert event.properties == {**_OFFICE, "groupId": "acme"}


@pytest.mark.parametrize("email", [None, "", 5, []])
def test_group_call_without_email_does_not_clear_the_email(email: Any) -> None:
    assert not read(type="group", traits={"email": email}).email_removed


def test_group_call_applies_context_traits() -> None:
    fields = {"type": "group", "traits": _OFFICE, "context": context(email="Ann@x.y", city="Ulm")}
    assert profile_of(**fields) == "email:ann@x.y"
    assert read(**fields).traits == {"email": "Ann@x.y", "city": "Ulm"}


def test_group_call_reads_email_from_properties_if_configured() -> None:
    fields = {"type": "group", "traits": _OFFICE, "properties": {"email": "ann@x.y"}}
    assert profile_of(EVERYWHERE, **fields) == "email:ann@x.y"
    assert profile_of(**fields) == "anonymous_id:a1"


@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "alias"])
def test_traits_of_other_calls_identify_and_describe_the_person(kind: str) -> None:
    fields = {"type": kind, "traits": {"email": "ann@x.y"}, "context": context(email="old@x.y", city="Ulm")}
    assert profile_of(**fields) == "email:ann@x.y"
    assert read(**fields).traits == {"email": "ann@x.y", "city": "Ulm"}


# -- e-mail ----------------------------------------------------------------------------------------

T, C, P = ({"email": f"{name}@x.y"} for name in "tcp")


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ("traits,context.traits", "t@x.y"),
        ("context.traits,properties", "c@x.y"),
        ("properties", "p@x.y"),
        ("traits,properties", "t@x.y"),
    ],
)
def test_email_sources_are_read_in_order(sources: str, found: str) -> None:
    limits = IdentityLimits(email_sources=tuple(sources.split(",")))
    fields = {"traits": T, "context": {"traits": C}, "properties": P}
    assert profile_of(limits, **fields) == f"email:{found}"
    assert read(limits, **fields).email == found


def test_email_property_identifies_only_if_configured() -> None:
    assert profile_of(properties=P) == "anonymous_id:a1"
    assert (read(properties=P).email, read(properties=P).properties) == (None, P)
    assert profile_of(EVERYWHERE, properties=P) == "email:p@x.y"
    assert profile_of(IdentityLimits(email_sources=()), traits=T, properties=P) == "anonymous_id:a1"


@pytest.mark.parametrize("nothing", [None, "", "  ", "null", "Anonymous", "0", 5, True, [], {}, ["a@x.y"]])
@pytest.mark.parametrize("section", ["traits", "context", "properties"])
def test_blocked_email_clears_the_former_one(section: str, nothing: Any) -> None:
    fields: dict[str, Any] = {section: {"email": nothing}}
    if section == "context":
        fields = {section: context(email=nothing)}
    event = read(EVERYWHERE, **fields)
    assert (event.email, event.email_removed) == (None, True)
    assert profile_of(EVERYWHERE, **fields) == "anonymous_id:a1"


@pytest.mark.parametrize("nothing", [None, "", 5])
def test_empty_email_trait_overrides_context_email(nothing: Any) -> None:
    fields = {"type": "identify", "traits": {"email": nothing}, "context": context(email="old@x.y")}
    event = read(**fields)
    assert (event.email, event.email_removed) == (None, True)
    assert event.traits == {"email": nothing}
    assert profile_of(**fields) == "anonymous_id:a1"


def test_event_without_email_keeps_the_former_one() -> None:
    for fields in ({}, {"traits": {}}, {"context": {}}, {"traits": {"Email": "a@x.y"}}, {"properties": P}):
        event = read(**fields)
        assert (event.email, event.email_removed) == (None, False)


# -- external ids ----------------------------------------------------------------------------------


def external(**entry: Any) -> tuple[str, ...]:
    entry = {"id": "7", "type": "card", **entry}
    return read(context={"externalIds": [entry]}).others


@pytest.mark.parametrize("collection", ["users", "Users", " users ", None, ""])
def test_external_ids_of_users_count(collection: Any) -> None:
    assert external(collection=collection) == ("card:7",)
    assert external() == ("card:7",)


@pytest.mark.parametrize(
    "collection", ["accounts", "groups", "user", "users,accounts", 1, True, ["users"], {}]
)
def test_external_ids_of_other_collections_do_not_count(collection: Any) -> None:
    assert external(collection=collection) == ()
    fields = {"context": {"externalIds": [{"id": "7", "type": "card", "collection": collection}]}}
    assert profile_of(**fields) == "anonymous_id:a1"


def test_account_ids_are_skipped_beside_user_ids() -> None:
    entries = [
        {"id": "acc-77", "type": "account_id", "collection": "accounts"},
        {"id": "ann", "type": "loyalty", "collection": "users"},
        {"id": "office@acme.example", "type": "email", "collection": "accounts"},
        {"id": "Ann@x.y", "type": "email"},
    ]
    assert read(context={"externalIds": entries}).others == ("loyalty:ann", "email:ann@x.y")
