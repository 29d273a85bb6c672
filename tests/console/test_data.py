"""The pages of data: sources, catalogue, violations, dead letters, and their replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from segops import config
from segops.catalogue.views import FieldView
from segops.console.page import Role
from segops.console.pages import _sources, data
from segops.console.pages.data import hex_of, text_of
from segops.core.errors import UserError
from segops.operations import dead_letters
from segops.operations.dead_letters import DeadLetter, Letters, Replayed

from .activation_board import Board, event, full
from .activation_fakes import HOSTILE, LETTERS, patch
from .activation_store import post_as
from .helpers import PROXY, Browser, MemoryAudit, as_user, serve


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[DeadLetter]:
    """Return the dead letters that were sent once more."""
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    patch(monkeypatch.setattr)
    found: list[DeadLetter] = []

    async def replay(settings: Any, letters: Sequence[DeadLetter]) -> list[Replayed]:
        tried = [dead_letters.tried(each, settings, now_ms=each.at_ms) for each in letters]
        found.extend(each for each, one in zip(letters, tried, strict=True) if one.profile_id)
        return tried

    monkeypatch.setattr(dead_letters, "replay", replay)
    return found


@pytest.fixture
def board() -> Board:
    return full()


def test_sources_are_what_was_seen_mapped_and_pulled(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/data.json")).json
        assert [(each["source"], each["events"]) for each in found["seen"]] == [("website", 2)]
        assert [(each["topic"], each["lag"]) for each in found["topics"]] == [("orders.v1", 1_204)]
        assert [(each["kind"], each["state"]) for each in found["pulls"]] == [
            ("Klaviyo", "running"),
            ("import", "done"),
        ]
        page = (await browser.get("/data")).text
        assert "orders.csv" in page and "/tmp/orders.csv" not in page

        async def away(*_: Any) -> Any:
            raise UserError("cannot reach a Kafka broker")

        monkeypatch.setattr(_sources, "mapped_topics", away)
        partial = await browser.get("/data")
        assert partial.status == 200 and "cannot reach a Kafka broker" in partial.text
        assert "orders.csv" in partial.text

    serve(steps, board=board)


def test_record_of_another_version_is_no_pull() -> None:
    assert _sources.pull_of(b'{"format": 99}') is None
    assert _sources.pull_of(b"\xff") is None


def test_catalogue_lists_events_and_the_properties_of_one(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/data/catalogue.json?q=currency")).json
        assert [each["event"] for each in found["events"]] == ["Order Completed"]
        one = (await browser.get("/data/catalogue.json?event=Order%20Completed")).json["event"]
        assert [(each["name"], each["values"], each["range"]) for each in one["properties"]] == [
            ("total", "", "1 to 990"),
            ("currency", "EUR 4,000, USD 500", None),
        ]
        assert (await browser.get("/data/catalogue?event=None")).status == 404
        assert "EUR 4,000" in (await browser.get("/data/catalogue?event=Order+Completed")).text

    serve(steps, board=board)


def test_violations_are_filtered_by_the_address(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/data/violations.json")).json
        assert [(each["count"], each["source"]) for each in found["violations"]] == [
            (214, "website"),
            (3, "app"),
        ]
        assert found["hours"] == 24
        found = (await browser.get("/data/violations.json?source=app&hours=168")).json
        assert (found["count"], found["hours"]) == (3, 168)
        assert (await browser.get("/data/violations.json?hours=99999999")).json["hours"] == 24
        assert "properties.total" in (await browser.get("/data/violations")).text

    serve(steps, board=board)


def test_dead_letters_say_whether_they_can_be_replayed(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get("/data/dead-letters.json")).json
        assert [(each["id"], each["replayable"]) for each in found["letters"]] == [
            ("0:17", True),
            ("1:3", False),
            ("2:9", False),
        ]
        assert found["total"] == 1_204
        one = (await browser.get("/data/dead-letters.json?reason=too_large")).json
        assert [each["id"] for each in one["letters"]] == ["0:17"]
        shopify = (await browser.get("/data/dead-letters/2:9")).text
        assert "a webhook of Shopify, not an event" in shopify and "/replay" not in shopify
        assert (await browser.get("/data/dead-letters/9:9")).status == 404

    serve(steps, board=board)


def test_bytes_are_shown_escaped_and_in_hexadecimal_digits(board: Board) -> None:
    async def steps(browser: Browser) -> None:
        page = (await browser.get("/data/dead-letters/1:3")).text
        assert r"\xff\x00" in page and r"\u202e" in page and "\u202e" not in page
        assert "<script>alert" not in page and "&lt;script&gt;alert" in page
        assert "00000000  7b 22 74 79 70 65" in page

    serve(steps, board=board)


def test_text_and_digits_of_bytes() -> None:
    every = bytes(range(256))
    assert len(hex_of(every).splitlines()) == 16
    assert all(character.isprintable() or character == "\n" for character in text_of(every * 2))
    assert text_of("naïve 👍".encode()) == "naïve 👍"
    assert text_of("\U000e0001".encode()) == "\\U000e0001"


def test_bytes_and_details_are_for_those_who_may_see_personal_data(board: Board) -> None:
    audit = MemoryAudit()

    async def steps(browser: Browser) -> None:
        for path in ("/data/dead-letters/0:17", "/data/dead-letters/0:17.json", "/data/dead-letters.json"):
            text = (await browser.get(path, **as_user("viewer"))).text
            assert "Visited" not in text and "36,864" not in text and "user_id:u1" not in text
        assert audit.entries == []
        shown = await browser.get("/data/dead-letters/0:17", **as_user("editor"))
        assert "Visited" in shown.text and "user_id:u1" in shown.text
        assert [each.action for each in audit.entries] == ["dead_letter.read"]

    serve(steps, board=board, audit=audit, **PROXY)


def test_admin_replays_a_dead_letter_and_that_is_audited(board: Board, sent: list[DeadLetter]) -> None:
    audit = MemoryAudit()
    assert [each.role for each in data.ACTIONS] == [Role.ADMIN]

    async def steps(browser: Browser) -> None:
        path = "/data/dead-letters/0:17/replay"
        assert "/replay" not in (await browser.get("/data/dead-letters/0:17", **as_user("approver"))).text
        assert (await post_as(browser, path, {}, "approver", "bob")).status == 403
        assert sent == []
        assert (await post_as(browser, path, {}, "admin", "root")).status == 200
        assert sent == [LETTERS[0]]
        refused = await post_as(browser, "/data/dead-letters/1:3/replay", {}, "admin", "root")
        assert refused.status == 422 and "would be rejected again" in refused.json["error"]
        assert (await post_as(browser, "/data/dead-letters/9:9/replay", {}, "admin", "root")).status == 404
        assert len(sent) == 1

    serve(steps, board=board, audit=audit, **PROXY)
    done = [entry.result for entry in audit.entries if entry.action == "dead_letter.replay"]
    assert "done" in done


def test_hostile_names_are_shown_as_texts(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.catalogue.append(event(HOSTILE, FieldView(HOSTILE, 1.0, {"string": 1}, {HOSTILE: 1}, None)))
    letter = DeadLetter("3:1", 0, HOSTILE, HOSTILE, HOSTILE, False, None, HOSTILE.encode())

    async def latest(*_: Any, **__: Any) -> Letters:
        return Letters([letter], 1)

    monkeypatch.setattr(dead_letters, "latest", latest)

    async def steps(browser: Browser) -> None:
        row = (await browser.get("/data/catalogue.json?q=script")).json["events"][0]
        for path in ("/data/catalogue", row["href"], "/data/dead-letters"):
            answer = await browser.get(path)
            assert answer.status == 200
            assert "<script>alert" not in answer.text and "&lt;script&gt;alert" in answer.text

    serve(steps, board=board)
