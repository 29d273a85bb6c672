"""A page in Chromium on a console in the process of the test, whose board and workers are in memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from segops.console.drafts import estimating, publishing
from segops.console.pages import builder
from segops.schemas.segments import definition_from_record
from tests.console import helpers
from tests.console.drafting import Board, answer

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: In CI a missing Chromium fails the tests; elsewhere it leaves them out.
needs_chromium = pytest.mark.skipif(
    BINARY is None and not os.environ.get("CI"), reason="no Chromium is installed"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a running Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def console(board: Board, **settings: object) -> Iterator[tuple[str, helpers.MemoryAudit]]:
    """Yield the address of a console with a board, in a thread of its own, and its audit."""
    audit, ready = helpers.MemoryAudit(), threading.Event()
    found: list[str] = []
    loops: list[asyncio.AbstractEventLoop] = []
    stop = asyncio.Event()

    async def steps(browser: helpers.Browser) -> None:
        loops.append(asyncio.get_running_loop())
        found.append(str(browser.client.make_url("/").origin()))
        ready.set()
        await stop.wait()

    def run() -> None:
        try:
            asyncio.run(helpers.served(steps, settings, board=board, audit=audit))
        finally:
            ready.set()  # a console that cannot start is reported at once

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30) and found, "the console did not start"
    try:
        yield found[0], audit
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)


def in_memory(monkeypatch: pytest.MonkeyPatch, board: Board) -> list[Any]:
    """Let drafts be counted and published in memory; return the list of the questions that are asked."""
    asked: list[Any] = []

    async def scan(_settings: Any, question: Any, *, wait_s: float) -> Any:
        asked.append(question)
        return answer(question, board.definitions)

    async def publish(_settings: Any, edit: publishing.Edit, *, limited: bool, wait_s: float) -> Any:
        changes = publishing.decide(edit, board.log())
        for each in changes:
            if each.record is not None:
                board.definitions[each.key] = definition_from_record(each.record)
                board.sizes.in_force[each.key] = each.version
        return changes

    async def read(_settings: Any, *, on_bad: Callable[[str], None]) -> Any:
        return board.log()

    monkeypatch.setattr(estimating, "patient_scan", scan)
    monkeypatch.setattr(publishing, "publish", publish)
    monkeypatch.setattr(builder, "read", read)
    return asked


class BuilderPage:
    """A page of the builder. ``problems``: what the browser complained about."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(f"{error}"))
        page.on("console", self._note)
        page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))

    def _note(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.problems.append(message.text)

    def open(self, path: str = "/builder") -> BuilderPage:
        """Open the builder and wait until the first check has come back."""
        self.page.goto(self.address + path)
        self.page.wait_for_selector("[data-builder][data-ready]")
        return self

    def document(self) -> Any:
        """Return the document that is edited."""
        return self.run(
            "const { stringify } = await module('exact.js'); return stringify(b.history.present);"
        )

    def run(self, steps: str, value: Any = None) -> Any:
        """Run a function's body in the page: ``b`` is the builder, ``module`` imports one of its modules."""
        script = f"""async (value) => {{
          const source = document.querySelector('script[src*="builder/main.js"]').src;
          const module = (name) => import(new URL(name, source).href);
          const b = await (await import(source)).started;
          {steps}
        }}"""
        return self.page.evaluate(script, value)

    def control(self, name: str) -> Any:
        """Return the control of a name."""
        return self.page.locator(f"[data-control='{name}']").first

    def settled(self) -> None:
        """Wait until the views show the document."""
        self.page.wait_for_timeout(0)
        self.page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 0))")
