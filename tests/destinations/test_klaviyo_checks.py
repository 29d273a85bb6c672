"""A check of Klaviyo finds missing scopes, lists that are gone, and live flows, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.core.errors import UserError
from segops.destinations.kinds import refuse_for_existing
from segops.destinations.klaviyo.adapter import Klaviyo
from segops.destinations.model import Destination
from segops.destinations.port import Finding
from segops.metrics import Metrics
from tests.klaviyo import virtual_time

from .klaviyo_runs import BOTH, LIST, METRIC, run
from .klaviyo_server import KEY, SCOPES, KlaviyoLists


def checked(account: KlaviyoLists, options: Any) -> Sequence[Finding]:
    async def check(adapter: Klaviyo) -> Sequence[Finding]:
        return await adapter.check(options)

    return run(account, check)


def bad(found: Sequence[Finding]) -> list[str]:
    return [each.text for each in found if not each.ok]


def test_a_check_says_what_was_verified_and_writes_nothing() -> None:
    account = KlaviyoLists("L1")
    found = checked(account, BOTH)
    assert [each.text for each in found] == [
        "the account: found",
        "the list L1: found",
        "members of the list L1: found",
        "POST /api/profile-bulk-import-jobs: allowed",
        "POST /api/events: allowed",
    ]
    assert bad(found) == []
    assert (account.jobs, account.events, account.profiles) == ({}, {}, {})
    assert bad(checked(account, METRIC)) == bad(checked(account, {})) == []


def test_a_check_waits_while_others_have_used_up_the_rate() -> None:
    account = KlaviyoLists("L1")
    account.faults, account.retry_after_s = ["429"], 7
    assert bad(checked(account, METRIC)) == []
    account.faults, account.retry_after_s = ["429"], 600
    assert bad(checked(account, METRIC)) == ["the account: status 429"]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("options", [LIST, METRIC, BOTH])
def test_a_check_finds_each_scope_that_is_missing_and_needed(scope: str, options: dict[str, str]) -> None:
    account = KlaviyoLists("L1")
    account.scopes = tuple(each for each in SCOPES if each != scope)
    needed = {"accounts:read", "profiles:write"}
    if "list" in options:
        needed |= {"lists:read", "lists:write", "profiles:read", "flows:read"}
    if "metric" in options:
        needed |= {"events:write"}
    found = bad(checked(account, options))
    assert all(scope in each for each in found)
    assert bool(found) == (scope in needed)


def test_a_check_finds_that_a_list_is_gone() -> None:
    found = bad(checked(KlaviyoLists(), LIST))
    assert "A list with id L1 does not exist" in found[0]


@pytest.mark.parametrize(
    ("status", "lives"), [("live", True), ("draft", False), ("manual", False), ("archived live", False)]
)
def test_a_live_flow_is_bad_for_existing_members_only(status: str, lives: bool) -> None:
    account = KlaviyoLists("L1")
    account.flows = {"L1": [("Welcome", status)]}
    found = checked(account, LIST)
    assert bad(found) == []
    assert [each.text for each in found if not each.is_ok("send")] == (
        ["the list L1: each entry begins the live flow 'Welcome'"] if lives else []
    )
    assert all(each.is_ok("only_new") for each in found)


def test_an_incomplete_request_that_is_taken_is_reported() -> None:
    account = KlaviyoLists()
    account.validates = False
    account._carry_out = lambda *_: (202, None)  # type: ignore[method-assign]
    found = bad(checked(account, METRIC))
    assert found == [
        f"POST /api/{path}: expected status 400 for an incomplete request, got status 202 null"
        for path in ("profile-import", "events")
    ]


# -- before existing members are sent ----------------------------------------------------------------------


def refused(account: KlaviyoLists, options: Any, monkeypatch: pytest.MonkeyPatch, *, key: str = KEY) -> str:
    async def work() -> str:
        async with account.serving() as url:
            written = {"name": "k", "kind": "klaviyo", "key": {"env": "KLAVIYO_KEY"}, "url": url}
            destination = Destination("k", "klaviyo", written)
            try:
                await refuse_for_existing(destination, options, load(), Metrics(CollectorRegistry()))
            except UserError as error:
                return str(error)
            return ""

    monkeypatch.setenv("KLAVIYO_KEY", key)
    return virtual_time.run(work())


def test_existing_members_are_refused_where_they_begin_a_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    account = KlaviyoLists("L1")
    assert refused(account, LIST, monkeypatch) == ""
    account.flows = {"L1": [("Welcome", "live")]}
    assert refused(account, LIST, monkeypatch) == "k: the list L1: each entry begins the live flow 'Welcome'"
    assert refused(account, METRIC, monkeypatch) == ""


def test_existing_members_are_refused_where_flows_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    account = KlaviyoLists("L1")
    assert "status 401" in refused(account, LIST, monkeypatch, key="pk_wrong")
    assert "KLAVIYO_KEY is not set" in refused(account, LIST, monkeypatch, key="")
