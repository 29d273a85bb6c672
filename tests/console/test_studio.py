"""The studio's pages: requests, questions, refusals and follow-ups, and suggestions with sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import yaml

from segops.console.pages import studio
from segops.core.errors import SegopsError
from segops.studio.catalogue import StudioCatalogue
from segops.studio.proposal import Proposal, Span
from segops.studio.rules import check_rule
from segops.studio.suggestions import Candidate
from tests.console.drafting import Board, answer
from tests.console.helpers import Answer, Browser, serve

HOSTILE = '<script>alert(1)</script> "x" ordered'


def visited(path: str, board: Any = None, **query: str) -> Answer:
    found: list[Answer] = []

    async def steps(browser: Browser) -> None:
        found.append(await browser.get(f"{path}?{urlencode(query)}" if query else path))

    serve(steps, board=board or Board())
    return found[0]


def said(board: Any = None, **query: str) -> Any:
    return visited("/studio.json", board, **query).json


def test_a_request_becomes_a_rule_that_opens_in_the_builder() -> None:
    found = said(q="ordered at least 3 times in the last 30 days")
    assert found["answer"]["outcome"] == "rule", found
    rule = {"did": "Order", "count": {"gte": 3}, "within": "30d"}
    assert found["answer"]["rule"] == rule
    address = urlsplit(found["builder"])
    document = yaml.safe_load(parse_qs(address.query)["text"][0])
    assert address.path == "/builder" and document["segments"][0]["when"] == rule
    assert visited(found["builder"]).status == 200
    marked = [each["text"] for each in found["words"] if each["tone"] == "good"]
    assert marked and "".join(each["text"] for each in found["words"]) == found["q"]


def test_a_follow_up_changes_the_rule() -> None:
    first = said(q="ordered at least 3 times in the last 30 days")
    found = said(q=first["q"], rule=first["rule"], change="make it 60 days")
    assert found["answer"]["rule"] == {"did": "Order", "count": {"gte": 3}, "within": "60d"}
    assert json.loads(found["rule"]) == found["answer"]["rule"]
    assert "--rule" in found["cli"]


def test_a_vague_request_is_a_question_and_its_words_are_marked() -> None:
    found = said(q="ordered flying carpets in the last 30 days")
    assert found["answer"]["outcome"] == "question" and found["builder"] == ""
    assert "bad" in {each["tone"] for each in found["words"]}
    page = visited("/studio", q="ordered flying carpets in the last 30 days").text
    assert found["answer"]["question"].split('"')[0] in page


@pytest.mark.parametrize("rule", ["{", "[]", '{"did": 5}', '{"did": "Order", "within": "soon"}'])
def test_a_rule_in_the_address_that_is_none_is_said(rule: str) -> None:
    found = said(q="a", rule=rule, change="make it 60 days")
    assert found["answer"] is None and "the rule in the address" in found["missing"]


def test_without_a_catalogue_the_page_says_how_to_get_one() -> None:
    board = Board()
    board.catalogue, board.traits = [], None
    assert "segops catalogue run" in visited("/studio", board).text


def test_a_hostile_request_is_text() -> None:
    page = visited("/studio", q=HOSTILE)
    assert page.status == 200 and "<script>alert" not in page.text and "&lt;script&gt;" in page.text


def test_pieces_cover_the_request_whatever_was_understood() -> None:
    spans = (Span(4, 7, "two", "all[0]"), Span(0, 3, "one", ""))
    pieces = studio.words_of("one two three", Proposal("rule", understood=spans))
    assert [each["text"] for each in pieces] == ["one", " ", "two", " three"]
    assert [each["tone"] for each in pieces] == ["", "", "good", ""]


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def by(scan: Any) -> None:
        monkeypatch.setattr(studio, "patient_scan", scan)

    return by


def test_suggestions_have_measured_sizes_and_open_in_the_builder(
    scanned: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()

    async def scan(_settings: Any, question: Any, *, wait_s: float) -> Any:
        return answer(question, board.definitions)

    def found_in(catalogue: StudioCatalogue) -> list[Candidate]:
        rule = {"trait": "country", "is": {"eq": "DE"}}
        definition = check_rule(rule, catalogue, "repeat").definition
        assert definition is not None
        return [Candidate("repeat", definition, "in Germany", "They come back.", 4)]

    scanned(scan)
    monkeypatch.setattr(studio, "candidates", found_in)
    found = visited("/studio/suggestions.json", board).json
    assert found["missing"] == ""
    (each,) = found["suggestions"]
    assert (each["size"], each["share"]) == (14, 0.35)  # of forty
    assert visited(each["builder"], board).status == 200
    page = visited("/studio/suggestions", board).text
    assert "They come back." in page and "≈" not in page
    board.sizes.known = 25_000
    (each,) = visited("/studio/suggestions.json", board).json["suggestions"]
    assert each["low"] < each["size"] < each["high"]
    assert f"≈ {each['size']}" in (page := visited("/studio/suggestions", board).text)
    assert f"{each['low']} to {each['high']}" in page


def test_suggestions_without_workers_say_so(scanned: Callable[[Any], None]) -> None:
    async def scan(_settings: Any, _question: Any, *, wait_s: float) -> Any:
        raise SegopsError("no worker answers")

    scanned(scan)
    assert "no worker answers" in visited("/studio/suggestions").text
