"""The sandbox page: imaginary events, a clock that moves, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import pytest

from segops.console.page import Data
from segops.console.pages import person as person_page
from segops.core.links import links_of
from segops.operations import erase, split
from segops.schemas.erasures import ErasureRequest, Receipt
from segops.testing import Customer
from tests.console.helpers import Answer, Browser

from .people import ADMIN, ANN, DAY, EDITOR, HOUR, NOON, with_people

PATH = f"/people/{quote(ANN, safe='')}"


def sandbox(form: str = "", **query: object) -> str:
    return f"{PATH}/sandbox{form}?{urlencode(query)}"


def test_segments_change_in_order_with_what_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    events = json.dumps([{"event": "Page", "day": 1.5}, {"event": "Order Completed", "day": 40}])

    async def steps(browser: Browser) -> None:
        result: Data = (await browser.get(sandbox(".json", events=events, days=90), **EDITOR)).json["result"]
        told = [
            (each["action"], each["segment"], (each["at_ms"] - NOON) / DAY, each["event"])
            for each in result["changes"]
        ]
        assert ("exited", "buyer", 29.0, None) in told
        assert ("entered", "buyer", 40.0, 1) in told
        assert ("entered", "idle", 4.5, None) in told
        assert [each[2] for each in told] == sorted(each[2] for each in told)
        entered = next(
            each for each in result["changes"] if each["event"] == 1 and each["segment"] == "buyer"
        )
        assert [(leaf["was"], leaf["holds"]) for leaf in entered["flipped"]] == [(False, True)]
        lane = next(each for each in result["lanes"] if each["segment"] == "buyer")
        assert [round(span["x"]) for span in lane["spans"]] == [0, 444]
        page = await browser.get(sandbox(events=events, days=90), **EDITOR)
        assert "By imaginary event 2" in page.text and 'data-segment="buyer"' in page.text
        assert 'value="90"' in page.text

    with_people(steps, monkeypatch)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"days": "401"}, "days: expected 0 to 400"),
        ({"days": "nan"}, "days: expected 0 to 400"),
        ({"events": "{"}, "events: expected a JSON list of events"),
        ({"events": '[{"day": 1}]'}, "events[0]: a track call names no event"),
        ({"events": '[{"event": "A", "day": "x"}]'}, "events[0]: day: expected a number of days"),
        ({"events": '[{"event": "A", "day": 61}]'}, "until_ms: expected an instant"),
    ],
)
def test_mistakes_are_said_beside_the_form(
    query: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(browser: Browser) -> None:
        found = (await browser.get(sandbox(".json", **query), **EDITOR)).json
        assert (found["result"], text in found["problem"]) == (None, True), found["problem"]
        assert (await browser.get(sandbox(**query), **EDITOR)).status == 200

    with_people(steps, monkeypatch)


def test_nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    events = json.dumps([{"event": "Order Completed", "properties": {"revenue": 9}}] * 3)

    async def steps(browser: Browser) -> None:
        before = (await browser.get(f"{PATH}.json?tab=profile", **EDITOR)).text
        for _ in range(2):
            found = (await browser.get(sandbox(".json", events=events), **EDITOR)).json["result"]
            assert found["now_ms"] == NOON
        assert (await browser.get(f"{PATH}.json?tab=profile", **EDITOR)).text == before

    with_people(steps, monkeypatch)


async def posted(browser: Browser, path: str, fields: Mapping[str, str], user: dict[str, str]) -> Answer:
    token = (await browser.get("/session.json", **user)).json["csrf"]
    return await browser.submit(path, fields, token=token, script=True, **user)


# -- erase and split ---------------------------------------------------------------------------------------


class Operations:
    """Records what was asked of the operations."""

    def __init__(self) -> None:
        self.erased: list[str] = []
        self.split: list[str] = []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Operations:
    found = Operations()

    async def erasing(_settings: object, request: ErasureRequest, *, wait_s: float) -> list[Receipt]:
        found.erased.append(request.profile)
        return [
            Receipt(request.request, "a" * 64, "profile", NOON, []),
            Receipt(request.request, "b" * 64, "nothing", 5, []),
        ]

    async def splitting(_settings: object, profile_id: str) -> object:
        found.split.append(profile_id)
        return type("Found", (), {"sequence": 7})()

    monkeypatch.setattr(erase, "erase", erasing)
    monkeypatch.setattr(split, "split", splitting)
    monkeypatch.setattr(
        person_page,
        "read_receipts",
        lambda _settings, request: erasing(None, ErasureRequest("", request), wait_s=0),
    )
    return found


def test_erasure_needs_the_role_and_the_typed_identifier(
    asked: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(browser: Browser) -> None:
        page = await browser.get(f"{PATH}?tab=manage", **ADMIN)
        assert f'data-typed="{ANN}"' in page.text
        refused = await posted(browser, f"{PATH}/erase", {"confirmation": ANN}, EDITOR)
        assert (refused.status, asked.erased) == (403, [])
        wrong = await posted(browser, f"{PATH}/erase", {"confirmation": "user_id:an"}, ADMIN)
        assert (wrong.status, asked.erased) == (422, [])
        assert f"type {ANN} to confirm" in wrong.text
        done = await posted(browser, f"{PATH}/erase", {"confirmation": ANN}, ADMIN)
        assert (done.status, asked.erased) == (200, [ANN])
        assert done.json["message"].startswith("Erased: 1 of 2 identifiers")
        receipts = await browser.get(done.json["location"], **ADMIN)
        assert "a" * 64 in receipts.text
        assert (await browser.get(done.json["location"], **EDITOR)).status == 403
        assert ("person.erase", "done") in browser.audit.said

    with_people(steps, monkeypatch)


def test_a_merged_profile_is_split_off(asked: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    merged = Customer(NOON, buyer={"did": "Order Completed"})
    merged.profile.id = "user_id:two"
    merged.did("Page", NOON - HOUR)
    links = links_of(merged.profile)
    links.owned += ["anonymous_id:a1"]
    links.merged["anonymous_id:a1"] = 3

    async def steps(browser: Browser) -> None:
        path = "/people/user_id%3Atwo"
        page = await browser.get(f"{path}?tab=manage", **ADMIN)
        assert 'value="anonymous_id:a1"' in page.text
        other = {"source": "anonymous_id:zz", "confirmation": "anonymous_id:zz"}
        assert (await posted(browser, f"{path}/split", other, ADMIN)).status == 422
        right = {"source": "anonymous_id:a1", "confirmation": "anonymous_id:a1"}
        assert (await posted(browser, f"{path}/split", right, EDITOR)).status == 403
        done = await posted(browser, f"{path}/split", right, ADMIN)
        assert (done.status, asked.split) == (200, ["anonymous_id:a1"])
        assert "hand-over 7" in done.json["message"]

    with_people(steps, monkeypatch, people={"user_id:two": merged})
