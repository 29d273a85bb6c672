"""Pages in a real browser, as people see them: Debian's Chromium, driven by playwright.

Flows are coroutines, since a test's other helpers call ``asyncio.run``, which playwright's blocking form does
not allow in its thread: call such helpers by ``asyncio.to_thread``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, async_playwright

#: Widths of a telephone and of a desk.
NARROW, WIDE = 375, 1_440
_HEIGHTS: Final = {NARROW: 812, WIDE: 900}
_TIMEOUT_MS: Final = 20_000
#: Rules of WCAG 2.2 at the levels A and AA, and what axe recommends besides.
_AXE: Final = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
#: A browser reports each failed request: pages answer 4xx on purpose, and servers are killed.
_FAILED_REQUEST: Final = "Failed to load resource: "


class Faults:
    """What went wrong in pages without anyone seeing it: errors of scripts, refused and foreign requests."""

    def __init__(self, origin: str) -> None:
        self._host = urlsplit(origin).netloc
        self.found: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", lambda error: self.found.append(f"error: {error.error}"))
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_FAILED_REQUEST):
            self.found.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self._host:
            self.found.append(f"foreign request: {request.url}")


@asynccontextmanager
async def browsing(
    origin: str, *, width: int = WIDE, scheme: str = "light", **options: Any
) -> AsyncIterator[BrowserContext]:
    """Provide a browser of its own with ``origin`` as its base. Fails if its pages had faults."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "chromium is required: apt-get install chromium"
    faults = Faults(origin)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = await browser.new_context(
            base_url=origin,
            viewport={"width": width, "height": _HEIGHTS.get(width, 900)},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            **options,
        )
        context.set_default_timeout(_TIMEOUT_MS)
        faults.watch(context)
        try:
            yield context
        finally:
            await browser.close()
    assert faults.found == [], faults.found


def browse(
    origin: str,
    flow: Callable[[Page], Coroutine[Any, Any, None]],
    *,
    width: int = WIDE,
    scheme: str = "light",
) -> None:
    """Run a flow in one page of a browser of its own."""

    async def run() -> None:
        async with browsing(origin, width=width, scheme=scheme) as context:
            page = await context.new_page()
            try:
                await flow(page)
            except BaseException:
                await keep_picture(page, f"failed-{getattr(flow, '__name__', 'flow')}")
                raise

    asyncio.run(run())


async def keep_picture(page: Page, name: str) -> None:
    """Keep a picture of the page in the folder SEGOPS_PICTURES, if it is set."""
    if folder := os.environ.get("SEGOPS_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def check_accessible(page: Page) -> None:
    """Fail with every violation that axe finds on the page as it is."""
    results = await Axe().run(page, options=_AXE)
    found = [
        f"{each['id']}: {each['help']}: {node['html'][:300]}"
        for each in results.response["violations"]
        for node in each["nodes"]
    ]
    assert found == [], f"{page.url}\n" + "\n".join(found)


async def check_fits(page: Page) -> None:
    """Fail if the page scrolls sideways."""
    wide, seen = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= seen, f"{page.url} is {wide} pixels wide, and {seen} are seen"
