"""Reported cases of identity resolution and published identifiers, from input lines to changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.identifying import DEFAULT, IdentityLimits
from segops.testing import at, segments

from .core.helpers import D, H, M

T = at("2026-03-01T10:00:00Z")
OPENED = {"did": "Opened", "within": "1h"}
BUYER = {"did": "Order Completed"}
VIEWS = {"did": "Product Viewed", "count": {"gte": 2}}


def changes(
    rule: dict[str, Any], *events: tuple[int, dict[str, Any]], until_ms: int = 0, limits: Any = DEFAULT
) -> list[tuple[Any, ...]]:
    """Return action, profile, user id, anonymous id, e-mail and traits of each change."""
    replay = Replay(segments(rule=rule), wall_ms=10**14, limits=limits)
    found = []
    for number, (time_ms, form) in enumerate(events):
        line = {"timestamp": format_instant(time_ms), "messageId": f"m{number}", **form}
        found += replay.feed(json.dumps(line).encode(), default_id="")
    found += replay.advance(until_ms)
    return [
        (c.action, c.profile_id, c.user_id, c.anonymous_id, c.email, json.loads(c.traits_json)) for c in found
    ]


def identify(email: str | None, **ids: str) -> dict[str, Any]:
    return {"type": "identify", "traits": {"email": email}, **ids}


def track(event: str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, **more}


def test_company_address_merges_no_profiles() -> None:
    office = {"name": "Acme", "email": "office@acme.example"}
    found = changes(
        BUYER,
        (T, {"type": "group", "userId": "emp-1", "groupId": "acme", "traits": office}),
        (T + H, identify("office@acme.example", anonymousId="visitor-7")),
        (T + H + M, track("Order Completed", anonymousId="visitor-7")),
    )
    traits = {"email": "office@acme.example"}
    assert found == [
        ("entered", "email:office@acme.example", None, "visitor-7", "office@acme.example", traits)
    ]


def test_group_call_does_not_remove_a_member_s_address() -> None:
    found = changes(
        OPENED,
        (T, identify("ann@x.y", userId="ann")),
        (T + H, {"type": "group", "userId": "ann", "groupId": "acme", "traits": {"email": None, "size": 9}}),
        (T + D, track("Opened", userId="ann")),
    )
    assert found == [("entered", "user_id:ann", "ann", None, "ann@x.y", {"email": "ann@x.y"})]


def account(collection: Any) -> dict[str, Any]:
    entry = {"id": "acc-77", "type": "account_id", "collection": collection, "encoding": "none"}
    return {"context": {"externalIds": [entry]}}


@pytest.mark.parametrize(
    ("collection", "merged"), [("accounts", 0), ("groups", 0), (7, 0), ("users", 1), (None, 1)]
)
def test_shared_account_id_merges_no_profiles(collection: Any, merged: int) -> None:
    found = changes(
        VIEWS,
        (T, track("Product Viewed", anonymousId="q-1", **account(collection))),
        (T + M, track("Product Viewed", anonymousId="q-2", **account(collection))),
    )
    assert len(found) == merged


def test_late_identify_does_not_restore_an_old_address() -> None:
    found = changes(
        OPENED,
        (T + D, identify("new@mail.example", userId="eh")),
        (T, identify("old@mail.example", userId="eh")),
        (T + 2 * D, track("Opened", userId="eh")),
        until_ms=T + 3 * D,
    )
    says = ("user_id:eh", "eh", None, "new@mail.example", {"email": "new@mail.example"})
    assert found == [("entered", *says), ("exited", *says)]


def test_removed_address_is_in_no_later_change() -> None:
    found = changes(
        OPENED,
        (T, identify("gone@mail.example", userId="ei")),
        (T + D, identify(None, userId="ei")),
        (T + 2 * D, track("Opened", userId="ei")),
        until_ms=T + 3 * D,
    )
    says = ("user_id:ei", "ei", None, None, {})
    assert found == [("entered", *says), ("exited", *says)]


def test_address_removed_in_context_is_in_no_later_change() -> None:
    found = changes(
        OPENED,
        (T, identify("gone@mail.example", userId="ei")),
        (T + D, track("Opened", userId="ei", context={"traits": {"email": None}})),
    )
    assert found == [("entered", "user_id:ei", "ei", None, None, {})]


def test_late_identify_does_not_restore_an_old_device() -> None:
    found = changes(
        OPENED,
        (T + D, identify("ann@x.y", userId="ann", anonymousId="phone")),
        (T, identify("ann@x.y", userId="ann", anonymousId="laptop")),
        (T + 2 * D, track("Opened", userId="ann")),
    )
    assert found == [("entered", "user_id:ann", "ann", "phone", "ann@x.y", {"email": "ann@x.y"})]


MERGED: dict[str, tuple[list[tuple[int, dict[str, Any]]], str | None]] = {
    "removed by the device, later": (
        [(T, identify("a@x.y", userId="ann")), (T + H, identify(None, anonymousId="d"))],
        None,
    ),
    "removed by the device, before": (
        [(T, identify(None, anonymousId="d")), (T + H, identify("a@x.y", userId="ann"))],
        "a@x.y",
    ),
    "removed by the user later, arrived first": (
        [(T + H, identify(None, userId="ann")), (T, track("Product Viewed", anonymousId="d"))],
        None,
    ),
}


@pytest.mark.parametrize("name", MERGED)
def test_address_removed_on_one_side_of_a_merge(name: str) -> None:
    events, email = MERGED[name]
    known = track("Opened", userId="ann", anonymousId="d")
    found = changes(OPENED, *events, (T + D, known))
    assert found == [("entered", "user_id:ann", "ann", "d", email, {"email": email} if email else {})]


def test_latest_address_of_both_users_wins_after_an_alias() -> None:
    found = changes(
        OPENED,
        (T + H, identify("new@x.y", userId="b")),
        (T, identify("old@x.y", userId="a")),
        (T + 2 * H, {"type": "alias", "userId": "b", "previousId": "a"}),
        (T + D, track("Opened", anonymousId="d", userId="a")),
    )
    assert found == [("entered", "user_id:b", "a", "d", "new@x.y", {"email": "new@x.y"})]


def test_address_in_properties_identifies_only_if_configured_as_a_source() -> None:
    gift = track("Order Completed", userId="ann", properties={"email": "friend@x.y"})
    friend = identify("friend@x.y", anonymousId="d")
    assert changes(BUYER, (T, gift), (T + H, friend)) == [("entered", "user_id:ann", "ann", None, None, {})]
    limits = IdentityLimits(email_sources=("traits", "context.traits", "properties"))
    (first, *_) = changes(BUYER, (T, gift), (T + H, friend), limits=limits)
    assert first == ("entered", "user_id:ann", "ann", None, "friend@x.y", {})
