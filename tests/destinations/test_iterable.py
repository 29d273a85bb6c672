"""Iterable as a destination: its lists equal the members after any faults, and no limit is exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.destinations.iterable import api
from segops.destinations.port import (
    Accepted,
    Adapter,
    DestinationAway,
    DestinationRefuses,
    Later,
    Message,
    Outcome,
    Refused,
)
from tests.rest import examples

from .adapters import SECRET, message, opened, run, tell
from .iterable_server import FAULTS, KEY, RATES, IterableStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

WRITTEN = {"kind": "iterable", "key": SECRET}
BY_ID = WRITTEN | {"identify_by": "user_id"}
LIST, EVENT = {"list": 7}, {"event": "Entered win-back"}
BOTH = LIST | EVENT


def sent(
    project: IterableStandIn,
    messages: Sequence[Message],
    options: Any = LIST,
    *,
    written: Any = WRITTEN,
    key: str = KEY,
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(project, written, key, send)


def test_members_are_added_to_the_list_and_removed_from_it() -> None:
    project = IterableStandIn(7, 8)
    both = [message(1, "ann", properties={"aov": 7, "name.first": "Ann"}), message(2, "ben")]
    assert sent(project, both) == [Accepted()] * 2
    assert project.users == {
        "ann@shop.example": {"aov": 7, "name_first": "Ann"},
        "ben@shop.example": {},
    }
    leaving = [message(3, "ann", "exited"), message(4, "stranger", "exited")]
    assert sent(project, leaving) == [Accepted()] * 2
    assert project.lists == {7: {"ben@shop.example"}, 8: set()}
    assert (project.events, project.refused) == ({}, [])


def test_people_are_known_by_user_id_where_the_project_does() -> None:
    project = IterableStandIn(7)
    entered = message(1, "ann", address="Ann 7", properties={"aov": 7})
    assert sent(project, [entered], BOTH, written=BY_ID) == [Accepted()]
    assert project.lists[7] == {"Ann 7"}
    assert project.events["c1"]["userId"] == "Ann 7"

    async def read(adapter: Adapter) -> list[str]:
        found = adapter.members(LIST)
        assert found is not None
        return [each async for each in found]

    assert run(project, BY_ID, KEY, read) == ["Ann 7"]
    assert project.queries[-1] == {"listId": "7", "preferUserId": "true"}
    assert sent(project, [message(2, "ann", "exited", address="Ann 7")], written=BY_ID) == [Accepted()]
    assert project.lists[7] == set()


def test_an_entry_is_an_event_once_unless_it_is_quiet() -> None:
    project = IterableStandIn()
    told = [
        message(1, "ann", properties={"aov": 7, "reason": "mine"}),
        message(2, "ben", quiet=True),
        message(3, "cid", "exited"),
        message(4, "dan", "updated", properties={"aov": 8}),
    ]
    assert sent(project, told, EVENT) == [Accepted()] * 4
    assert sent(project, told, EVENT) == [Accepted()] * 4
    assert project.events == {
        "c1": {
            "email": "ann@shop.example",
            "eventName": "Entered win-back",
            "id": "c1",
            "createdAt": 5,
            "dataFields": {
                "aov": 7,
                "audience": "winback",
                "reason": "time",
                "since": "1970-01-01T00:00:00.005Z",
                "until": "1970-01-01T00:00:00.009Z",
            },
        }
    }
    assert project.users["ann@shop.example"] == {"aov": 7, "reason": "mine"}
    assert project.users["dan@shop.example"] == {"aov": 8}


def test_an_update_changes_data_and_adds_no_one_again() -> None:
    project = IterableStandIn(7)
    sent(project, [message(1, "ann")], BOTH)
    project.lists[7].clear()  # as a person did in Iterable
    update = message(2, "ann", "updated", properties={"aov": 8})
    assert sent(project, [update, message(3, "ben", "updated")], BOTH) == [Accepted()] * 2
    assert (project.users, project.lists[7]) == ({"ann@shop.example": {"aov": 8}}, set())
    assert set(project.events) == {"c1"}


def test_consent_and_addresses_are_never_written() -> None:
    project = IterableStandIn(7)
    properties = {"email": "x@shop.example", "unsubscribedChannelIds": [], "aov": 7}
    assert sent(project, [message(1, "ann", properties=properties)], BOTH) == [Accepted()]
    assert sent(project, [message(2, "ann", "updated", properties={"email": "x"})]) == [Accepted()]
    assert project.users == {"ann@shop.example": {"aov": 7}}
    assert "/api/users/bulkUpdate" not in project.calls
    assert project.refused == []


@pytest.mark.parametrize("name", ["forgottenEmails", "invalidDataEmails", "invalidEmails", ""])
def test_a_user_that_is_refused_does_not_hold_up_the_others(name: str) -> None:
    project = IterableStandIn(7)
    project.broken["ben@shop.example"] = name
    found = sent(project, [message(n, each) for n, each in enumerate(("ann", "ben", "cid"))], BOTH)
    assert [type(each) for each in found] == [Accepted, Refused, Accepted]
    assert isinstance(found[1], Refused)
    assert found[1].reason == name if name else "failCount" in found[1].reason
    assert project.lists[7] == {"ann@shop.example", "cid@shop.example"}
    assert set(project.events) == {"c0", "c2"}


def test_a_user_for_whom_all_are_refused_does_not_hold_up_the_others() -> None:
    project = IterableStandIn(7)
    project.broken["cid@shop.example"] = "whole"
    found = sent(project, [message(n, each) for n, each in enumerate(("ann", "ben", "cid", "dan"))])
    assert [type(each) for each in found] == [Accepted, Accepted, Refused, Accepted]
    assert project.lists[7] == {"ann@shop.example", "ben@shop.example", "dan@shop.example"}


def test_users_who_failed_without_a_name_are_found() -> None:
    project = IterableStandIn(7)
    project.faults = ["", "unnamed"]
    assert (
        sent(project, [message(n, each) for n, each in enumerate(("ann", "ben", "cid"))]) == [Accepted()] * 3
    )
    assert len(project.lists[7]) == 3
    project.broken = {"ann@shop.example": "conflictEmails", "ben@shop.example": ""}
    found = sent(project, [message(n, each) for n, each in enumerate(("ann", "ben", "cid"), 3)])
    assert found[0] == Refused("conflictEmails")
    assert [type(each) for each in found] == [Refused, Refused, Accepted]


def test_a_user_who_failed_without_a_cause_is_tried_again() -> None:
    project = IterableStandIn(7)
    project.faults = ["", "half"]
    found = sent(project, [message(1, "ann"), message(2, "ben")], BOTH)
    assert found == [Later("failedEmails", 60.0), Accepted()]
    assert project.lists[7] == {"ben@shop.example"}
    assert set(project.events) == {"c2"}


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("notFoundEmails", Accepted), ("forgottenEmails", Accepted), ("conflictEmails", Refused)],
)
def test_a_user_who_is_not_there_has_left(name: str, outcome: type[Outcome]) -> None:
    project = IterableStandIn(7)
    project.broken["ann@shop.example"] = name
    assert type(*sent(project, [message(1, "ann", "exited")])) is outcome
    assert isinstance(*sent(project, [message(1, "ann")]), Refused)


@pytest.mark.parametrize("action", ["entered", "exited"])
def test_a_list_that_is_gone_stops_the_delivery(action: Any) -> None:
    project = IterableStandIn(7)

    async def send(adapter: Adapter) -> None:
        assert await adapter.send([message(1, "ann")], LIST) == [Accepted()]
        del project.lists[7], project.types[7]
        with pytest.raises(DestinationRefuses, match="the list 7 does not exist"):
            await adapter.send([message(2, "ann", action)], LIST)

    run(project, WRITTEN, KEY, send)
    with pytest.raises(DestinationRefuses, match="the list 7 does not exist"):
        sent(project, [message(3, "ann", action)])


@pytest.mark.parametrize("kind", ["Suppression", "Dynamic", "Internal"])
def test_no_one_is_added_to_a_list_of_another_type(kind: str) -> None:
    project = IterableStandIn(7)
    project.types[7] = kind
    with pytest.raises(DestinationRefuses, match=f"the list 7: expected a static list, got type {kind}"):
        sent(project, [message(1, "ann")])
    assert project.calls == ["/api/lists"]


def test_a_list_is_looked_up_once() -> None:
    project = IterableStandIn(7)

    async def send(adapter: Adapter) -> None:
        for number in range(3):
            await adapter.send([message(number, "ann")], LIST)

    run(project, WRITTEN, KEY, send)
    assert project.calls.count("/api/lists") == 1


def test_an_event_that_the_project_does_not_take_stops_the_delivery() -> None:
    project = IterableStandIn()
    project.disallowed = {"Entered win-back"}
    with pytest.raises(DestinationRefuses, match="does not take the event Entered win-back"):
        sent(project, [message(1, "ann")], EVENT)


def test_a_wrong_key_stops_the_delivery_and_is_not_shown() -> None:
    project = IterableStandIn(7)
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(project, [message(1, "ann")], key="wrong-key-0123")
    assert "wrong-key-0123" not in str(failed.value)
    assert "[secret]" in str(failed.value)


def test_a_project_under_pressure_says_for_how_long() -> None:
    project = IterableStandIn(7)
    project.faults, project.retry_after = ["", "429"], "7"
    with pytest.raises(DestinationAway, match="status 429") as failed:
        sent(project, [message(1, "ann")])
    assert failed.value.retry_after_s == 7
    assert project.calls == ["/api/lists", "/api/lists/subscribe"]


def test_rates_are_kept() -> None:
    project = IterableStandIn(7)

    async def send(adapter: Adapter) -> None:
        await asyncio.gather(*(adapter.send([message(n, f"u{n}")], BOTH) for n in range(30)))

    run(project, WRITTEN, KEY, send)
    assert len(project.lists[7]) == 30
    assert project.refused == []
    assert {each.path: (each.rate.burst, each.rate.steady) for each in api.ENDPOINTS} == RATES


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_batch_fits_into_a_request() -> None:
    project, adapter = IterableStandIn(7), opened(WRITTEN, KEY)
    size = adapter.batch.bytes // adapter.batch.messages - 500
    messages = [
        message(number, f"u{number}", properties={"text": "x" * size})
        for number in range(adapter.batch.messages)
    ]
    assert set(sent(project, messages, BOTH)) == {Accepted()}
    assert project.calls == ["/api/lists", "/api/lists/subscribe", "/api/events/trackBulk"]


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(st.lists(CHANGES, max_size=5), st.lists(st.sampled_from(FAULTS), max_size=8))
def test_after_any_faults_the_list_is_the_members(
    plan: list[list[tuple[str, str]]], faults: list[str]
) -> None:
    project = IterableStandIn(7, 8)
    project.faults = list(faults)

    async def told(adapter: Adapter) -> set[str]:
        ids, number = set[str](), 0
        for wave in plan:
            messages = []
            for name, change in dict(wave).items():
                number += 1
                action, quiet = ("entered", True) if change == "quiet" else (change, False)
                messages.append(message(number, name, action, quiet=quiet, properties={"n": number}))
                ids |= {f"c{number}"} if change == "entered" else set()
            await tell(adapter, messages, BOTH)
        return ids

    ids = run(project, WRITTEN, KEY, told)
    members: dict[str, bool] = {}
    for name, change in (each for wave in plan for each in dict(wave).items()):
        members[name] = members.get(name, False) if change == "updated" else change != "exited"
    assert project.lists == {
        7: {f"{name}@shop.example" for name, inside in members.items() if inside},
        8: set(),
    }
    assert set(project.events) == ids
    assert project.refused == []
