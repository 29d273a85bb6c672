"""Models, scores of a person and painting on the grid of RFM, in a browser: by keyboard, narrow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from playwright.async_api import Page, expect

from segops.console.pages import rfm as rfm_page
from tests.browser import NARROW, WIDE, browsing, check_accessible, keep_picture
from tests.console.board import FilledBoard
from tests.console.browser.chromium import needs_chromium
from tests.console.helpers import PROXY, Browser, serve
from tests.console.people import with_people
from tests.console.test_models import board_of_models
from tests.console.test_person_scores import BEA, bea
from tests.console.test_rfm_tier import _grid

pytestmark = [pytest.mark.browser, needs_chromium]

EDITOR = {"X-User": "ed", "X-Role": "editor"}
Steps = Callable[[Page], Awaitable[None]]


async def visit(served: Browser, steps: Steps, *, width: int = WIDE, scheme: str = "light") -> None:
    """Run steps as an editor in a page of a browser of its own."""
    origin = str(served.client.make_url("/").origin())
    async with browsing(origin, width=width, scheme=scheme, extra_http_headers=EDITOR) as context:
        await steps(await context.new_page())


async def fits(page: Page) -> bool:
    """Return whether nothing is wider than the window."""
    wide: bool = await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return wide


def test_a_tier_is_painted_by_keyboard_and_by_dragging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfm_page, "read_grid", _grid)

    async def flow(page: Page) -> None:
        await page.goto("/rfm")
        await page.get_by_role("checkbox", name="R5, F4").focus()
        await page.keyboard.press("Space")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Space")
        await expect(page.locator("[data-painted]")).to_have_text("45 people in 2 cells")
        start, end = (
            page.locator("td", has=page.locator("[name='c4-4']")),
            page.locator("td", has=page.locator("[name='c4-5']")),
        )
        one, other = await start.bounding_box(), await end.bounding_box()
        assert one is not None and other is not None
        await page.mouse.move(one["x"] + 4, one["y"] + one["height"] - 4)
        await page.mouse.down()
        await page.mouse.move(other["x"] + 8, other["y"] + other["height"] - 4, steps=5)
        await page.mouse.up()
        await expect(page.locator("[data-painted]")).to_have_text("81 people in 4 cells")
        await check_accessible(page)
        await keep_picture(page, "rfm-painting")
        await page.get_by_label("Name a tier of the chosen cells").fill("Keep_Close")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/rfm/tier?**")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Draft of the tier keep close")
        await check_accessible(page)
        await keep_picture(page, "rfm-tier")
        address = await page.get_by_role("link", name="Open in the builder").get_attribute("href")
        draft = yaml.safe_load(parse_qs(urlsplit(address or "").query)["text"][0])
        assert draft["rfm"]["tiers"]["keep_close"] == {"recency": [4, 5], "frequency": [4, 5]}
        assert draft["segments"][0]["when"] == {"rfm": "keep_close"}

    async def narrow(page: Page) -> None:
        for path in ("/rfm", "/rfm/tier?name=vip&c5-5=on"):
            await page.goto(path)
            assert await fits(page), path
            await check_accessible(page)
            await keep_picture(page, f"narrow-{path[1:9].replace('/', '-')}")

    async def steps(served: Browser) -> None:
        await visit(served, flow)
        await visit(served, narrow, width=NARROW, scheme="dark")

    with_people(steps, monkeypatch)


def test_scores_of_a_person_have_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def flow(page: Page) -> None:
        await page.goto("/people/user_id%3Abea?tab=profile")
        await expect(page.locator(".score-card svg.chart-svg path").first).to_be_visible()
        assert await fits(page)
        await check_accessible(page)
        width = await page.evaluate("window.innerWidth")
        await keep_picture(page, f"person-scores-{width}")

    async def steps(served: Browser) -> None:
        await visit(served, flow)
        await visit(served, flow, width=NARROW, scheme="dark")

    with_people(steps, monkeypatch, people={BEA: bea()})


def test_models_are_shown_on_every_width() -> None:
    board: FilledBoard = board_of_models()

    async def flow(page: Page) -> None:
        for path in ("/data/models", "/data/models/convert_24h", "/data/models/buying"):
            await page.goto(path)
            assert await fits(page), path
            await check_accessible(page)
            width = await page.evaluate("window.innerWidth")
            await keep_picture(page, f"{path[1:].replace('/', '-')}-{width}")

    async def steps(served: Browser) -> None:
        await board.tick()
        await visit(served, flow)
        await visit(served, flow, width=NARROW, scheme="dark")

    serve(steps, board=board, **PROXY)
