"""Customer.io as a destination: forms, options, checks, previews, and the segment that is read."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import DefinitionError, UserError
from segops.destinations.kinds import form_of
from segops.destinations.port import Adapter, DestinationRefuses, Person

from .adapters import SECRET, message, opened, run
from .customerio_server import APP_KEY, KEY, SITE, CustomerIoStandIn, no_pauses
from .rate_scale import short_seconds

__all__ = ["no_pauses", "short_seconds"]

APP_VARIABLE = "STAND_IN_APP_KEY"
BY_ID = {"kind": "customerio", "site_id": SITE, "key": SECRET}
BLIND = BY_ID | {"identify_by": "email"}
WRITTEN = BLIND | {"app_key": {"env": APP_VARIABLE}}
SEGMENT, EVENT = {"segment": 7}, {"event": "Entered win-back"}
BOTH = SEGMENT | EVENT


@pytest.fixture(autouse=True)
def app_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(APP_VARIABLE, APP_KEY)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "neither a segment nor an event"),
        ({"segment": "../x"}, "expected the number of a segment, got '../x'"),
        ({"segment": "\u0663"}, "expected the number of a segment"),
        ({"segment": True}, "expected the number of a segment, got True"),
        ({"segment": -1}, "expected the number of a segment, got -1"),
        ({"event": " "}, "expected the name of an event, got ' '"),
        ({"event": 7}, "expected the name of an event, got 7"),
    ],
)
def test_options_are_validated(options: Any, reason: str) -> None:
    workspace = CustomerIoStandIn(7)

    async def send(adapter: Adapter) -> None:
        with pytest.raises(DestinationRefuses, match=reason):
            await adapter.send([message(1, "ann")], options)
        if options:
            ((ok, text, _),) = await adapter.check(options)
            assert not ok and reason in text

    run(workspace, WRITTEN, KEY, send)
    assert workspace.calls == []


def test_a_check_reads_the_region_and_the_segments() -> None:
    workspace = CustomerIoStandIn(7, 8)
    workspace.types[8] = "dynamic"

    async def check(adapter: Adapter) -> list[tuple[bool, str]]:
        options: list[Any] = [{}, EVENT, SEGMENT, {"segment": "8"}, {"segment": 9}]
        return [(each.ok, each.text) for some in options for each in (await adapter.check(some))[1:]]

    assert run(workspace, WRITTEN, KEY, check) == [
        (True, "the segments: found"),
        (True, "the segments: found"),
        (True, "the segment 7: found"),
        (False, "the segment 8: expected a manual one, got type dynamic"),
        (False, "the segment 9 does not exist"),
    ]
    assert run(workspace, BLIND, KEY, check) == [
        (True, f"the segment {number}: not read without app_key") for number in (7, 8, 9)
    ]
    assert set(workspace.calls) == {"GET /api/v1/accounts/region", "GET /v1/segments"}


def test_a_check_finds_wrong_keys_and_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = CustomerIoStandIn(region="eu")

    async def check(adapter: Adapter) -> list[tuple[bool, str]]:
        return [(each.ok, each.text) for each in await adapter.check(EVENT)]

    assert run(workspace, BLIND | {"region": "eu"}, KEY, check) == [(True, "the workspace: found")]
    assert run(workspace, BLIND, KEY, check) == [(False, "the workspace is in the region eu, not us")]
    ((ok, text),) = run(workspace, BLIND, "wrong-key", check)
    assert not ok and "status 401" in text and "wrong-key" not in text
    monkeypatch.setenv(APP_VARIABLE, "wrong-app-key")
    ((ok, text),) = run(workspace, WRITTEN | {"region": "eu"}, KEY, check)
    assert not ok and "status 401" in text and "wrong-app-key" not in text


def test_the_addresses_in_a_segment_can_be_read() -> None:
    workspace = CustomerIoStandIn(7)
    workspace.page = 8

    async def read(adapter: Adapter) -> set[str]:
        await adapter.send([message(number, f"u{number}") for number in range(20)], SEGMENT)
        workspace.segments[7] |= {"known by id alone", "Zed@Shop.example"}
        found = adapter.members(SEGMENT)
        assert found is not None and adapter.members(EVENT) is None
        return {each async for each in found}

    found = run(workspace, WRITTEN, KEY, read)
    assert found == {f"u{number}@shop.example" for number in range(20)} | {"zed@shop.example"}
    assert opened(BLIND, KEY).members(SEGMENT) is None


def test_a_preview_sends_nothing() -> None:
    told = [message(1, "ann"), message(2, "ben", "exited"), message(3, "cid", quiet=True)]
    found = opened(WRITTEN | {"region": "eu"}, KEY).preview(told, BOTH)
    assert [each.url for each in found] == [
        "https://track-eu.customer.io/api/v2/batch",
        "https://track-eu.customer.io/api/v1/segments/7/add_customers?id_type=email",
        "https://track-eu.customer.io/api/v1/segments/7/remove_customers?id_type=email",
        "https://track-eu.customer.io/api/v2/batch",
    ]
    assert [len(each.body.get("batch", each.body.get("ids"))) for each in found] == [2, 2, 1, 1]
    assert KEY not in repr(found) and APP_KEY not in repr(found)
    assert opened(WRITTEN, KEY).preview(told, EVENT)[0].url == "https://track.customer.io/api/v2/batch"


def test_addresses_are_normalised() -> None:
    by_email, by_id = opened(BLIND, KEY), opened(BY_ID, KEY)
    assert by_email.address_of(Person("p", "u1", email=" Ann@Shop.example ")) == "ann@shop.example"
    assert by_id.address_of(Person("p", "U1", email="a@b.example")) == "U1"
    assert by_email.address_of(Person("p", "u1")) is None
    assert by_id.address_of(Person("p", email="a@b.example")) is None


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"region": "mars"}, "region"),
        ({"url": "http://track.customer.io"}, "url"),
        ({"url": "https://track.customer.io/api"}, "url"),
        ({"identify_by": "phone"}, "identify_by"),
        ({"site_id": "a:b"}, "site_id"),
        ({"key": "abc"}, "key"),
        ({"app_key": "abc"}, "app_key"),
    ],
)
def test_a_form_says_where_it_is_wrong(written: dict[str, Any], field: str) -> None:
    form = {"name": "c", "kind": "customerio", "site_id": SITE, "key": {"env": "K"}}
    form_of(form, "destinations.yaml", "destinations.0")
    with pytest.raises(DefinitionError) as failed:
        form_of(form | written, "destinations.yaml", "destinations.0")
    assert f"destinations.0.{field}" in str(failed.value)


def test_missing_keys_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="STAND_IN_SECRET is not set"):
        opened(BLIND, "")
    monkeypatch.delenv(APP_VARIABLE)
    with pytest.raises(UserError, match="STAND_IN_APP_KEY is not set"):
        opened(WRITTEN, KEY)
