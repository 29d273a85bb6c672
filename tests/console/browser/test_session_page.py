"""Pages that stay open: past the end of the sign-in, for an hour of messages, on a slow network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from segops.console.pages.overview import OverviewSource
from segops.console.pages.segment import SegmentSource
from tests.console import activation_board
from tests.console import board as full_board
from tests.console.browser.chromium import chromium, console, in_memory, needs_chromium
from tests.console.drafting import Board
from tests.console.helpers import NOW_MS, PASSWORD, USERS, MemoryAudit
from tests.rest import in_rest, rest

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context()
    found.set_default_timeout(20_000)
    yield found
    found.close()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, MemoryAudit, Board]]:
    """Yield the address of a console whose users sign in by password, its audit, and its board."""
    board = Board()
    in_memory(monkeypatch, board)
    with console(board, users=USERS) as (address, audit):
        yield address, audit, board


def sign_in(page: Page, name: str = "editor") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def opened(context: BrowserContext, url: str) -> Page:
    """Open a page, signing in on the way."""
    page = context.new_page()
    page.goto(url)
    sign_in(page)
    page.wait_for_url(url)
    return page


def published(audit: MemoryAudit) -> list[str]:
    return [entry.result for entry in audit.entries if entry.action == "segment.publish"]


def build(page: Page) -> None:
    page.wait_for_selector("[data-builder][data-ready]")
    page.get_by_label("Name", exact=True).fill("Regulars")
    page.get_by_label("Key", exact=True).fill("regulars")
    page.locator("[data-control$='\"did\"]']").first.fill("Order")
    page.wait_for_function("() => location.hash.startsWith('#draft=')")


def test_a_change_after_the_sign_in_has_ended_keeps_what_was_typed(
    context: BrowserContext, served: tuple[str, MemoryAudit, Board]
) -> None:
    address, audit, board = served
    page = opened(context, f"{address}/builder")
    build(page)
    context.clear_cookies()
    page.get_by_role("button", name="Publish").click()
    said = page.locator("[data-part=published]")
    expect(said).to_contain_text("You are signed out. Nothing was changed.")
    assert published(audit) == [] and "regulars" not in board.definitions
    said.get_by_role("link", name="Sign in").click()
    sign_in(page)
    page.wait_for_selector("[data-builder][data-ready]")
    expect(page.get_by_label("Key", exact=True)).to_have_value("regulars")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("[data-part=published]")).to_contain_text("published, version 1")
    assert published(audit) == ["begun", "done"]


def test_another_person_who_signs_in_does_not_see_what_was_typed(
    context: BrowserContext, served: tuple[str, MemoryAudit, Board]
) -> None:
    page = opened(context, f"{served[0]}/builder")
    build(page)
    context.clear_cookies()
    page.get_by_role("button", name="Publish").click()
    page.locator("[data-part=published]").get_by_role("link", name="Sign in").click()
    sign_in(page, "admin")
    page.wait_for_selector("[data-builder][data-ready]")
    expect(page.get_by_label("Key", exact=True)).not_to_have_value("regulars")


def test_a_page_goes_on_after_a_sign_in_in_another_tab(
    context: BrowserContext, served: tuple[str, MemoryAudit, Board]
) -> None:
    address, audit, _ = served
    page = opened(context, f"{address}/builder")
    build(page)
    context.clear_cookies()
    opened(context, f"{address}/settings").close()
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("[data-part=published]")).to_contain_text("published, version 1")
    assert published(audit) == ["begun", "done"]


def test_a_form_of_a_page_keeps_what_was_typed(context: BrowserContext) -> None:
    with console(activation_board.full(), users=USERS) as (address, _):
        page = opened(context, f"{address}/audiences/_new?as=yaml")
        page.get_by_label("Audience as YAML").fill("key: winback")
        context.clear_cookies()
        page.get_by_role("button", name="Make the audience").click()
        errors = page.locator("[data-form-errors]")
        expect(errors).to_contain_text("You are signed out.")
        expect(page.locator("[data-live-state]")).to_contain_text("Signed out")
        errors.get_by_role("link", name="Sign in").click()
        sign_in(page)
        expect(page.get_by_label("Audience as YAML")).to_have_value("key: winback")
        assert page.evaluate("sessionStorage.length") == 0


def test_clicks_while_the_answer_is_on_its_way_publish_once(
    context: BrowserContext, served: tuple[str, MemoryAudit, Board]
) -> None:
    page = opened(context, f"{served[0]}/builder")
    build(page)
    sent: list[Route] = []
    page.route("**/builder/publish", lambda route: sent.append(route))
    for _ in range(3):
        page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.locator("[data-part=published]")).to_contain_text("Publishing")
    assert len(sent) == 1
    sent[0].continue_()
    expect(page.locator("[data-part=published]")).to_contain_text("published, version 1")
    assert published(served[1]) == ["begun", "done"]


# -- a page that stays open --------------------------------------------------------------------------------

#: Stands for the browser's stream: the test feeds it, faster than the console would.
FED = """
window.streams = [];
window.EventSource = class extends EventTarget {
  static CONNECTING = 0; static OPEN = 1; static CLOSED = 2;
  constructor(url) { super(); this.url = String(url); this.readyState = 1; streams.push(this); }
  close() { this.readyState = 2; }
};
window.feed = (name, data) => {
  const message = new MessageEvent(name, { data: JSON.stringify(data), lastEventId: "a.1" });
  streams.at(-1).dispatchEvent(message);
};
"""
#: Messages, one a second; from one to the next figures, instants and changes differ.
MESSAGES = """
async ({ message, seconds }) => {
  for (let second = 0; second < seconds; second += 1) {
    const found = structuredClone(message);
    for (const each of found.happenings ?? []) each.number += 1000 + second * 10;
    const now = found.figures?.clock_ms;
    if (now) Object.assign(found.figures, { clock_ms: now + 1000 * second, members: second });
    if (found.point) found.point = [found.point[0] + 1000 * second, second % 97];
    found.as_of_ms += 1000 * second;
    feed("delta", found);
    if (second % 100 === 0) await new Promise((done) => requestAnimationFrame(done));
  }
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}
"""


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("/segments/high-intent", 200),
        in_rest("/segments/high-intent", 3_600),
        in_rest("/", 3_600),
    ],
)
def test_a_page_does_not_grow_with_messages(context: BrowserContext, path: str, seconds: int) -> None:
    board = full_board.full()
    with ThreadPoolExecutor(1) as pool:  # a loop runs in this thread: that of playwright
        pool.submit(lambda: asyncio.run(board.tick())).result()
    source = OverviewSource(board, lambda: NOW_MS) if path == "/" else SegmentSource(board, "high-intent")
    snapshot = json.loads(json.dumps(source.snapshot()))
    message = {**snapshot, "point": [NOW_MS, 5.0]} if path == "/" else snapshot
    message.pop("series", None)
    context.add_init_script(FED)
    with console(board) as (address, _):
        page = context.new_page()
        page.goto(f"{address}{path}")
        page.wait_for_function("() => window.streams.length > 0")
        page.evaluate("(found) => feed('snapshot', found)", snapshot)
        page.evaluate(MESSAGES, {"message": message, "seconds": seconds})
        early = measured(context, page)
        page.evaluate(MESSAGES, {"message": message, "seconds": seconds})
        late = measured(context, page)
    assert late["Nodes"] <= early["Nodes"] * 1.1 and late["Nodes"] < 8_000
    assert late["JSEventListeners"] <= early["JSEventListeners"] * 1.1
    assert late["JSHeapUsedSize"] < early["JSHeapUsedSize"] * 1.2 + (1 << 20)


def measured(context: BrowserContext, page: Page) -> dict[str, float]:
    """Return the browser's counts of a page, after what nobody refers to was collected."""
    session = context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return {each["name"]: each["value"] for each in found}


# -- a slow network ----------------------------------------------------------------------------------------

#: Of a telephone far from its mast: 400 ms each way, 50 KB/s.
SLOW = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}


@rest  # a flow on a broker has it, too
def test_pages_are_usable_on_a_slow_network(
    context: BrowserContext, served: tuple[str, MemoryAudit, Board]
) -> None:
    page = opened(context, f"{served[0]}/settings")
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", SLOW)
    page.get_by_role("link", name="Builder").click()
    build(page)
    expect(page.locator("[data-part=estimate]")).to_contain_text("profiles")
    button = page.get_by_role("button", name="Publish", exact=True)
    button.dblclick()
    expect(page.locator("[data-part=published]")).to_contain_text("Publishing")
    expect(page.locator("[data-part=published]")).to_contain_text("published, version 1")
    assert published(served[1]) == ["begun", "done"]
