"""HubSpot as a destination: forms, options, checks, previews, and the list that is read."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import DefinitionError, UserError
from segops.destinations.kinds import form_of
from segops.destinations.port import Adapter, DestinationRefuses, Person

from .adapters import SECRET, message, opened, run
from .hubspot_server import TOKEN, HubSpotStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

WRITTEN = {"kind": "hubspot", "token": SECRET}
LIST = {"list": 7}


def checked(account: HubSpotStandIn, options: Any, token: str = TOKEN) -> list[tuple[bool, str]]:
    async def check(adapter: Adapter) -> list[tuple[bool, str]]:
        return [(each.ok, each.text) for each in await adapter.check(options)]

    return run(account, WRITTEN, token, check)


def test_a_check_reads_the_account_the_scopes_and_the_list() -> None:
    account = HubSpotStandIn("7", "8")
    account.lists["8"]["processingType"] = "DYNAMIC"
    found = [(True, "the account: found"), (True, "the scopes: complete")]
    assert checked(account, {}) == found
    assert checked(account, LIST) == [*found, (True, "the list 7 was found")]
    assert checked(account, {"list": "8"})[-1] == (
        False,
        "the list 8 is kept by HubSpot: expected MANUAL or SNAPSHOT, got DYNAMIC",
    )
    assert checked(account, {"list": 9})[-1] == (False, "the list 9 does not exist")
    assert not any("batch" in call or "PUT" in call for call, _ in account.calls)


def test_a_check_names_missing_scopes() -> None:
    account = HubSpotStandIn("7")
    account.scopes -= {"crm.lists.write", "crm.objects.contacts.read"}
    text = "the token has no scope crm.lists.write, crm.objects.contacts.read"
    assert checked(account, {})[1] == (False, text)


def test_a_check_shows_no_token() -> None:
    ((ok, text),) = checked(HubSpotStandIn(), {}, "pat-wrong-0123")
    assert not ok
    assert "status 401" in text and "pat-wrong-0123" not in text


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "the audience names no list"),
        ({"list": "7/../8"}, "expected the id of a list, a number, got '7/../8'"),
        ({"list": "\u0663"}, "expected the id of a list"),
        ({"list": True}, "expected the id of a list, a number, got True"),
    ],
)
def test_options_are_validated(options: Any, reason: str) -> None:
    account = HubSpotStandIn("7")

    async def send(adapter: Adapter) -> None:
        await adapter.send([message(1, "ann")], options)

    with pytest.raises(DestinationRefuses, match=reason):
        run(account, WRITTEN, TOKEN, send)
    assert account.calls == []


@pytest.mark.parametrize("page", [250, 50])
def test_the_addresses_in_a_list_can_be_read(page: int) -> None:
    account = HubSpotStandIn("7")
    account.page = page
    for number in range(260):
        account.members["7"].add(account.add(f"u{number}@shop.example"))
    account.members["7"].add(account.add("Ann@shop.example", "a@shop.example"))
    account.members["7"].add(account.add(""))  # known by a phone number

    async def read(adapter: Adapter) -> list[str]:
        found = adapter.members(LIST)
        assert found is not None
        return [each async for each in found]

    every = [f"u{number}@shop.example" for number in range(260)] + ["ann@shop.example", "a@shop.example"]
    assert sorted(run(account, WRITTEN, TOKEN, read)) == sorted(every)
    assert account.refused == []


def test_a_list_that_is_gone_cannot_be_read() -> None:
    async def read(adapter: Adapter) -> list[str]:
        found = adapter.members(LIST)
        assert found is not None
        return [each async for each in found]

    with pytest.raises(DestinationRefuses, match="the list 7: status 404"):
        run(HubSpotStandIn(), WRITTEN, TOKEN, read)


def test_a_preview_sends_nothing() -> None:
    changes = [message(1, "ann", properties={"aov": 7}), message(2, "ben", "exited")]
    found = opened(WRITTEN, TOKEN).preview(changes, LIST)
    read, created = found
    assert read.url == "https://api.hubapi.com/crm/objects/2026-03/contacts/batch/read"
    assert [each["id"] for each in read.body["inputs"]] == ["ann@shop.example", "ben@shop.example"]
    assert created.url == "https://api.hubapi.com/crm/objects/2026-03/contacts/batch/upsert"
    assert [(each["id"], each["properties"]) for each in created.body["inputs"]] == [
        ("ann@shop.example", {"aov": "7"})
    ]
    assert len(opened(WRITTEN | {"create": False}, TOKEN).preview(changes, LIST)) == 1
    assert TOKEN not in repr(found)
    assert opened(WRITTEN, TOKEN).preview([], LIST) == []


def test_addresses_are_normalised() -> None:
    adapter = opened(WRITTEN, TOKEN)
    assert adapter.address_of(Person("p", "u1", email=" Ann@Shop.example ")) == "ann@shop.example"
    assert adapter.address_of(Person("p", "u1")) is None


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"url": "http://api.hubapi.com"}, "url"),
        ({"per_10_s": 5}, "per_10_s"),
        ({"create": "yes"}, "create"),
        ({"token": "pat-1"}, "token"),
    ],
)
def test_a_form_says_where_it_is_wrong(written: dict[str, Any], field: str) -> None:
    form = {"name": "h", "kind": "hubspot", "token": {"env": "T"}}
    with pytest.raises(DefinitionError) as failed:
        form_of(form | written, "destinations.yaml", "destinations.0")
    assert f"destinations.0.{field}" in str(failed.value)


def test_a_missing_token_is_named() -> None:
    with pytest.raises(UserError, match="STAND_IN_SECRET is not set"):
        opened(WRITTEN, "")
