"""The pages and actions of destinations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from segops import config
from segops.console.page import Role
from segops.console.pages import destinations
from segops.core.delivery.deciding import Ask
from segops.core.errors import UserError
from segops.delivery import views
from segops.delivery.entries import Address

from .activation_board import Board, audience, full
from .activation_fakes import HOSTILE, entries_of_dead, patch
from .activation_store import post_as
from .helpers import PROXY, Browser, MemoryAudit, as_user, serve


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Return what is asked of the delivery: the action, and the addresses."""
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    patch(monkeypatch.setattr)
    found: list[tuple[str, list[str]]] = []

    async def ask(_: Any, action: Ask, addresses: Iterable[Address]) -> None:
        found.append((action, sorted(each.address for each in addresses)))

    async def read_entries(_: Any) -> Any:
        return entries_of_dead()

    monkeypatch.setattr(views, "ask", ask)
    monkeypatch.setattr(views, "read_entries", read_entries)
    return found


@pytest.fixture
def board() -> Board:
    return full()


def test_list_shows_what_takes_messages_and_what_waits(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/destinations.json")).json
        hook, klaviyo = found["destinations"]
        assert (hook["name"], hook["state"], hook["reason"], hook["oldest_ms"]) == (
            "crm-hook", "closed", "status 503", 95_000,
        )  # fmt: skip
        assert (klaviyo["rate"], klaviyo["told"], klaviyo["dead"], klaviyo["audiences"]) == (
            54.5,
            1_912,
            3,
            3,
        )
        assert (found["closed"], found["waiting"], found["dead"]) == (1, 123, 3)
        assert "status 503" in (await browser.get("/destinations")).text

    async def none(browser: Browser) -> None:
        assert "No destinations yet" in (await browser.get("/destinations")).text

    serve(steps, board=board)
    serve(none, board=Board())


def test_page_has_deliveries_the_definition_and_dead_messages(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/destinations/klaviyo-main.json")).json
        rows = {each["key"]: (each["state"], each["told"]) for each in found["deliveries"]}
        assert rows == {
            "cart-push": ("held", None), "vip-thanks": ("waiting", None), "winback-email": ("active", 1_912),
        }  # fmt: skip
        assert [each["address"] for each in found["dead_messages"]] == [
            f"u{n}@shop.example" for n in (1, 2, 3)
        ]
        page = (await browser.get("/destinations/klaviyo-main")).text
        assert "KLAVIYO_KEY" in page and "status 400 invalid address" in page and "Drop all" in page
        assert "It takes nothing at present" in (await browser.get("/destinations/crm-hook")).text
        assert (await browser.get("/destinations/none")).status == 404

    serve(steps, board=board)


def test_addresses_are_masked_for_viewers_and_reading_them_is_audited(board: Board) -> None:
    audit = MemoryAudit()

    async def steps(browser: Browser) -> None:
        for path in ("/destinations/klaviyo-main", "/destinations/klaviyo-main.json"):
            text = (await browser.get(path, **as_user("viewer"))).text
            assert "shop.example" not in text and "user_id:" not in text and "••••••" in text
        assert audit.entries == []
        assert "u1@shop.example" in (await browser.get(path, **as_user("editor"))).text
        assert [each.action for each in audit.entries] == ["destination.dead"]

    serve(steps, board=board, audit=audit, **PROXY)


def test_dead_messages_are_told_again_or_dropped(board: Board, asked: list[tuple[str, list[str]]]) -> None:
    async def steps(browser: Browser) -> None:
        one = {"audience": "winback-email", "address": "u2@shop.example"}
        done = await browser.post("/destinations/klaviyo-main/retry", one, script=True)
        assert done.json["message"] == "Asked to tell again: 1 messages."
        assert (await browser.post("/destinations/klaviyo-main/drop", script=True)).status == 200
        for name, fields in (("crm-hook", {}), ("klaviyo-main", {"audience": "vip-thanks"})):
            refused = await browser.post(f"/destinations/{name}/drop", fields, script=True)
            assert "no destination has refused such a message" in refused.json["error"]

    serve(steps, board=board)
    everyone = [f"u{n}@shop.example" for n in (1, 2, 3)]
    assert asked == [("retry", ["u2@shop.example"]), ("drop", everyone)]


def test_audit_of_an_answer_names_no_person(board: Board) -> None:
    audit = MemoryAudit()

    async def steps(browser: Browser) -> None:
        fields = {"audience": "winback-email", "address": "u2@shop.example"}
        await browser.post("/destinations/klaviyo-main/retry", fields, script=True)
        noted = [entry for entry in audit.entries if entry.action == "delivery.retry"]
        assert noted and not any("u2@" in str(entry) for entry in noted)

    serve(steps, board=board, audit=audit)


def test_roles(board: Board, asked: list[tuple[str, list[str]]]) -> None:
    assert {each.name: each.role for each in destinations.ACTIONS} == {
        "delivery.retry": Role.APPROVER, "delivery.drop": Role.ADMIN,
    }  # fmt: skip

    async def steps(browser: Browser) -> None:
        path = "/destinations/klaviyo-main"
        assert (await post_as(browser, f"{path}/drop", {}, "approver", "bob")).status == 403
        page = (await browser.get(path, **as_user("approver"))).text
        assert f"{path}/retry" in page and f"{path}/drop" not in page
        assert (await browser.get(f"{path}/check", **as_user("viewer"))).status == 403
        assert asked == []

    serve(steps, board=board, **PROXY)


def test_check_shows_its_findings_or_why_there_are_none(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lacking(*_: Any) -> Any:
        raise UserError("the environment variable KLAVIYO_KEY is not set")

    async def steps(browser: Browser) -> None:
        page = await browser.get("/destinations/klaviyo-main/check?audience=winback-email")
        assert "the list XyZ123 begins a live flow" in page.text and "to be mended" in page.text
        monkeypatch.setattr(destinations, "check", lacking)
        page = await browser.get("/destinations/klaviyo-main/check")
        assert page.status == 200 and "KLAVIYO_KEY is not set" in page.text

    serve(steps, board=board)


def test_hostile_texts_are_shown_as_texts(board: Board) -> None:
    board.destination("bad", HOSTILE[:60], url=HOSTILE)
    board.gates["bad"] = {
        "state": "closed",
        "reason": HOSTILE,
        "waiting": 1,
        "oldest_ms": 1,
        "per_minute": {},
    }
    board.destination(HOSTILE, "webhook")
    board.add(audience(key="bad-one", deliver=[{"to": "bad"}]), "active")

    async def steps(browser: Browser) -> None:
        for path in ("/destinations", "/destinations/bad", "/destinations/bad/check"):
            text = (await browser.get(path)).text
            assert "<script>alert" not in text
            assert "check" in path or "&lt;script&gt;alert" in text

    serve(steps, board=board)
