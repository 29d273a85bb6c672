"""Scores in the builder, in a browser: the threshold is moved by keyboard, and what it says follows."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.console.browser.chromium import BuilderPage, chromium, console, in_memory, needs_chromium
from tests.console.drafting import Board
from tests.core import models as forms

pytestmark = [pytest.mark.browser, needs_chromium]

expect.set_options(timeout=20_000)
LEAF = '["segments",0,"when"'
KEEN = {"name": "orders", "figure": {"did": "Order", "within": "30d"}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[BuilderPage]:
    board = Board()
    board.publish(forms.logistic("keen", [KEEN], [1.0]))
    in_memory(monkeypatch, board)
    with console(board) as (address, _):
        page = browser.new_context().new_page()
        found = BuilderPage(page, address)
        yield found
        page.context.close()
        assert found.problems == []


def satisfying(threshold: float) -> int:
    """Return how many of the forty profiles have the score: eight each of 0 to 4 orders."""
    scores = {0: 0.377541, 1: 0.622459, 2: 0.817574, 3: 0.924142, 4: 0.970688}
    return sum(8 for score in scores.values() if score >= threshold)


def test_a_threshold_is_moved_by_keyboard_and_the_count_follows(opened: BuilderPage) -> None:
    rule = {"score": "keen", "is": {"gte": 0.5}}
    opened.open(f"/builder?text={json.dumps(rule)}")
    page = opened.page
    expect(page.locator(".histogram")).to_contain_text(f"{satisfying(0.5)} of 40 sampled profiles")
    line = opened.control(f'{LEAF},"is","gte"]line')
    assert [line.get_attribute(f"aria-value{each}") for each in ("min", "max", "now")] == ["0", "1", "0.5"]
    line.focus()
    for _ in range(2):
        page.keyboard.press("PageUp")
        opened.settled()
    expect(page.locator(".histogram")).to_contain_text(f"{satisfying(0.7)} of 40 sampled profiles")
    page.keyboard.press("ArrowRight")
    opened.settled()
    written = json.loads(opened.document())["segments"][0]["when"]
    assert written == {"score": "keen", "is": {"gte": 0.71}}
    assert page.evaluate("() => document.activeElement.getAttribute('role')") == "slider"
    expect(page.locator("[data-part=estimate]")).to_contain_text(f"{satisfying(0.71)} of 40 profiles")
    page.keyboard.press("End")
    opened.settled()
    expect(page.locator(".histogram")).to_contain_text("0 of 40 sampled profiles")


def test_a_score_gets_a_threshold_for_entering_and_one_for_leaving(opened: BuilderPage) -> None:
    opened.open(f"/builder?text={json.dumps({'score': 'keen', 'is': {'gte': 0.8}})}")
    opened.control(f'{LEAF},"score"]sides').select_option("sides")
    opened.settled()
    written = json.loads(opened.document())["segments"][0]["when"]
    assert written == {"score": "keen", "enter": {"gte": 0.8}, "exit": {"lt": 0.72}}
    expect(opened.page.locator(".histogram")).to_contain_text(
        "24 of 40 sampled profiles would enter, 16 would leave"
    )
    sliders = opened.page.get_by_role("slider")
    assert [each.get_attribute("aria-label") for each in sliders.all()] == [
        "threshold for entering",
        "threshold for leaving",
    ]
    opened.control(f'{LEAF},"score"]sides').select_option("one")
    opened.settled()
    assert json.loads(opened.document())["segments"][0]["when"] == {"score": "keen", "is": {"gte": 0.8}}


def test_a_threshold_that_is_dragged_says_its_count_before_it_is_let_go(opened: BuilderPage) -> None:
    opened.open(f"/builder?text={json.dumps({'score': 'keen', 'is': {'gte': 0.5}})}")
    page = opened.page
    expect(page.locator(".histogram")).to_contain_text("32 of 40")
    grip = page.locator(".histogram .grip").bounding_box()
    drawing = page.locator(".histogram svg").bounding_box()
    assert grip is not None and drawing is not None
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + 20)
    page.mouse.down()
    page.mouse.move(drawing["x"] + drawing["width"] * 0.95, grip["y"] + 20, steps=4)
    expect(page.locator(".histogram")).to_contain_text("8 of 40")
    assert json.loads(opened.document())["segments"][0]["when"]["is"] == {"gte": 0.5}
    page.mouse.up()
    opened.settled()
    assert json.loads(opened.document())["segments"][0]["when"]["is"] == {"gte": 0.95}
