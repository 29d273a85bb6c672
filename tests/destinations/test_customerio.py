"""Customer.io as a destination: its segments equal the members after any faults, and no limit is exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.destinations.customerio import api
from segops.destinations.customerio.adapter import CustomerIoWorkspace
from segops.destinations.customerio.bodies import ulid_of
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

from .adapters import SECRET, message, run
from .customerio_server import APP_KEY, FAULTS, KEY, SITE, CustomerIoStandIn, no_pauses
from .rate_scale import short_seconds

__all__ = ["no_pauses", "short_seconds"]

APP_VARIABLE = "STAND_IN_APP_KEY"
BLIND = {"kind": "customerio", "site_id": SITE, "key": SECRET, "identify_by": "email"}
WRITTEN = BLIND | {"app_key": {"env": APP_VARIABLE}}
SEGMENT, EVENT = {"segment": 7}, {"event": "Entered win-back"}
BOTH = SEGMENT | EVENT
BATCH, ADD, REMOVE, SEARCH, SEGMENTS = (
    "POST /api/v2/batch",
    "POST /api/v1/segments/7/add_customers",
    "POST /api/v1/segments/7/remove_customers",
    "POST /v1/customers",
    "GET /v1/segments",
)


@pytest.fixture(autouse=True)
def app_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(APP_VARIABLE, APP_KEY)


def sent(
    workspace: CustomerIoStandIn,
    messages: Sequence[Message],
    options: Any = SEGMENT,
    *,
    written: Any = WRITTEN,
    key: str = KEY,
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(workspace, written, key, send)


def test_members_are_added_to_the_segment_and_removed_from_it() -> None:
    workspace = CustomerIoStandIn(7, 8)
    assert sent(workspace, [message(1, "ann", properties={"aov": 7}), message(2, "ben")]) == [Accepted()] * 2
    assert workspace.people == {"ann@shop.example": {"aov": 7}, "ben@shop.example": {}}
    assert workspace.calls == [SEGMENTS, BATCH, ADD, SEARCH]
    leaving = [message(3, "ann", "exited", properties={"aov": 9}), message(4, "stranger", "exited")]
    assert sent(workspace, leaving) == [Accepted()] * 2
    assert workspace.segments == {7: {"ben@shop.example"}, 8: set()}
    assert workspace.people == {"ann@shop.example": {"aov": 7}, "ben@shop.example": {}}
    assert workspace.calls[4:] == [SEGMENTS, REMOVE, SEARCH]
    assert (workspace.events, workspace.refused) == ({}, [])


def test_people_are_known_by_user_id_where_the_form_says_so() -> None:
    workspace = CustomerIoStandIn(7)
    written = WRITTEN | {"identify_by": "user_id"}
    assert sent(workspace, [message(1, "ann", address="Ann 7")], BOTH, written=written) == [Accepted()]
    assert workspace.segments[7] == {"Ann 7"}
    (event,) = workspace.events.values()
    assert event["identifiers"] == {"id": "Ann 7"}
    assert {"id_type": "id"} in workspace.queries
    assert sent(workspace, [message(2, "ann", "exited", address="Ann 7")], written=written) == [Accepted()]
    assert workspace.segments[7] == set()


def test_an_entry_is_an_event_once_unless_it_is_quiet() -> None:
    workspace = CustomerIoStandIn()
    told = [
        message(1, "ann", properties={"aov": 7, "reason": "mine", "recipient": "x@shop.example"}),
        message(2, "ben", quiet=True),
        message(3, "cid", "exited"),
        message(4, "dan", "updated", properties={"aov": 8}),
    ]
    assert sent(workspace, told, EVENT) == [Accepted()] * 4
    assert sent(workspace, told, EVENT) == [Accepted()] * 4
    assert workspace.events == {
        ulid_of("c1", 5_999): {
            "type": "person",
            "identifiers": {"email": "ann@shop.example"},
            "action": "event",
            "name": "Entered win-back",
            "id": ulid_of("c1", 5_999),
            "timestamp": 5,
            "attributes": {
                "aov": 7,
                "audience": "winback",
                "reason": "time",
                "since": "1970-01-01T00:00:00.005Z",
                "until": "1970-01-01T00:00:00.009Z",
            },
        }
    }
    assert set(workspace.people) == {"ann@shop.example", "ben@shop.example"}
    assert set(workspace.calls) == {BATCH}
    assert workspace.refused == []


def test_an_update_changes_attributes_and_adds_no_one_again() -> None:
    workspace = CustomerIoStandIn(7)
    sent(workspace, [message(1, "ann")], BOTH)
    workspace.segments[7].clear()  # as a person did in Customer.io
    told = [
        message(2, "ann", "updated", properties={"aov": 8}),
        message(3, "ben", "updated", properties={"aov": 9}),
    ]
    assert sent(workspace, told, BOTH) == [Accepted()] * 2
    assert (workspace.people, workspace.segments[7]) == ({"ann@shop.example": {"aov": 8}}, set())
    workspace.calls.clear()
    assert sent(workspace, [message(4, "ann", "updated")], EVENT) == [Accepted()]
    assert workspace.calls == []


def test_consent_and_addresses_are_never_written() -> None:
    workspace = CustomerIoStandIn(7)
    properties = {
        "email": "x@shop.example",
        "id": "x",
        "unsubscribed": False,
        "cio_subscription_preferences.topics.topic_1": True,
        "_update": True,
        "": 1,
        "plan": "pro",
    }
    assert sent(workspace, [message(1, "ann", properties=properties)]) == [Accepted()]
    assert workspace.people == {"ann@shop.example": {"plan": "pro"}}
    only = {"unsubscribed": False}
    workspace.calls.clear()
    assert sent(workspace, [message(2, "ann", "updated", properties=only)], EVENT) == [Accepted()]
    assert (workspace.calls, workspace.refused) == ([], [])


def test_someone_who_was_just_created_is_added_all_the_same() -> None:
    workspace = CustomerIoStandIn(7, late=3)
    workspace.people["ben@shop.example"] = {}
    assert sent(workspace, [message(1, "ann"), message(2, "ben")], BOTH) == [Accepted()] * 2
    assert workspace.segments[7] == {"ann@shop.example", "ben@shop.example"}
    # Who was seen in the segment is not added a second time.
    assert workspace.calls == [SEGMENTS, BATCH, ADD, SEARCH, ADD, SEARCH, BATCH]


def test_someone_who_is_not_seen_in_the_segment_is_told_of_later() -> None:
    workspace = CustomerIoStandIn(7)
    workspace.ignored = {"ann@shop.example"}
    found = sent(workspace, [message(1, "ann"), message(2, "ben")], BOTH)
    assert found == [Later("not seen in the segment 7 yet", 300.0), Accepted()]
    assert workspace.calls.count(ADD) == 4
    assert [each["identifiers"]["email"] for each in workspace.events.values()] == ["ben@shop.example"]
    workspace.segments[7].add("ann@shop.example")
    found = sent(workspace, [message(3, "ann", "exited")])
    assert found == [Later("not seen outside of the segment 7 yet", 300.0)]


def test_without_a_key_of_the_app_api_nothing_is_read() -> None:
    workspace = CustomerIoStandIn(7)
    assert sent(workspace, [message(1, "ann"), message(2, "ben")], BOTH, written=BLIND) == [Accepted()] * 2
    assert sent(workspace, [message(3, "ann", "exited")], BOTH, written=BLIND) == [Accepted()]
    assert workspace.segments[7] == {"ben@shop.example"}
    assert workspace.calls == [BATCH, ADD, BATCH, REMOVE]


def test_someone_who_is_refused_does_not_hold_up_the_others() -> None:
    workspace = CustomerIoStandIn(7)
    workspace.broken["ben@shop.example"] = f"value is too long {KEY}"
    found = sent(workspace, [message(n, each) for n, each in enumerate(("ann", "ben", "cid"))], BOTH)
    assert found == [Accepted(), Refused("invalid name value is too long [secret]"), Accepted()]
    assert workspace.segments[7] == {"ann@shop.example", "cid@shop.example"}
    assert len(workspace.events) == 2
    assert workspace.calls.count(BATCH) == 2


def test_someone_for_whom_all_are_refused_does_not_hold_up_the_others() -> None:
    workspace = CustomerIoStandIn(7)
    workspace.broken["cid@shop.example"] = "whole"
    found = sent(workspace, [message(n, each) for n, each in enumerate(("ann", "ben", "cid", "dan", "eve"))])
    assert [type(each) for each in found] == [Accepted, Accepted, Refused, Accepted, Accepted]
    assert isinstance(found[2], Refused) and "malformed" in found[2].reason
    assert len(workspace.segments[7]) == 4


def test_calls_that_failed_without_an_index_are_made_again() -> None:
    workspace = CustomerIoStandIn(7)
    workspace.faults = ["", "unplaced"]
    workspace.broken["ben@shop.example"] = "bad"
    found = sent(workspace, [message(n, each) for n, each in enumerate(("ann", "ben", "cid"))], BOTH)
    assert [type(each) for each in found] == [Accepted, Refused, Accepted]
    assert workspace.sizes == [3, 1, 1, 2]
    workspace.broken["dan@shop.example"] = "unplaced"
    found = sent(workspace, [message(6, "ann"), message(7, "dan")])
    assert [type(each) for each in found] == [Accepted, Refused]
    assert len(workspace.segments[7]) == 2


def test_a_call_that_is_too_large_is_not_made() -> None:
    workspace = CustomerIoStandIn(7)
    large = message(1, "ann", properties={"text": "x" * 40_000})
    found = sent(workspace, [large, message(2, "ben")], BOTH)
    assert [type(each) for each in found] == [Refused, Accepted]
    assert isinstance(found[0], Refused) and "32000 bytes" in found[0].reason
    assert workspace.refused == []


def test_a_full_batch_keeps_the_maxima() -> None:
    workspace, most = CustomerIoStandIn(7), CustomerIoWorkspace.batch.messages
    told = [message(n, f"u{n:04}" + "x" * 100, properties={"text": "y" * 1_000}) for n in range(most)]
    assert set(sent(workspace, told, BOTH)) == {Accepted()}
    assert (len(workspace.segments[7]), len(workspace.events)) == (1_000, 1_000)
    assert workspace.calls.count(ADD) == 1
    assert workspace.calls.count(SEARCH) == 10
    assert workspace.calls.count(BATCH) == 6
    assert workspace.refused == []


@pytest.mark.parametrize("action", ["entered", "exited"])
@pytest.mark.parametrize("kind", [None, "dynamic"])
def test_a_segment_that_is_gone_or_another_stops_the_delivery(action: Any, kind: str | None) -> None:
    workspace = CustomerIoStandIn(7)
    reason = "does not exist" if kind is None else "expected a manual one, got type dynamic"

    async def send(adapter: Adapter) -> None:
        assert await adapter.send([message(1, "ann")], SEGMENT) == [Accepted()]
        workspace.types = {} if kind is None else {7: kind}
        with pytest.raises(DestinationRefuses, match="the segment 7: status 400"):
            await adapter.send([message(2, "ben", action)], SEGMENT)

    run(workspace, WRITTEN, KEY, send)
    with pytest.raises(DestinationRefuses, match=f"the segment 7.* {reason}"):
        sent(workspace, [message(3, "ann", action)])
    with pytest.raises(DestinationRefuses, match="the segment 7: status 400"):
        sent(workspace, [message(4, "ann", action)], written=BLIND)


def test_a_segment_that_silently_takes_no_one_is_looked_up_again() -> None:
    workspace = CustomerIoStandIn(7)

    async def send(adapter: Any) -> None:
        workspace.ignored = {"ann@shop.example"}
        assert [type(each) for each in await adapter.send([message(1, "ann")], SEGMENT)] == [Later]
        assert workspace.calls.count(SEGMENTS) == 2
        await adapter.send([message(2, "ben")], SEGMENT)
        assert workspace.calls.count(SEGMENTS) == 2

    run(workspace, WRITTEN, KEY, send)


@pytest.mark.parametrize("wrong", ["key", "app_key"])
def test_a_wrong_key_stops_the_delivery_and_is_not_shown(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = CustomerIoStandIn(7)
    if wrong == "app_key":
        monkeypatch.setenv(APP_VARIABLE, "wrong-key-0123")
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(workspace, [message(1, "ann")], key="wrong-key-0123" if wrong == "key" else KEY)
    assert "wrong-key-0123" not in str(failed.value)
    assert "[secret]" in str(failed.value)


def test_a_server_that_is_another_stops_the_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    path = api.BATCH._replace(path="/api/v9/batch")
    monkeypatch.setattr("segops.destinations.customerio.calls.BATCH", path)
    with pytest.raises(DestinationRefuses, match=r"not a server of Customer\.io's Track API"):
        sent(CustomerIoStandIn(), [message(1, "ann")], EVENT)


def test_a_failed_look_up_repeats_no_address() -> None:
    workspace = CustomerIoStandIn(7)
    workspace.searches = False
    with pytest.raises(DestinationRefuses, match="/v1/customers: status 400") as failed:
        sent(workspace, [message(1, "ann")])
    assert "ann@" not in str(failed.value)


def test_a_workspace_under_pressure_says_for_how_long() -> None:
    workspace = CustomerIoStandIn()
    workspace.faults, workspace.retry_after = ["429"], "7"

    async def send(adapter: Any) -> None:
        with pytest.raises(DestinationAway, match="status 429") as failed:
            await adapter.send([message(1, "ann")], EVENT)
        assert failed.value.retry_after_s == 7
        assert adapter._api._limiters["track"]._wait_s() > 0

    run(workspace, WRITTEN, KEY, send)


def test_each_api_keeps_its_rate() -> None:
    workspace = CustomerIoStandIn(7)
    assert {name: {1: rate.burst} for name, rate in api.RATES.items()} == workspace.rates

    async def send(adapter: Adapter) -> None:
        await asyncio.gather(*(adapter.send([message(n, f"u{n}")], BOTH) for n in range(60)))

    run(workspace, WRITTEN, KEY, send)
    assert (len(workspace.segments[7]), workspace.refused) == (60, [])


class Model:
    """What Customer.io should know, from the changes alone. ``refused``: of whom it takes no call."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        self.people: dict[str, dict[str, Any]] = {}
        self.members: set[str] = set()
        self.ids: set[str] = set()

    def take(self, number: int, name: str, change: str) -> Message:
        """Take over a change; return its message."""
        action, address = ("entered" if change == "quiet" else change), f"{name}@shop.example"
        if name != self.refused:
            if action == "entered":
                self.members.add(address)
                self.people.setdefault(address, {})
            if action == "exited":
                self.members.discard(address)
            elif address in self.people:
                self.people[address]["n"] = number
            self.ids |= {ulid_of(f"c{number}", 5_999)} if change == "entered" else set()
        return message(number, name, action, quiet=change == "quiet", properties={"n": number})

    def expects(self, told: Message, outcome: Outcome) -> bool:
        """Return whether an outcome is the right one in the end."""
        refused = told.person.user_id == self.refused and told.action != "exited"
        return isinstance(outcome, Refused if refused else Accepted)


async def tell(adapter: Adapter, messages: Sequence[Message], model: Model) -> None:
    """Tell of messages again until all are decided, as the delivery does."""
    while messages:
        try:
            outcomes = [*await adapter.send(messages, BOTH)]
        except DestinationAway:
            continue
        told = [*zip(messages, outcomes, strict=True)]
        messages = [each for each, outcome in told if isinstance(outcome, Later)]
        assert all(model.expects(*each) for each in told if each[0] not in messages)


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(
    plan=st.lists(CHANGES, max_size=5),
    faults=st.lists(st.sampled_from(FAULTS), max_size=8),
    broken=st.sampled_from(["", "bad", "whole"]),
    late=st.sampled_from([None, 0, 1, 3]),
)
def test_after_any_faults_the_segment_is_the_members(
    plan: list[list[tuple[str, str]]], faults: list[str], broken: str, late: int | None
) -> None:
    # Without a key that reads, someone who is not created at once is not added: see the page.
    workspace, model = CustomerIoStandIn(7, 8, late=late or 0), Model("d" if broken else "")
    workspace.faults = list(faults)
    workspace.broken = {"d@shop.example": broken} if broken else {}

    async def told(adapter: Adapter) -> None:
        numbers = count(1)
        for wave in plan:
            await tell(adapter, [model.take(next(numbers), *each) for each in dict(wave).items()], model)

    run(workspace, BLIND if late is None else WRITTEN, KEY, told)
    workspace.settle()
    assert workspace.segments == {7: model.members, 8: set()}
    assert workspace.people == model.people
    assert set(workspace.events) == model.ids
    assert workspace.refused == []
