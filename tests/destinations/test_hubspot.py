"""HubSpot as a destination: its lists equal the members after any faults, and no limit is exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

from .adapters import SECRET, message, run, tell
from .hubspot_server import FAULTS, TOKEN, HubSpotStandIn
from .rate_scale import short_seconds

__all__ = ["short_seconds"]

WRITTEN = {"kind": "hubspot", "token": SECRET}
KNOWN_ONLY = WRITTEN | {"create": False}
LIST = {"list": 7}
CHANGE = "PUT /crm/lists/2026-03/{}/memberships/add-and-remove"


def sent(
    account: HubSpotStandIn,
    messages: Sequence[Message],
    options: Any = LIST,
    *,
    written: Any = WRITTEN,
    token: str = TOKEN,
) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, options)]

    return run(account, written, token, send)


def test_members_are_added_to_the_list_and_removed_from_it_in_one_request() -> None:
    account = HubSpotStandIn("7", "8")
    ann, out = account.add("ann@shop.example"), account.add("out@shop.example")
    account.members["7"].add(out)
    changes = [
        message(1, "ann", properties={"aov": 7.5, "name.first": "Ann"}),
        message(2, "ben", properties={"AOV": 8}),
        message(3, "out", "exited"),
        message(4, "stranger", "exited"),
    ]
    assert sent(account, changes) == [Accepted()] * 4
    assert account.addresses("7") == {"ann@shop.example", "ben@shop.example"}
    assert account.members["8"] == set()
    assert account.contacts[ann]["aov"] == "7.5"
    assert account.contacts[ann]["name_first"] == "Ann"
    assert [each["aov"] for each in account.contacts.values() if each["email"] == "ben@shop.example"] == ["8"]
    assert [body for call, body in account.calls if call == CHANGE] == [
        {"recordIdsToAdd": sorted(account.members["7"]), "recordIdsToRemove": [out]}
    ]
    assert account.refused == []


def test_people_without_a_contact_are_refused_where_none_may_be_created() -> None:
    account = HubSpotStandIn("7")
    account.add("ann@shop.example")
    changes = [
        message(1, "ann"),
        message(2, "ben"),
        message(3, "cid", "exited"),
        message(4, "dan", "updated"),
    ]
    unknown = Refused("no contact has this address")
    assert sent(account, changes, written=KNOWN_ONLY) == [Accepted(), unknown, Accepted(), unknown]
    assert account.addresses("7") == {"ann@shop.example"}
    assert len(account.contacts) == 1


def test_an_update_changes_properties_alone() -> None:
    account = HubSpotStandIn("7")
    ann = account.add("ann@shop.example")
    update = message(1, "ann", "updated", properties={"aov": 8})
    assert sent(account, [update]) == [Accepted()]
    assert (account.contacts[ann]["aov"], account.members["7"]) == ("8", set())
    assert sent(account, [message(2, "new", "updated", properties={"aov": 8})]) == [
        Refused("no contact has this address")
    ]
    assert len(account.contacts) == 1


def test_quiet_messages_change_the_list_too() -> None:
    account = HubSpotStandIn("7")
    assert sent(account, [message(1, "ann", quiet=True)]) == [Accepted()]
    assert account.addresses("7") == {"ann@shop.example"}


def test_consent_and_addresses_are_never_written() -> None:
    account = HubSpotStandIn("7")
    ann = account.add("ann@shop.example")
    properties = {"email": "x@shop.example", "hs_email_optout": True}
    assert sent(account, [message(1, "ann", properties=properties)]) == [Accepted()]
    assert account.contacts[ann]["email"] == "ann@shop.example"
    assert [call for call, _ in account.calls if call.endswith("batch/update")] == []


@pytest.mark.parametrize("multi_status", [True, False])
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_contact_that_is_refused_does_not_hold_up_the_others(
    *, multi_status: bool, names: bool, known: bool
) -> None:
    account = HubSpotStandIn("7")
    account.multi_status, account.names = multi_status, names
    account.invalid = {"ben@shop.example"}
    if known:
        account.add("ben@shop.example")
    changes = [message(n, each, properties={"n": n}) for n, each in enumerate(("ann", "ben", "cid", "dan"))]
    found = sent(account, changes)
    assert [type(each) for each in found] == [Accepted, Refused, Accepted, Accepted]
    assert isinstance(found[1], Refused) and "invalid" in found[1].reason
    assert account.addresses("7") == {f"{each}@shop.example" for each in ("ann", "cid", "dan")}


def test_an_address_that_cannot_be_looked_up_does_not_hold_up_the_others() -> None:
    account = HubSpotStandIn("7")
    account.invalid, account.strict_look_up = {"ben@shop.example"}, True
    found = sent(account, [message(n, each) for n, each in enumerate(("ann", "ben", "cid"))])
    assert found == [Accepted(), Refused("the look-up: status 400"), Accepted()]


def test_errors_that_pass_are_tried_again() -> None:
    account = HubSpotStandIn("7")
    account.faults = ["", "", "half"]  # of the list, the look-up, and new contacts
    found = sent(account, [message(n, each) for n, each in enumerate(("ann", "ben"))])
    assert found == [Later("INTERNAL_ERROR", 30.0), Accepted()]
    account.faults = ["", "half"]
    leaving = [message(n, each, "exited") for n, each in enumerate(("ben", "cid"), 2)]
    assert sent(account, leaving) == [Later("INTERNAL_ERROR", 30.0), Accepted()]
    assert account.addresses("7") == {"ben@shop.example"}


def test_a_contact_that_lists_do_not_find_yet_is_tried_again() -> None:
    account = HubSpotStandIn("7")
    ann = account.add("ann@shop.example")
    account.add("ben@shop.example")
    account.unready = {ann}
    both = [message(1, "ann"), message(2, "ben")]
    assert sent(account, both) == [Later(f"the record {ann} is missing", 5.0), Accepted()]
    assert sent(account, both[:1]) == [Accepted()]
    assert account.addresses("7") == {"ann@shop.example", "ben@shop.example"}


def test_a_contact_with_several_addresses_is_a_member_while_any_of_them_is() -> None:
    account = HubSpotStandIn("7")
    ann = account.add("ann@shop.example", "a@shop.example", "b@shop.example")
    assert sent(account, [message(1, "a", properties={"n": 1}), message(2, "b", properties={"n": 2})]) == [
        Accepted(),
        Accepted(),
    ]
    assert account.members["7"] == {ann}
    assert sent(account, [message(3, "a", "exited"), message(4, "b")]) == [Accepted()] * 2
    assert account.members["7"] == {ann}
    assert sent(account, [message(5, "b", "exited")]) == [Accepted()]
    assert account.members["7"] == set()
    assert (account.refused, len(account.contacts)) == ([], 1)


@pytest.mark.parametrize("action", ["entered", "exited"])
def test_a_list_that_is_gone_stops_the_delivery(action: Any) -> None:
    account = HubSpotStandIn("7")

    async def send(adapter: Adapter) -> None:
        assert await adapter.send([message(1, "ann")], LIST) == [Accepted()]
        del account.lists["7"]
        with pytest.raises(DestinationRefuses, match="the list 7 does not exist"):
            await adapter.send([message(2, "ann", action)], LIST)

    run(account, WRITTEN, TOKEN, send)
    with pytest.raises(DestinationRefuses, match="the list 7 does not exist"):
        sent(account, [message(3, "ann", action)])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"processingType": "DYNAMIC"}, "expected MANUAL or SNAPSHOT, got DYNAMIC"),
        ({"objectTypeId": "0-2"}, "holds no contacts: expected the object type 0-1, got 0-2"),
        ({"deletedAt": "2026-11-27T00:00:00Z"}, "it was deleted"),
    ],
)
def test_no_one_is_added_to_a_list_of_another_kind(changed: dict[str, str], reason: str) -> None:
    account = HubSpotStandIn("7")
    account.lists["7"] |= changed
    with pytest.raises(DestinationRefuses, match=reason):
        sent(account, [message(1, "ann")])
    assert account.contacts == {}


def test_a_list_is_looked_at_once_and_after_a_refusal() -> None:
    account = HubSpotStandIn("7")
    account.lists["7"]["processingType"] = "SNAPSHOT"

    async def send(adapter: Adapter) -> None:
        for number in range(3):
            await adapter.send([message(number, "ann")], LIST)
        account.lists["7"]["processingType"] = "DYNAMIC"
        with pytest.raises(DestinationRefuses, match="is kept by HubSpot"):
            await adapter.send([message(4, "ann")], LIST)

    run(account, WRITTEN, TOKEN, send)
    assert [call for call, _ in account.calls].count("GET /crm/lists/2026-03/{}") == 2


def test_a_property_that_does_not_exist_stops_the_delivery() -> None:
    account = HubSpotStandIn("7")
    with pytest.raises(DestinationRefuses, match="contacts have no property ltv"):
        sent(account, [message(1, "ann", properties={"ltv": 7})])


def test_wrong_tokens_and_scopes_stop_the_delivery() -> None:
    account = HubSpotStandIn("7")
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(account, [message(1, "ann")], token="pat-wrong-0123")
    assert "pat-wrong-0123" not in str(failed.value)
    assert "[secret]" in str(failed.value)
    account.scopes.remove("crm.lists.write")
    with pytest.raises(DestinationRefuses, match="status 403"):
        sent(account, [message(1, "ann")])


@pytest.mark.parametrize(("fault", "retry_s"), [("429", 7), ("423", 2)])
def test_an_account_under_pressure_says_for_how_long(fault: str, retry_s: int) -> None:
    account = HubSpotStandIn("7")
    account.faults, account.retry_after = ["", fault], "7"
    with pytest.raises(DestinationAway, match=f"status {fault}") as failed:
        sent(account, [message(1, "ann")])
    assert failed.value.retry_after_s == retry_s


def test_a_day_without_requests_left_is_waited_out() -> None:
    account = HubSpotStandIn("7")
    account.daily = 1
    with pytest.raises(DestinationAway, match="daily limit") as failed:
        sent(account, [message(1, "ann")])
    assert failed.value.retry_after_s == 900


@pytest.mark.parametrize("says", [True, False])
def test_rates_are_kept(*, says: bool) -> None:
    account = HubSpotStandIn("7")
    account.says = says

    async def send(adapter: Adapter) -> None:
        await asyncio.gather(*(adapter.send([message(n, f"u{n}")], LIST) for n in range(60)))

    run(account, WRITTEN, TOKEN, send)
    assert len(account.members["7"]) == 60
    assert account.refused == []


def test_what_other_processes_use_of_the_rate_is_left_to_them() -> None:
    account = HubSpotStandIn("7")

    async def send(adapter: Adapter) -> None:
        for number in range(3):
            # Another process has just made as many requests as are left.
            account.use_up()
            await adapter.send([message(number, f"u{number}")], LIST)

    run(account, WRITTEN, TOKEN, send)
    assert account.refused == []


def test_a_batch_fits_into_requests() -> None:
    account = HubSpotStandIn("7")

    async def send(adapter: Adapter) -> set[Outcome]:
        messages = [message(n, f"u{n}", properties={"n": n}) for n in range(adapter.batch.messages)]
        return {*await adapter.send(messages, LIST), *await adapter.send(messages, LIST)}

    assert run(account, WRITTEN, TOKEN, send) == {Accepted()}
    assert (len(account.members["7"]), len(account.calls), account.refused) == (100, 7, [])


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["entered", "exited", "updated"])), max_size=4
)


@examples(20, of=200)
@given(
    st.sets(st.sampled_from("abcd")),
    st.lists(CHANGES, max_size=5),
    st.lists(st.sampled_from(FAULTS), max_size=8),
)
def test_after_any_faults_the_list_is_the_members(
    known: set[str], plan: list[list[tuple[str, Any]]], faults: list[str]
) -> None:
    account = HubSpotStandIn("7", "8")
    account.faults = list(faults)
    for name in sorted(known | {name for wave in plan for name, action in wave if action == "updated"}):
        account.add(f"{name}@shop.example")

    async def told(adapter: Adapter) -> None:
        number = 0
        for wave in plan:
            messages = []
            for name, action in dict(wave).items():
                number += 1
                messages.append(message(number, name, action, properties={"n": number}))
            account.unready = {*account.contacts} if number % 3 == 0 else set()
            await tell(adapter, messages, LIST)

    run(account, WRITTEN, TOKEN, told)
    members, last = dict[str, bool](), dict[str, str]()
    changes = (each for wave in plan for each in dict(wave).items())
    for number, (name, action) in enumerate(changes, 1):
        members[name] = members.get(name, False) if action == "updated" else action == "entered"
        if action != "exited":
            last[f"{name}@shop.example"] = str(number)
    assert account.addresses("7") == {f"{name}@shop.example" for name, inside in members.items() if inside}
    assert account.members["8"] == set()
    assert {each["email"]: each["n"] for each in account.contacts.values() if "n" in each} == last
    assert account.refused == []
