"""Braze as a destination: its attributes say who is a member, after any faults, and no limit is exceeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.destinations.braze import api
from segops.destinations.port import (
    Accepted,
    Adapter,
    DestinationAway,
    DestinationRefuses,
    Message,
    Outcome,
    Refused,
)
from tests.rest import examples

from .adapters import SECRET, message, opened, run
from .braze_server import APPLIED, FAULTS, KEY, BrazeStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

WRITTEN = {"kind": "braze", "key": SECRET, "identify_by": "email"}
BY_ID = {"kind": "braze", "key": SECRET}
URL = "https://rest.fra-01.braze.eu"
EVENT = {"event": "Entered win-back"}
SINCE = {"since": "1970-01-01T00:00:00.005Z", "until": "1970-01-01T00:00:00.009Z"}


def sent(
    workspace: BrazeStandIn,
    messages: Sequence[Message],
    options: Any = EVENT,
    *,
    written: Any = WRITTEN,
    key: str = KEY,
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(workspace, written, key, send)


def users(workspace: BrazeStandIn) -> dict[str, dict[str, Any]]:
    """Return the attributes of users who are known by e-mail, by the part before the @."""
    assert {identifier for identifier, _ in workspace.users} <= {"email"}
    return {value.partition("@")[0]: each for (_, value), each in workspace.users.items()}


def test_membership_is_an_attribute() -> None:
    workspace = BrazeStandIn()
    assert sent(workspace, [message(1, "ann", properties={"aov": 7}), message(2, "ben")]) == [Accepted()] * 2
    assert users(workspace) == {"ann": {"aov": 7, "winback": True}, "ben": {"winback": True}}
    assert sent(workspace, [message(3, "ann", "exited", properties={"aov": 9})]) == [Accepted()]
    assert users(workspace) == {"ann": {"aov": 7, "winback": False}, "ben": {"winback": True}}
    assert workspace.refused == []


def test_the_attribute_has_the_name_of_the_audience_or_its_own() -> None:
    workspace = BrazeStandIn()

    async def send(adapter: Adapter) -> None:
        told = message(1, "ann")
        renamed = Message(
            "entered", "win-back-email", told.address, told.person, "c2", 2, "time", 5, 5, 9, quiet=True
        )
        await adapter.send([renamed], {})
        await adapter.send([renamed], {"attribute": "In win-back"})

    run(workspace, WRITTEN, KEY, send)
    assert users(workspace) == {"ann": {"win_back_email": True, "In win-back": True}}


def test_an_entry_is_an_event_unless_it_is_quiet() -> None:
    workspace = BrazeStandIn()
    told = [
        message(1, "ann", properties={"aov": 7, "gone": None, "reason": "mine", "$x": 1}),
        message(2, "ben", quiet=True),
        message(3, "cid", "exited"),
        message(4, "dan", "updated", properties={"aov": 8}),
    ]
    assert sent(workspace, told) == [Accepted()] * 4
    assert workspace.events == [
        {
            "email": "ann@shop.example",
            "name": "Entered win-back",
            "time": "1970-01-01T00:00:05.999Z",
            "properties": {"aov": 7, "audience": "winback", "reason": "time", **SINCE},
        }
    ]
    assert workspace.at_event == [{"aov": 7, "reason": "mine", "winback": True}]
    assert sent(workspace, told, {}) == [Accepted()] * 4
    assert (len(workspace.events), workspace.refused) == (1, [])


def test_only_entries_create_users_and_only_they_make_members() -> None:
    workspace = BrazeStandIn()
    strangers = [message(1, "ann", "exited"), message(2, "ben", "updated", properties={"aov": 8})]
    assert sent(workspace, strangers) == [Accepted()] * 2
    assert workspace.users == {}
    workspace.users["email", "ben@shop.example"] = {"winback": False}
    assert sent(workspace, [message(3, "ben", "updated", properties={"aov": 8})]) == [Accepted()]
    assert users(workspace) == {"ben": {"winback": False, "aov": 8}}
    sent(workspace, [message(4, "cid"), message(5, "dan")])
    assert sent(workspace, [message(6, "cid", "updated", properties={"aov": 9})]) == [Accepted()]
    assert users(workspace)["cid"] == {"winback": True, "aov": 9}


def test_an_update_without_properties_is_no_request() -> None:
    workspace = BrazeStandIn()
    update = message(1, "ann", "updated", properties={"email_subscribe": "opted_in"})
    assert sent(workspace, [update]) == [Accepted()]
    assert workspace.calls == []


def test_people_are_known_by_user_id_where_the_form_says_so() -> None:
    workspace = BrazeStandIn()
    assert sent(workspace, [message(1, "ann", address="Ann 7")], written=BY_ID) == [Accepted()]
    assert workspace.users == {("external_id", "Ann 7"): {"winback": True}}
    assert workspace.events[0]["external_id"] == "Ann 7"


def test_consent_addresses_and_commands_are_never_written() -> None:
    workspace = BrazeStandIn()
    properties = {
        "email": "x@shop.example",
        "external_id": "x",
        "email_subscribe": "opted_in",
        "subscription_groups": [],
        "visits": {"inc": 1},
        "tags": {"add": ["x"]},
        "_merge_objects": True,
        "first_name": "Ann",
        "place": {"city": "Bern"},
        "old": None,
    }
    assert sent(workspace, [message(1, "ann", properties=properties)], {}) == [Accepted()]
    assert users(workspace) == {"ann": {"first_name": "Ann", "place": {"city": "Bern"}, "winback": True}}
    assert workspace.refused == []


def test_a_user_who_is_refused_does_not_hold_up_the_others() -> None:
    workspace = BrazeStandIn()
    workspace.broken["ben@shop.example"] = "provided external_id is blacklisted and disallowed"
    told = [
        message(1, "dan", "updated"),  # without an object: indexes do not count it
        message(2, "ann", "exited"),
        message(3, "ben"),
        message(4, "cid"),
    ]
    found = sent(workspace, told)
    assert found == [Accepted(), Accepted(), Refused(workspace.broken["ben@shop.example"]), Accepted()]
    assert users(workspace) == {"cid": {"winback": True}}
    assert [each["email"] for each in workspace.events] == ["cid@shop.example"]
    assert len(workspace.calls) == 1


def test_an_event_that_is_refused_is_its_messages() -> None:
    workspace = BrazeStandIn()
    workspace.unplaced["cid@shop.example"] = {"type": "late", "input_array": "events", "index": 0}
    found = sent(workspace, [message(1, "ann", quiet=True), message(2, "ben", "exited"), message(3, "cid")])
    assert found == [Accepted(), Accepted(), Refused("late")]


def test_users_are_refused_if_all_of_a_request_are() -> None:
    workspace = BrazeStandIn()
    workspace.broken = {"ann@shop.example": "blocked", "ben@shop.example": "too long"}
    found = sent(workspace, [message(1, "ann"), message(2, "ben")])
    assert found == [Refused("blocked"), Refused("too long")]
    assert len(workspace.calls) == 1


def test_a_user_for_whom_all_are_refused_does_not_hold_up_the_others() -> None:
    workspace = BrazeStandIn()
    workspace.broken["cid@shop.example"] = "whole"
    found = sent(workspace, [message(n, each) for n, each in enumerate(("ann", "ben", "cid", "dan", "eve"))])
    assert [type(each) for each in found] == [Accepted, Accepted, Refused, Accepted, Accepted]
    assert isinstance(found[2], Refused) and "status 400" in found[2].reason
    assert sorted(users(workspace)) == ["ann", "ben", "dan", "eve"]
    # What was refused as a whole left no events behind, which would count twice.
    assert len(workspace.events) == 4


@pytest.mark.parametrize(
    ("error", "dead"),
    [
        ("something failed", "abc"),
        ({"type": "something failed"}, "abc"),
        ({"type": "something failed", "index": 7, "input_array": "attributes"}, "abc"),
        ({"type": "something failed", "index": -1, "input_array": "events"}, "b"),
        ({"type": "something failed", "index": "x", "input_array": "events"}, "b"),
    ],
)
def test_an_error_without_a_place_is_not_sent_again(error: Any, dead: str) -> None:
    workspace = BrazeStandIn()
    workspace.unplaced["b@shop.example"] = error
    told = [message(1, "a", quiet=True), message(2, "b"), message(3, "c", "exited")]
    found = sent(workspace, told)
    assert [name for name, each in zip("abc", found, strict=True) if isinstance(each, Refused)] == [*dead]
    assert len(workspace.calls) == 1
    refusal = next(each for each in found if isinstance(each, Refused))
    assert "something failed" in refusal.reason


def test_a_full_batch_keeps_within_the_least_number_of_objects() -> None:
    workspace = BrazeStandIn(objects=50)
    adapter = opened(WRITTEN | {"url": URL}, KEY)
    told = [message(number, f"u{number}") for number in range(adapter.batch.messages)]
    assert set(sent(workspace, told)) == {Accepted()}
    assert workspace.sizes == [50]


def test_a_wrong_key_stops_the_delivery_and_is_not_shown() -> None:
    workspace = BrazeStandIn()
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(workspace, [message(1, "ann")], key="wrong-key-0123")
    assert "wrong-key-0123" not in str(failed.value)
    assert "[secret]" in str(failed.value)


def test_a_server_that_is_not_braze_stops_the_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "TRACK", "/v2/users/track")
    with pytest.raises(DestinationRefuses, match="not a REST endpoint of Braze"):
        sent(BrazeStandIn(), [message(1, "ann")])


def test_a_workspace_under_pressure_says_for_how_long() -> None:
    workspace = BrazeStandIn()
    workspace.faults, workspace.reset_in_s = ["429"], 100
    with pytest.raises(DestinationAway, match="status 429") as failed:
        sent(workspace, [message(1, "ann")])
    assert 90 < failed.value.retry_after_s <= 100


def test_no_request_is_made_before_a_limit_is_reset() -> None:
    workspace = BrazeStandIn()
    workspace.faults = ["429"]
    closed: list[float] = []

    async def send(adapter: Any) -> None:
        with pytest.raises(DestinationAway):
            await adapter.send([message(1, "ann")], {})
        adapter._api._limiter.close_for = closed.append
        workspace.faults, workspace.reset_in_s = ["429"], 100
        with pytest.raises(DestinationAway) as failed:
            await adapter.send([message(1, "ann")], {})
        assert closed == [failed.value.retry_after_s] != [0]

    run(workspace, WRITTEN, KEY, send)


class Model:
    """What Braze should know, from the changes alone. ``refused``: a user whom it takes nothing of."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        self.users: dict[str, dict[str, Any]] = {}
        self.entries: list[int] = []

    def take(self, number: int, name: str, change: str) -> Message:
        """Take over a change; return its message."""
        if name != self.refused:
            known = change in ("entered", "quiet") or name in self.users
            learnt = {"updated": {"n": number}, "exited": {"winback": False}}
            if known:
                user = self.users.setdefault(name, {})
                user |= learnt.get(change, {"n": number, "winback": True})
            self.entries.extend([number] if change == "entered" else [])
        quiet = change == "quiet"
        action = "entered" if quiet else change
        return message(number, name, action, quiet=quiet, properties={"n": number})


async def told(adapter: Adapter, messages: Sequence[Message]) -> list[Outcome]:
    """Tell of messages again until there is an answer, as the delivery does."""
    while True:
        try:
            return [*await adapter.send(messages, EVENT)]
        except DestinationAway:
            continue


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "quiet", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(
    st.lists(CHANGES, max_size=5),
    st.lists(st.sampled_from(FAULTS), max_size=8),
    st.sampled_from(["", "blocked", "whole"]),
)
def test_after_any_faults_the_attributes_are_the_memberships(
    plan: list[list[tuple[str, str]]], faults: list[str], broken: str
) -> None:
    workspace, model = BrazeStandIn(), Model("d" if broken else "")
    workspace.faults = list(faults)
    workspace.broken = {"d@shop.example": broken} if broken else {}

    async def tell(adapter: Adapter) -> None:
        numbers = count(1)
        for wave in plan:
            messages = [model.take(next(numbers), *each) for each in dict(wave).items()]
            for each, outcome in zip(messages, await told(adapter, messages), strict=True):
                refused = each.person.user_id == model.refused
                # Of what Braze has queued it has not said who is refused.
                possible = {Accepted, Refused} if "queued" in faults else {Refused}
                assert type(outcome) in (possible if refused else {Accepted})

    run(workspace, WRITTEN, KEY, tell)
    assert users(workspace) == model.users
    recorded = Counter(each["properties"]["n"] for each in workspace.events)
    assert set(recorded) == set(model.entries)
    # Braze counts a repeated event: without an answer that is lost none is repeated.
    assert set(faults) & set(APPLIED) or set(recorded.values()) <= {1}
    assert all(each["winback"] for each in workspace.at_event)
    assert workspace.refused == []
