"""Iterable as a destination: forms, options, checks, previews, and the list that is read."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import DefinitionError, UserError
from segops.destinations.kinds import form_of
from segops.destinations.port import Adapter, DestinationRefuses, Person

from .adapters import SECRET, message, opened, run
from .iterable_server import KEY, IterableStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

WRITTEN = {"kind": "iterable", "key": SECRET}
BY_ID = WRITTEN | {"identify_by": "user_id"}
LIST, EVENT = {"list": 7}, {"event": "Entered win-back"}
BOTH = LIST | EVENT


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "neither a list nor an event"),
        ({"list": "../x"}, "expected the number of a list, got '../x'"),
        ({"list": "\u0663"}, "expected the number of a list"),
        ({"list": True}, "expected the number of a list, got True"),
        ({"list": -1}, "expected the number of a list, got -1"),
    ],
)
def test_options_are_validated(options: Any, reason: str) -> None:
    project = IterableStandIn(7)

    async def send(adapter: Adapter) -> None:
        await adapter.send([message(1, "ann")], options)

    with pytest.raises(DestinationRefuses, match=reason):
        run(project, WRITTEN, KEY, send)
    assert project.calls == []


def test_a_check_reads_the_lists() -> None:
    project = IterableStandIn(7, 8)
    project.types[8] = "Dynamic"

    async def check(adapter: Adapter) -> list[tuple[bool, str]]:
        options: list[Any] = [{}, LIST, {"list": "8"}, {"list": 9}, {"list": "x"}]
        return [(each.ok, each.text) for some in options for each in await adapter.check(some)]

    assert run(project, WRITTEN, KEY, check) == [
        (True, "the project: found"),
        (True, "the project: found"),
        (True, "the list 7: found"),
        (True, "the project: found"),
        (False, "the list 8: expected a static list, got type Dynamic"),
        (True, "the project: found"),
        (False, "the list 9 does not exist"),
        (False, "the project: list: expected the number of a list, got 'x'"),
    ]
    assert set(project.calls) == {"/api/lists"}
    ((ok, text),) = run(project, WRITTEN, "wrong-key", check)[:1]
    assert not ok and "status 401" in text


def test_the_addresses_in_a_list_can_be_read() -> None:
    project = IterableStandIn(7)

    async def read(adapter: Adapter) -> set[str]:
        await adapter.send([message(number, f"u{number}") for number in range(20)], LIST)
        found = adapter.members(LIST)
        assert found is not None and adapter.members(EVENT) is None
        return {each async for each in found}

    assert run(project, WRITTEN, KEY, read) == project.lists[7] != set()


def test_a_preview_sends_nothing() -> None:
    told = [message(1, "ann"), message(2, "ben", "exited"), message(3, "cid", quiet=True)]
    found = opened(WRITTEN | {"region": "eu"}, KEY).preview(told, BOTH)
    assert [each.url for each in found] == [
        "https://api.eu.iterable.com/api/lists/subscribe",
        "https://api.eu.iterable.com/api/lists/unsubscribe",
        "https://api.eu.iterable.com/api/events/trackBulk",
    ]
    assert len(found[2].body["events"]) == 1
    assert KEY not in repr(found)


def test_addresses_are_normalised() -> None:
    by_email, by_id = opened(WRITTEN, KEY), opened(BY_ID, KEY)
    assert by_email.address_of(Person("p", "u1", email=" Ann@Shop.example ")) == "ann@shop.example"
    assert by_id.address_of(Person("p", "U1 ", email="a@b.example")) == "U1"
    assert (
        by_email.address_of(Person("p", "u1")) is by_id.address_of(Person("p", email="a@b.example")) is None
    )


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"region": "mars"}, "region"),
        ({"url": "http://api.iterable.com"}, "url"),
        ({"url": "https://api.iterable.com/api"}, "url"),
        ({"identify_by": "phone"}, "identify_by"),
        ({"key": "abc"}, "key"),
    ],
)
def test_a_form_says_where_it_is_wrong(written: dict[str, Any], field: str) -> None:
    form = {"name": "i", "kind": "iterable", "key": {"env": "K"}}
    with pytest.raises(DefinitionError) as failed:
        form_of(form | written, "destinations.yaml", "destinations.0")
    assert f"destinations.0.{field}" in str(failed.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match="STAND_IN_SECRET is not set"):
        opened(WRITTEN, "")
