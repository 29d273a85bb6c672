"""Braze as a destination: attributes say who is a member after any faults, and no limit is exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.destinations.braze import adapter as braze
from segops.destinations.kinds import form_of
from segops.destinations.port import (
    Accepted,
    Adapter,
    DestinationAway,
    DestinationRefuses,
    Message,
    Outcome,
    Person,
    Refused,
)
from tests.rest import examples

from .adapters import SECRET, message, opened, run, tell
from .braze_server import FAULTS, KEY, RATE, BrazeStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

BY_EMAIL = {"kind": "braze", "key": SECRET, "identify_by": "email"}
BY_ID = {"kind": "braze", "key": SECRET}
EVENT = {"event": "Entered win-back"}


def sent(
    workspace: BrazeStandIn,
    messages: Sequence[Message],
    options: Any = EVENT,
    *,
    written: Any = BY_EMAIL,
    key: str = KEY,
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(workspace, written, key, send)


def test_an_entry_is_an_attribute_and_an_event() -> None:
    workspace = BrazeStandIn()
    properties = {"aov": 7, "first_name": "Ann", "reason": "mine"}
    assert sent(workspace, [message(1, "ann", properties=properties)]) == [Accepted()]
    assert workspace.users == {"ann@shop.example": {**properties, "audience_winback": True}}
    (event,) = workspace.events
    assert event == {
        "email": "ann@shop.example",
        "name": "Entered win-back",
        "time": "1970-01-01T00:00:05.999Z",
        "properties": {
            "aov": 7,
            "first_name": "Ann",
            "audience": "winback",
            "reason": "time",
            "change_id": "c1",
            "since": "1970-01-01T00:00:00.005Z",
            "until": "1970-01-01T00:00:00.009Z",
        },
    }


def test_exits_updates_and_quiet_entries_are_attributes_alone() -> None:
    workspace = BrazeStandIn()
    sent(workspace, [message(1, "ann"), message(2, "ben", quiet=True)], {})
    leaving = [message(3, "ann", "exited"), message(4, "stranger", "exited")]
    assert (
        sent(workspace, [*leaving, message(5, "ben", "updated", properties={"aov": 8})]) == [Accepted()] * 3
    )
    assert workspace.users == {
        "ann@shop.example": {"audience_winback": False},
        "ben@shop.example": {"audience_winback": True, "aov": 8},
    }
    assert workspace.events == []


def test_an_attribute_can_have_another_name() -> None:
    workspace = BrazeStandIn()
    sent(workspace, [message(1, "ann")], {"attribute": "vip"})
    assert workspace.users == {"ann@shop.example": {"vip": True}}


def test_people_are_known_by_user_id_unless_by_email() -> None:
    ann = Person("p", " Ann 7 ", email=" Ann@Shop.example ")
    assert opened({**BY_ID, "url": "http://localhost"}, KEY).address_of(ann) == "Ann 7"
    assert opened({**BY_EMAIL, "url": "http://localhost"}, KEY).address_of(ann) == "ann@shop.example"
    none = Person("p")
    assert opened({**BY_ID, "url": "http://localhost"}, KEY).address_of(none) is None
    assert opened({**BY_EMAIL, "url": "http://localhost"}, KEY).address_of(none) is None
    workspace = BrazeStandIn()
    sent(workspace, [message(1, "ann", address="Ann 7")], written=BY_ID)
    assert (list(workspace.users), workspace.events[0]["external_id"]) == (["Ann 7"], "Ann 7")


def test_consent_and_ids_are_never_written() -> None:
    workspace = BrazeStandIn()
    properties = {
        "email_subscribe": "opted_in",
        "phone": "+1",
        "_update_existing_only": False,
        "$x": 1,
        "aov": 7,
    }
    assert sent(workspace, [message(1, "ann", properties=properties)]) == [Accepted()]
    assert workspace.users == {"ann@shop.example": {"aov": 7, "audience_winback": True}}
    assert workspace.refused == []


def test_a_user_that_is_refused_does_not_hold_up_the_others() -> None:
    workspace = BrazeStandIn()
    workspace.broken["ben@shop.example"] = "'external_id' is too long"
    found = sent(workspace, [message(n, each) for n, each in enumerate(("ann", "ben", "cid"))])
    assert found == [Accepted(), Refused("'external_id' is too long"), Accepted()]
    assert set(workspace.users) == {"ann@shop.example", "cid@shop.example"}
    assert len(workspace.requests) == 1


def test_an_error_of_an_event_is_its_messages() -> None:
    workspace = BrazeStandIn()
    workspace.broken["cid@shop.example"] = "bad"
    told = [message(1, "ann", quiet=True), message(2, "ben"), message(3, "cid")]
    assert sent(workspace, told) == [Accepted(), Accepted(), Refused("bad")]


@pytest.mark.parametrize("how", ["whole", "unnamed"])
def test_a_user_who_is_not_named_is_found(how: str) -> None:
    workspace = BrazeStandIn()
    workspace.broken["cid@shop.example"] = how
    found = sent(workspace, [message(n, each) for n, each in enumerate(("ann", "ben", "cid", "dan"))])
    assert [type(each) for each in found] == [Accepted, Accepted, Refused, Accepted]
    assert set(workspace.users) == {"ann@shop.example", "ben@shop.example", "dan@shop.example"}


def test_a_wrong_key_stops_the_delivery_and_is_not_shown() -> None:
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(BrazeStandIn(), [message(1, "ann")], key="wrong-key-0123")
    assert "wrong-key-0123" not in str(failed.value) and "[secret]" in str(failed.value)


def test_a_workspace_under_pressure_says_until_when() -> None:
    workspace = BrazeStandIn()
    workspace.faults, workspace.reset_in_s = ["429"], 60
    with pytest.raises(DestinationAway, match="status 429") as failed:
        sent(workspace, [message(1, "ann")])
    assert 57 < failed.value.retry_after_s <= 60


def test_an_answer_that_is_no_json_is_not_an_acceptance() -> None:
    workspace = BrazeStandIn()
    workspace._track = lambda body, fault: (201, [])  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(DestinationAway, match="expected JSON"):
        sent(workspace, [message(1, "ann")])


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_batch_fits_into_a_request_and_rates_are_kept() -> None:
    workspace = BrazeStandIn()

    async def send(adapter: Adapter) -> None:
        most = adapter.batch.messages
        text = "x" * (adapter.batch.bytes // most - 500)
        await adapter.send([message(n, f"u{n}", properties={"t": text}) for n in range(most)], EVENT)
        await asyncio.gather(*(adapter.send([message(n, f"v{n}")], {}) for n in range(300)))

    run(workspace, BY_EMAIL, KEY, send)
    assert len(workspace.users) == 337 and workspace.refused == []
    assert braze.RATE.burst == RATE


def test_options_and_forms_are_validated() -> None:
    for options, reason in (
        ({"event": ""}, "event: expected 1 to 255"),
        ({"attribute": 7}, "attribute: exp"),
    ):
        with pytest.raises(DestinationRefuses, match=reason):
            sent(BrazeStandIn(), [message(1, "ann")], options)
    for wrong in ({}, {"url": "http://braze.example"}, {"url": "https://braze.example/x"}):
        with pytest.raises(DefinitionError, match="url"):
            form_of({"name": "d", **BY_ID, **wrong}, "d.yaml", "destinations[0]")


def test_a_check_tells_a_known_key_from_an_unknown_one() -> None:
    workspace = BrazeStandIn()

    async def check(adapter: Adapter) -> list[tuple[bool, str]]:
        return [(each.ok, each.text) for each in await adapter.check(EVENT)]

    assert run(workspace, BY_ID, KEY, check) == [(True, "the workspace: the key is known")]
    ((ok, text),) = run(workspace, BY_ID, "wrong", check)
    assert not ok and "status 401" in text
    assert (workspace.users, workspace.requests) == ({}, [])
    workspace.faults = ["404"]
    assert run(workspace, BY_ID, KEY, check) == [(False, "the workspace: status 404 not here")]


def test_a_preview_is_what_is_sent() -> None:
    workspace = BrazeStandIn()
    messages = [message(1, "ann"), message(2, "ben", "exited")]

    async def both(adapter: Adapter) -> Any:
        (request,) = adapter.preview(messages, EVENT)
        await adapter.send(messages, EVENT)
        return request.body

    assert run(workspace, BY_EMAIL, KEY, both) == workspace.requests[0]


def test_who_has_an_attribute_cannot_be_read() -> None:
    assert opened({**BY_ID, "url": "http://localhost"}, KEY).members({}) is None


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(st.lists(CHANGES, max_size=5), st.lists(st.sampled_from(FAULTS), max_size=8))
def test_after_any_faults_the_attributes_are_the_members(
    plan: list[list[tuple[str, str]]], faults: list[str]
) -> None:
    workspace = BrazeStandIn()
    workspace.faults = list(faults)

    async def told(adapter: Adapter) -> set[str]:
        ids, number = set[str](), 0
        for wave in plan:
            messages = []
            for name, change in dict(wave).items():
                number += 1
                action, quiet = ("entered", True) if change == "quiet" else (change, False)
                messages.append(message(number, name, action, quiet=quiet, properties={"n": number}))
                ids |= {f"c{number}"} if change == "entered" else set()
            if messages:
                await tell(adapter, messages, EVENT)
        return ids

    ids = run(workspace, BY_EMAIL, KEY, told)
    expected: dict[str, bool] = {}
    for wave in plan:
        for name, change in dict(wave).items():
            if change != "exited" or name in expected:
                expected[name] = change != "exited"
    found = {email.partition("@")[0]: each["audience_winback"] for email, each in workspace.users.items()}
    assert found == expected
    assert {each["properties"]["change_id"] for each in workspace.events} == ids
    assert workspace.refused == []
