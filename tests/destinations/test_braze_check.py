"""Braze as a destination: forms, options, checks and previews."""

from __future__ import annotations

import re
from typing import Any

import pytest

from segops.core.errors import DefinitionError, UserError
from segops.destinations.kinds import form_of
from segops.destinations.port import Adapter, DestinationRefuses, Message, Person

from .adapters import SECRET, message, opened, run
from .braze_server import KEY, BrazeStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

BY_ID = {"kind": "braze", "key": SECRET}
WRITTEN = BY_ID | {"identify_by": "email"}
URL = "https://rest.fra-01.braze.eu"
EVENT = {"event": "Entered win-back"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"event": ""}, "event: expected at most 255 characters"),
        ({"event": 7}, "event: expected at most 255 characters that begin with neither . nor _, got 7"),
        ({"event": "x" * 256}, "event: expected at most 255"),
        ({"attribute": "$in"}, "attribute: expected at most 255"),
        ({"attribute": "_update_existing_only"}, "attribute: expected at most 255"),
        ({"attribute": "email_subscribe"}, "email_subscribe is a field of Braze's own"),
        ({"attribute": "country"}, "country is a field of Braze's own"),
    ],
)
def test_options_are_validated(options: Any, reason: str) -> None:
    workspace = BrazeStandIn()

    async def send(adapter: Adapter) -> tuple[bool, str]:
        with pytest.raises(DestinationRefuses, match=reason):
            await adapter.send([message(1, "ann")], options)
        ((ok, text, _),) = await adapter.check(options)
        return ok, text

    ok, text = run(workspace, WRITTEN, KEY, send)
    assert not ok
    assert re.search(reason, text)
    assert workspace.calls == []


def test_a_check_tells_nothing_of_anyone() -> None:
    workspace = BrazeStandIn()

    async def check(adapter: Adapter) -> list[tuple[bool, str]]:
        return [(each.ok, each.text.partition(": ")[2]) for each in await adapter.check(EVENT)]

    assert run(workspace, WRITTEN, KEY, check) == [(True, "the key is accepted")]
    assert (workspace.users, workspace.events, workspace.sizes) == ({}, [], [0])
    ((ok, text),) = run(workspace, WRITTEN, "wrong-key", check)
    assert not ok and "status 401" in text and "wrong-key" not in text
    workspace.faults = ["500"]
    assert run(workspace, WRITTEN, KEY, check)[0][0] is False


def test_a_preview_sends_nothing() -> None:
    adapter = opened(WRITTEN | {"url": URL}, KEY)
    (found,) = adapter.preview([message(1, "ann"), message(2, "ben", "exited")], EVENT)
    assert (found.method, found.url) == ("POST", f"{URL}/users/track")
    assert [len(found.body[name]) for name in ("attributes", "events")] == [2, 1]
    assert KEY not in repr(found)
    assert adapter.preview([message(1, "ann", "updated")], EVENT) == adapter.preview([], EVENT) == []
    assert adapter.members(EVENT) is None


def test_addresses_are_normalised() -> None:
    by_email, by_id = opened(WRITTEN | {"url": URL}, KEY), opened(BY_ID | {"url": URL}, KEY)
    assert by_email.address_of(Person("p", "u1", email=" Ann@Shop.example ")) == "ann@shop.example"
    assert by_id.address_of(Person("p", "U1", email="a@b.example")) == "U1"
    assert by_email.address_of(Person("p", "u1")) is None
    assert by_id.address_of(Person("p", email="a@b.example")) is None


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"url": None}, "url"),
        ({"url": "http://rest.fra-01.braze.eu"}, "url"),
        ({"url": "https://rest.fra-01.braze.eu/users"}, "url"),
        ({"identify_by": "phone"}, "identify_by"),
        ({"key": "abc"}, "key"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
)
def test_a_form_says_where_it_is_wrong(written: dict[str, Any], field: str) -> None:
    form = {"name": "b", "kind": "braze", "key": {"env": "K"}, "url": URL}
    form_of(form, "destinations.yaml", "destinations.0")
    with pytest.raises(DefinitionError) as failed:
        form_of(form | written, "destinations.yaml", "destinations.0")
    assert f"destinations.0.{field}" in str(failed.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match="STAND_IN_SECRET is not set"):
        opened(WRITTEN | {"url": URL}, "")


def test_an_audience_is_not_named_like_a_field() -> None:
    told = message(1, "ann")
    named = Message("entered", "time-zone", told.address, told.person, "c1", 1, "time", 5)
    adapter = opened(WRITTEN | {"url": URL}, KEY)
    with pytest.raises(DestinationRefuses, match="time_zone is a field of Braze's own"):
        adapter.preview([named], {})
    assert adapter.preview([named], {"attribute": "in time zone"})
