"""Klaviyo as a destination: what is sent to it, and what each of its answers leads to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.destinations.kinds import open_adapter
from segops.destinations.klaviyo import api
from segops.destinations.klaviyo.adapter import Klaviyo
from segops.destinations.model import Destination
from segops.destinations.port import Accepted, DestinationAway, DestinationRefuses, Person, Refused
from segops.metrics import Metrics
from tests.klaviyo.contract import operation, rates

from .klaviyo_runs import BOTH, LIST, METRIC, message, run, sent
from .klaviyo_server import KEY, PATHS, KlaviyoLists


def test_members_are_imported_into_the_list_and_removed_from_it() -> None:
    account = KlaviyoLists("L1")
    assert sent(account, [message(1, "ann", properties={"aov": 7}), message(2, "ben")]) == [Accepted()] * 2
    assert account.members("L1") == {"ann@shop.example", "ben@shop.example"}
    assert [each["properties"] for each in account.profiles.values()] == [{"aov": 7}, {}]
    assert sent(account, [message(3, "ann", "exited"), message(4, "stranger", "exited")]) == [Accepted()] * 2
    assert account.members("L1") == {"ben@shop.example"}
    assert account.events == {}


def test_a_metric_is_recorded_once_per_change() -> None:
    account = KlaviyoLists()
    entered, left = message(1, "ann", quiet=True), message(2, "ben", "exited")
    sent(account, [entered, left], METRIC)
    sent(account, [entered, left, message(3, "cid")], METRIC)
    names = {each["metric"]["data"]["attributes"]["name"] for each in account.events.values()}
    assert names == {METRIC["metric"]}
    assert [(key, each["backfill"]) for key, each in account.events.items()] == [
        ("c1", True),
        ("c2", False),
        ("c3", False),
    ]
    assert account.events["c2"]["properties"] == {
        "audience": "winback",
        "change": "exited",
        "reason": "time",
        "since": "1970-01-01T00:00:00.005Z",
        "until": "1970-01-01T00:00:00.009Z",
    }


def test_properties_overwrite_neither_fields_of_klaviyo_nor_of_the_event() -> None:
    account = KlaviyoLists("L1")
    named = {"$value": 9, "$consent": ["email"], "reason": "late", "since": "June", "plan": "gold"}
    sent(account, [message(1, "ann", properties=named)], BOTH)
    assert account.properties() == {"ann@shop.example": {"reason": "late", "since": "June", "plan": "gold"}}
    assert account.events["c1"]["properties"] == {
        "audience": "winback",
        "change": "entered",
        "reason": "time",
        "since": "1970-01-01T00:00:00.005Z",
        "until": "1970-01-01T00:00:00.009Z",
        "property_reason": "late",
        "property_since": "June",
        "plan": "gold",
    }


@pytest.mark.parametrize("options", [LIST, METRIC, BOTH])
def test_updates_are_properties_alone(options: Any) -> None:
    account = KlaviyoLists("L1")
    messages = [message(1, "ann", properties={"aov": 7}), message(2, "ben", properties={"aov": 1})]
    sent(account, messages, options)
    for each in account.lists.values():
        each.clear()  # by hand, in Klaviyo
    account.events.clear()
    sent(
        account, [message(3, "ann", "updated", properties={"aov": 8}), message(4, "cid", "updated")], options
    )
    assert account.properties() == {"ann@shop.example": {"aov": 8}, "ben@shop.example": {"aov": 1}}
    assert (account.events, account.lists["L1"]) == ({}, set())


def test_a_record_that_is_refused_does_not_hold_up_the_others() -> None:
    account = KlaviyoLists("L1")
    found = sent(account, [message(1, "ann"), message(2, "x", address="no address"), message(3, "cid")], BOTH)
    assert [type(each) for each in found] == [Accepted, Refused, Accepted]
    assert isinstance(found[1], Refused)
    assert (found[1].reason, found[1].request_id) == ("Invalid email address", "job-1")
    assert account.members("L1") == {"ann@shop.example", "cid@shop.example"}
    assert set(account.events) == {"c1", "c3"}


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("change", ["entered", "exited"])
@pytest.mark.parametrize("others", [0, 3])
def test_a_list_that_is_gone_stops_the_delivery(status: int, change: str, others: int) -> None:
    account = KlaviyoLists("L1")
    account.gone = status
    sent(account, [message(1, "ann")])
    del account.lists["L1"]
    messages = [message(2, "ann", change), *(message(3 + n, f"u{n}", change) for n in range(others))]
    with pytest.raises(DestinationRefuses, match="the list L1 does not exist"):
        sent(account, messages)


@pytest.mark.parametrize("pointers", [True, False])
def test_an_import_that_is_refused_as_a_whole_goes_on_without_the_wrong_records(pointers: bool) -> None:
    account = KlaviyoLists("L1")
    account.checks_at_once, account.pointers = True, pointers
    wrong = {3, 4, 8}
    messages = [
        message(n, f"u{n}", address=f"u{n}" if n in wrong else f"u{n}@shop.example") for n in range(9)
    ]
    found = sent(account, messages)
    assert {n for n, each in enumerate(found) if isinstance(each, Refused)} == wrong
    assert all("Invalid email" in each.reason for each in found if isinstance(each, Refused))
    assert len(account.members("L1")) == 6
    if pointers:
        assert account.calls.count("POST /api/profile-bulk-import-jobs") == 1 + len(wrong)


def test_wrong_keys_and_scopes_stop_the_delivery() -> None:
    account = KlaviyoLists("L1")
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(account, [message(1, "ann")], key="pk_wrong_key")
    assert "pk_wrong_key" not in str(failed.value)
    account.scopes = ("lists:read", "profiles:read")
    needed = "POST /api/profile-bulk-import-jobs needs lists:write and profiles:write of the key: status 403"
    with pytest.raises(DestinationRefuses, match=needed):
        sent(account, [message(1, "ann")])
    with pytest.raises(DestinationRefuses, match=r"/api/event.* needs events:write of the key"):
        sent(account, [message(1, "ann")], METRIC)
    with pytest.raises(DestinationRefuses, match="neither a list nor a metric"):
        sent(account, [message(1, "ann")], {})


def test_a_job_that_does_not_end_is_tried_again_later() -> None:
    account = KlaviyoLists("L1")

    async def send(adapter: Klaviyo) -> Any:
        adapter._imports._polls_s = [0.0]
        return await adapter.send([message(1, "ann")], LIST)

    with pytest.raises(DestinationAway, match="has not ended within 0 s"):
        run(account, send)


def test_retry_after_closes_the_endpoint_for_all_callers() -> None:
    account = KlaviyoLists("L1")
    account.faults, account.retry_after_s = ["429"], 40

    async def send(adapter: Klaviyo) -> float:
        with pytest.raises(DestinationAway) as failed:
            await adapter.send([message(1, "ann")], LIST)
        assert failed.value.retry_after_s == 40
        await adapter.send([message(2, "ben")], LIST)
        return asyncio.get_running_loop().time()

    assert run(account, send) > 40


def test_the_addresses_in_a_list_can_be_read() -> None:
    account = KlaviyoLists("L1")

    async def read(adapter: Klaviyo) -> set[str]:
        await adapter.send([message(number, f"u{number}") for number in range(150)], LIST)
        found = adapter.members(LIST)
        assert found is not None and adapter.members(METRIC) is None
        account.profiles["phone"] = {"email": None, "properties": {}}  # known by something else
        account.lists["L1"].add("phone")
        return {each async for each in found}

    assert run(account, read) == account.members("L1") - {None} != set()


@pytest.mark.parametrize("pointers", [True, False])
def test_errors_without_their_record_refuse_that_record_alone(pointers: bool) -> None:
    account = KlaviyoLists("L1")
    account.payloads, account.pointers = False, pointers
    account.refuses = {f"u{n}@shop.example": "role address" for n in (1, 2, 6)}
    found = sent(account, [message(n, f"u{n}") for n in range(9)], BOTH)
    assert [n for n, each in enumerate(found) if isinstance(each, Refused)] == [1, 2, 6]
    assert account.members("L1") == {f"u{n}@shop.example" for n in (0, 3, 4, 5, 7, 8)}
    assert set(account.events) == {f"c{n}" for n in (0, 3, 4, 5, 7, 8)}
    if pointers:
        assert account.calls.count("POST /api/profile-bulk-import-jobs") == 1


def test_an_error_that_repeats_an_address_in_another_form_names_it() -> None:
    account = KlaviyoLists("L1")
    account.shown = str.upper
    account.refuses = {"u1@shop.example": "role address"}
    found = sent(account, [message(n, f"u{n}") for n in range(3)])
    assert found == [Accepted(), Refused("role address", "job-1"), Accepted()]
    assert account.calls.count("POST /api/profile-bulk-import-jobs") == 1


def test_an_error_with_an_unknown_address_is_read_by_its_pointer() -> None:
    account = KlaviyoLists("L1")
    account.shown, account.pointers = (lambda _: "hidden@shop.example"), True
    account.refuses = {"u1@shop.example": "role address"}
    found = sent(account, [message(n, f"u{n}") for n in range(3)])
    assert found == [Accepted(), Refused("role address", "job-1"), Accepted()]


def test_answers_in_pages_are_read_to_the_last() -> None:
    account = KlaviyoLists("L1")
    account.page_cap = 2
    wrong = [message(number, f"w{number}", address=f"wrong{number}") for number in range(5)]
    right = [message(number, f"u{number}") for number in range(5, 10)]
    found = sent(account, [*wrong, *right])
    assert [type(each) for each in found] == [Refused] * 5 + [Accepted] * 5
    assert len(account.members("L1")) == 5

    async def read(adapter: Klaviyo) -> set[str]:
        return {each async for each in adapter._members("L1")}

    assert run(account, read) == account.members("L1")
    gone = [message(number, f"u{number}", "exited") for number in range(5, 10)]
    assert set(sent(account, gone)) == {Accepted()}
    assert account.members("L1") == set()


def test_a_job_that_is_cancelled_is_tried_again_later() -> None:
    account = KlaviyoLists("L1")
    account.cancels = 1
    with pytest.raises(DestinationAway, match="the import job-1 was cancelled"):
        sent(account, [message(1, "ann")])
    assert account.members("L1") == set()
    assert sent(account, [message(1, "ann")]) == [Accepted()]
    assert account.members("L1") == {"ann@shop.example"}


def test_a_slow_job_is_awaited() -> None:
    account = KlaviyoLists("L1")
    account.looks = 9
    assert sent(account, [message(1, "ann")]) == [Accepted()]
    assert account.members("L1") == {"ann@shop.example"}


def test_long_addresses_are_looked_up_in_parts() -> None:
    account = KlaviyoLists("L1")
    names = [f"{number:03}" + "x" * 100 for number in range(100)]
    assert set(sent(account, [message(n, name) for n, name in enumerate(names)])) == {Accepted()}
    assert set(sent(account, [message(n, name, "exited") for n, name in enumerate(names, 100)])) == {
        Accepted()
    }
    assert account.members("L1") == set()


def test_a_failed_look_up_repeats_no_address() -> None:
    account = KlaviyoLists("L1")
    account.looks_up = False
    with pytest.raises(DestinationRefuses, match="status 400") as failed:
        sent(account, [message(1, "ann", "exited")])
    assert "ann@" not in str(failed.value)


def test_the_id_of_a_list_leads_nowhere_else() -> None:
    account = KlaviyoLists("../accounts")
    assert sent(account, [message(1, "ann")], {"list": "../accounts"}) == [Accepted()]

    async def check(adapter: Klaviyo) -> bool:
        return (await adapter.check({"list": "../accounts"}))[1].ok

    account.calls.clear()
    assert run(account, check)
    assert account.calls[1] == "GET /api/lists/{}"


def test_a_preview_sends_nothing() -> None:
    account = KlaviyoLists("L1")

    async def preview(adapter: Klaviyo) -> Any:
        return adapter.preview([message(1, "ann"), message(2, "ben", "exited")], BOTH)

    for few, first in ((75, "profile-import"), (0, "profile-bulk-import-jobs")):
        found = run(account, preview, few=few)
        assert [each.url.rpartition("/")[2] for each in found] == [first, "events", "events"]
        assert KEY not in repr(found)
    assert account.calls == []


def test_the_rates_are_those_of_the_contract() -> None:
    for each in api.ENDPOINTS:
        burst, steady = rates(PATHS.get(each.path, each.path), each.method.lower())
        assert each.rate.burst <= burst and each.rate.steady <= steady, each


def test_the_scopes_are_those_of_the_contract() -> None:
    for each in api.ENDPOINTS:
        documented = operation(PATHS.get(each.path, each.path), each.method.lower())["x-klaviyo-scopes"]
        assert each.scopes == tuple(documented), each


def test_addresses_are_normalised() -> None:
    destination = Destination("k", "klaviyo", {"name": "k", "kind": "klaviyo", "key": {"env": "PATH"}})
    adapter = open_adapter(destination, load(), Metrics(CollectorRegistry()))
    assert adapter.address_of(Person("p", email=" Ann@Shop.example ")) == "ann@shop.example"
    assert adapter.address_of(Person("p")) is None
