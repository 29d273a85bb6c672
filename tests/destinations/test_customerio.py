"""Customer.io as a destination: its segments equal the members after any faults, and no limit is exceeded."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.destinations.customerio import adapter as customerio
from segops.destinations.customerio.bodies import ulid_of
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

from .adapters import SECRET, opened, run, tell
from .adapters import message as plain
from .customerio_server import FAULTS, KEY, RATE, CustomerIoStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

WRITTEN = {"kind": "customerio", "site_id": SECRET, "key": SECRET}
BY_ID = WRITTEN | {"identify_by": "id"}
SEGMENT, EVENT = {"segment": 7}, {"event": "Entered win-back"}
BOTH = SEGMENT | EVENT


def id_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def message(number: int, name: str, action: Any = "entered", **changed: Any) -> Message:
    return msgspec.structs.replace(plain(number, name, action, **changed), change_id=id_of(number))


def sent(
    workspace: CustomerIoStandIn,
    messages: Sequence[Message],
    options: Any = BOTH,
    *,
    written: Any = WRITTEN,
    key: str = KEY,
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(workspace, written, key, send)


def test_an_entry_is_an_attribute_a_member_of_the_segment_and_an_event() -> None:
    workspace = CustomerIoStandIn(7, 8)
    properties = {"aov": 7, "reason": "mine"}
    assert sent(workspace, [message(1, "ann", properties=properties)]) == [Accepted()]
    known = {"known_by": "email", **properties, "audience_winback": True}
    assert workspace.people == {"ann@shop.example": known}
    assert workspace.segments == {7: {"ann@shop.example"}, 8: set()}
    (event,) = workspace.events.values()
    assert (event["name"], event["timestamp"]) == ("Entered win-back", 5)
    assert event["attributes"] == {
        "aov": 7,
        "audience": "winback",
        "reason": "time",
        "since": "1970-01-01T00:00:00.005Z",
        "until": "1970-01-01T00:00:00.009Z",
    }
    assert workspace.refused == []


def test_exits_updates_and_quiet_entries_have_no_event() -> None:
    workspace = CustomerIoStandIn(7)
    sent(workspace, [message(1, "ann"), message(2, "ben", quiet=True)], SEGMENT)
    workspace.segments[7].discard("ben@shop.example")  # as a person did in Customer.io
    update = message(4, "ben", "updated", properties={"aov": 8})
    assert sent(workspace, [message(3, "ann", "exited"), update]) == [Accepted()] * 2
    assert (workspace.segments, workspace.events) == ({7: set()}, {})
    assert {name: each["audience_winback"] for name, each in workspace.people.items()} == {
        "ann@shop.example": False,
        "ben@shop.example": True,
    }
    assert workspace.people["ben@shop.example"]["aov"] == 8


def test_without_a_segment_attributes_are_written() -> None:
    workspace = CustomerIoStandIn()
    assert sent(workspace, [message(1, "ann")], {}) == [Accepted()]
    assert workspace.calls == ["/api/v2/batch"] and workspace.events == {}


def test_people_are_known_by_email_unless_by_id() -> None:
    ann, none = Person("p", " Ann 7 ", email=" Ann@Shop.example "), Person("p")
    assert [opened(each, KEY).address_of(ann) for each in (BY_ID, WRITTEN)] == ["Ann 7", "ann@shop.example"]
    assert [opened(each, KEY).address_of(none) for each in (BY_ID, WRITTEN)] == [None, None]
    workspace = CustomerIoStandIn(7)
    sent(workspace, [message(1, "ann", address="Ann 7")], written=BY_ID)
    assert workspace.segments[7] == {"Ann 7"} and workspace.people["Ann 7"]["known_by"] == "id"


def test_consent_and_addresses_are_never_written() -> None:
    workspace = CustomerIoStandIn(7)
    properties = {"unsubscribed": False, "email": "x", "id": 1, "_update": True, "aov": 7}
    assert sent(workspace, [message(1, "ann", properties=properties)]) == [Accepted()]
    written = {"known_by": "email", "aov": 7, "audience_winback": True}
    assert workspace.people["ann@shop.example"] == written
    assert workspace.refused == []


def test_a_repeated_event_counts_once() -> None:
    workspace = CustomerIoStandIn(7)
    for _ in range(2):
        sent(workspace, [message(1, "ann")])
    assert set(workspace.events) == {ulid_of(id_of(1))}


@pytest.mark.parametrize(
    ("how", "text"),
    [("named", "invalid attributes too long"), ("elsewhere", "status 207"), ("whole", "status 400")],
)
def test_a_person_who_is_refused_does_not_hold_up_the_others(how: str, text: str) -> None:
    workspace = CustomerIoStandIn(7)
    sent(workspace, [message(9, "cid", "updated")])
    workspace.broken["cid@shop.example"] = how
    found = sent(workspace, [message(n, each) for n, each in enumerate(("ann", "ben", "cid", "dan"))])
    assert [type(each) for each in found] == [Accepted, Accepted, Refused, Accepted]
    assert isinstance(found[2], Refused) and text in found[2].reason
    assert workspace.segments[7] == {"ann@shop.example", "ben@shop.example", "dan@shop.example"}


@pytest.mark.parametrize("action", ["entered", "exited"])
def test_a_segment_that_is_gone_stops_the_delivery(action: Any) -> None:
    with pytest.raises(DestinationRefuses, match="the segment 7: expected a manual segment, got status 404"):
        sent(CustomerIoStandIn(), [message(1, "ann", action)])


def test_a_wrong_key_stops_the_delivery_and_is_not_shown() -> None:
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(CustomerIoStandIn(7), [message(1, "ann")], key="wrong-key-0123")
    assert "[secret]" in str(failed.value)


def test_a_workspace_under_pressure_says_for_how_long() -> None:
    workspace = CustomerIoStandIn(7)
    workspace.faults, workspace.retry_after = ["429"], "7"
    with pytest.raises(DestinationAway, match="status 429") as failed:
        sent(workspace, [message(1, "ann")])
    assert failed.value.retry_after_s == 7


def test_a_batch_fits_into_a_request_and_rates_are_kept() -> None:
    workspace = CustomerIoStandIn(7)

    async def send(adapter: Adapter) -> None:
        most = adapter.batch.messages
        text = "x" * (adapter.batch.bytes // most - 320)
        messages = [message(n, f"u{n}", properties={"t": text}) for n in range(most)]
        assert sum(len(msgspec.json.encode(each)) for each in messages) > adapter.batch.bytes
        await adapter.send(messages, BOTH)
        await asyncio.gather(*(adapter.send([message(n, f"v{n}")], {}) for n in range(200)))

    run(workspace, WRITTEN, KEY, send)
    assert len(workspace.people) == 600 and workspace.refused == []
    assert customerio.RATE.burst == RATE


def test_options_and_forms_are_validated() -> None:
    wrong = ({"segment": "../x"}, {"segment": True}, {"segment": -1}, {"event": ""}, {"event": 7})
    for options in wrong:
        with pytest.raises(DestinationRefuses, match=f"{next(iter(options))}: expected"):
            sent(CustomerIoStandIn(7), [message(1, "ann")], options)
    with pytest.raises(DefinitionError, match="region"):
        form_of({"name": "d", **WRITTEN, "region": "asia"}, "d.yaml", "destinations[0]")


def test_a_check_tells_a_known_key_from_an_unknown_one() -> None:
    workspace = CustomerIoStandIn(7)

    async def check(adapter: Adapter) -> list[tuple[bool, str]]:
        return [(each.ok, each.text) for each in await adapter.check(BOTH)]

    assert run(workspace, WRITTEN, KEY, check) == [(True, "the workspace: the key is known")]
    ((ok, text),) = run(workspace, WRITTEN, "wrong", check)
    assert not ok and "status 401" in text
    assert set(workspace.calls) == {"/api/v1/accounts/region"}


def test_a_preview_is_what_is_sent() -> None:
    workspace = CustomerIoStandIn(7)
    messages = [message(1, "ann"), message(2, "ben", "exited")]

    async def both(adapter: Adapter) -> list[str]:
        await adapter.send(messages, BOTH)
        assert adapter.members(BOTH) is None
        return [each.url.partition("?")[0].rpartition(":")[2] for each in adapter.preview(messages, BOTH)]

    previewed = run(workspace, WRITTEN, KEY, both)
    assert [each[each.index("/") :] for each in previewed] == workspace.calls


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(st.lists(CHANGES, max_size=5), st.lists(st.sampled_from(FAULTS), max_size=8))
def test_after_any_faults_the_segment_is_the_members(
    plan: list[list[tuple[str, str]]], faults: list[str]
) -> None:
    workspace = CustomerIoStandIn(7, 8)
    workspace.faults = list(faults)

    async def told(adapter: Adapter) -> set[str]:
        ids, number = set[str](), 0
        for wave in plan:
            messages = []
            for name, change in dict(wave).items():
                number += 1
                action, quiet = ("entered", True) if change == "quiet" else (change, False)
                messages.append(message(number, name, action, quiet=quiet, properties={"n": number}))
                ids |= {ulid_of(id_of(number))} if change == "entered" else set()
            if messages:
                await tell(adapter, messages, BOTH)
        return ids

    ids = run(workspace, WRITTEN, KEY, told)
    inside: dict[str, bool] = {}
    flags: dict[str, bool] = {}
    for name, change in (each for wave in plan for each in dict(wave).items()):
        inside[name] = inside.get(name, False) if change == "updated" else change != "exited"
        flags[name] = change != "exited"
    assert workspace.segments == {
        7: {f"{name}@shop.example" for name, in_ in inside.items() if in_},
        8: set(),
    }
    assert {each: found["audience_winback"] for each, found in workspace.people.items()} == {
        f"{name}@shop.example": flag for name, flag in flags.items()
    }
    assert set(workspace.events) == ids
    assert workspace.refused == []
