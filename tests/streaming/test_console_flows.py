"""What people do in the console, in a browser, from the first click to the record in Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from playwright.async_api import Page, expect

from tests.browser import NARROW, WIDE, browse, browsing, check_accessible, check_fits, keep_picture
from tests.console.helpers import PASSWORD, USERS
from tests.destinations.receiver import Receiver, receiving

from .consoles import ConsoleProcess, run_beside
from .deliveries import DESTINATIONS, Delivery
from .helpers import START_MS, Stack, wait_until
from .test_audiences import PEOPLE, SEGMENTS, customer
from .test_scans import members

pytestmark = [pytest.mark.broker, pytest.mark.browser]

Reserve = Callable[[int], list[int]]
HOUR_MS = 3_600_000
WELCOME = """\
key: welcome
segment: reachable-visitors
channel: email
existing: send
deliver: [{to: crm-hook}]
"""
REQUEST = "visited at least once and not in the segment unsubscribed"
PATHS = (
    "/",
    "/segments",
    "/segments/at-risk",
    "/builder",
    "/builder/at-risk",
    "/studio",
    "/plans",
    "/people",
    "/people/user_id%3Au7",
    "/people/user_id%3Au7/sandbox",
    "/rfm",
    "/lifecycle",
    "/audiences",
    "/destinations",
    "/data",
    "/data/catalogue",
    "/settings",
    "/settings/audit",
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def console(stack: Stack, receiver: Receiver, reserve: Reserve) -> ConsoleProcess:
    """Return the console of a running system with people, a destination, and processes beside it."""
    stack.publish(SEGMENTS)
    stack.send([event for number in range(PEOPLE) for event in customer(number)], final_ms=START_MS + HOUR_MS)
    stack.start()
    file = stack.folder / "destinations.yaml"
    file.write_text(DESTINATIONS.replace("URL", receiver.url))
    assert stack.segops("destinations", "apply", str(file)).exit_code == 0
    run_beside(stack, ["catalogue", "run"], stack.folder / "catalogue.log", SEGOPS_CATALOGUE_WEB_PORT="0")
    Delivery(stack, receiver).start()
    wait_until(lambda: len(members(stack).get("at-risk", ())) == PEOPLE, "members", stack.diagnosis)
    return ConsoleProcess(stack, reserve(2))


async def until(page: Page, condition: object, what: str) -> None:
    await asyncio.to_thread(wait_until, condition, what)  # type: ignore[arg-type]


def test_every_page_is_accessible_and_fits(console: ConsoleProcess) -> None:
    async def look() -> None:
        for width, scheme in ((WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")):
            async with browsing(console.url, width=width, scheme=scheme) as context:
                page = await context.new_page()
                for path in PATHS:
                    answer = await page.goto(path)
                    assert answer is not None and answer.status == 200, path
                    await page.wait_for_load_state()
                    await keep_picture(page, f"{width}-{scheme}{path.replace('/', '-')}")
                    await check_accessible(page)
                    await check_fits(page)

    asyncio.run(look())


def test_from_a_request_in_english_to_a_delivery_that_is_held_and_released(
    console: ConsoleProcess, stack: Stack, receiver: Receiver
) -> None:
    async def flow(page: Page) -> None:
        await page.goto("/")
        await page.get_by_role("link", name="Studio").first.click()
        await page.get_by_label("Your request").fill(
            "visited at least once and not in the segment unsubscribed"
        )
        await page.get_by_role("button", name="Read it").click()
        await expect(page.get_by_text("a rule", exact=True)).to_be_visible()
        await page.get_by_role("link", name="Open in the builder").click()
        await page.wait_for_selector("[data-builder][data-ready]")
        await page.get_by_label("Name", exact=True).fill("Reachable visitors")
        await page.get_by_label("Key", exact=True).fill("reachable-visitors")
        await expect(page.locator("[data-part=estimate]")).to_contain_text("profiles", timeout=30_000)
        await keep_picture(page, "builder")
        await page.get_by_role("button", name="Publish").click()
        await expect(page.locator("[data-part=published]")).to_contain_text("In force", timeout=60_000)
        await until(page, lambda: len(members(stack).get("reachable-visitors", ())) > 40, "members")

        await page.goto("/audiences")
        await page.get_by_role("link", name="New audience").first.click()
        await page.get_by_role("link", name="YAML").click()
        await page.get_by_label("Audience as YAML").fill(WELCOME)
        await page.get_by_role("button", name="Make the audience").click()
        await page.wait_for_url("**/audiences/welcome")
        steps = (
            ("Plan reach", "Plan reach", "Submit for approval"),
            ("Submit for approval", "Submit", "Approve"),
        )
        for title, button, following in steps:
            await page.locator("summary", has_text=title).click()
            await page.get_by_role("button", name=button, exact=True).click()
            await expect(page.locator("summary", has_text=following)).to_be_visible(timeout=60_000)
        await page.locator("summary", has_text="Approve").click()
        await page.locator("#do-approve-confirmation").fill("welcome")
        await keep_picture(page, "approve")
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.get_by_text("active", exact=True).first).to_be_visible(timeout=60_000)
        await until(page, lambda: len(receiver.members("welcome")) > 30, "the destination was told")

        await page.locator("summary", has_text="Hold").click()
        await page.get_by_role("button", name="Hold", exact=True).click()
        await expect(page.get_by_text("held", exact=True).first).to_be_visible(timeout=60_000)
        await page.locator("summary", has_text="Release").click()
        await page.get_by_role("button", name="Release", exact=True).click()
        await expect(page.get_by_text("active", exact=True).first).to_be_visible(timeout=60_000)
        await keep_picture(page, "audience")

    browse(console.url, flow)
    expected = members(stack)["audience.welcome"]
    wait_until(lambda: receiver.members("welcome") == expected, "the destination knows the members")


def test_a_segment_is_built_by_form_on_a_slow_network_past_a_restart_that_ends_all_sign_ins(
    stack: Stack, reserve: Reserve
) -> None:
    stack.publish(SEGMENTS)
    stack.send([event for number in range(PEOPLE) for event in customer(number)], final_ms=START_MS + HOUR_MS)
    stack.start()
    wait_until(lambda: len(members(stack).get("at-risk", ())) == PEOPLE, "members", stack.diagnosis)
    # Without a secret, sign-ins end with the process.
    console = ConsoleProcess(stack, reserve(2), SEGOPS_CONSOLE_USERS=USERS)

    async def sign_in(page: Page, path: str) -> None:
        await page.get_by_label("Name").fill("editor")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(f"**{path}*")

    async def flow(page: Page) -> None:
        segments = await page.context.new_page()
        await segments.goto("/segments")
        await sign_in(segments, "/segments")
        await expect(segments.get_by_text("Live", exact=True)).to_be_visible()
        await slow_down(page)
        await page.goto("/builder")
        await page.wait_for_selector("[data-builder][data-ready]")
        await page.get_by_label("Name", exact=True).fill("Visitors with an address")
        await page.get_by_label("Key", exact=True).fill("addressed")
        await page.locator(control('"all",0,"did"]')).fill("Visited")
        await page.get_by_label("Add a condition to this group").click()
        await page.locator(control('"all",1]head')).select_option(label="Trait")
        await page.locator(control('"all",1,"trait"]')).fill("email")
        await expect(page.locator("[data-part=estimate]")).to_contain_text("of 60 profiles", timeout=60_000)

        console.kill()
        await asyncio.to_thread(console.start)
        await expect(segments.locator("[data-live-state]")).to_contain_text("Signed out", timeout=60_000)
        await page.get_by_role("button", name="Publish", exact=True).click()
        said = page.locator("[data-part=published]")
        await expect(said).to_contain_text("You are signed out. Nothing was changed.")
        assert "addressed" not in await asyncio.to_thread(members, stack)
        await keep_picture(page, "signed-out")
        await said.get_by_role("link", name="Sign in").click()
        await sign_in(page, "/builder")
        await page.wait_for_selector("[data-builder][data-ready]")
        await page.get_by_role("button", name="Publish", exact=True).dblclick()
        await expect(said).to_contain_text("In force in all", timeout=90_000)
        await expect(segments.get_by_text("Live", exact=True)).to_be_visible(timeout=60_000)

    browse(console.url, flow)
    expected = {f"user_id:u{number}" for number in range(PEOPLE) if number % 5}
    wait_until(lambda: members(stack).get("addressed") == expected, "its members", stack.diagnosis)


def control(name: str) -> str:
    return f"""[data-control='["segments",0,"when",{name}']"""


async def slow_down(page: Page) -> None:
    """Let a page have the network of a telephone far from its mast."""
    slow = {"offline": False, "latency": 300, "downloadThroughput": 60_000, "uploadThroughput": 60_000}
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", slow)


def size_of(stack: Stack, key: str) -> int | None:
    """Return the members of a segment by the sizes that a worker has read."""
    status, text = stack.get(f"/segments/{key}")
    return int(json.loads(text)["members"]) if status == 200 else None


def test_a_person_is_looked_up_and_erased_while_the_console_restarts(
    console: ConsoleProcess, stack: Stack
) -> None:
    async def flow(page: Page) -> None:
        overview = await page.context.new_page()
        await overview.goto("/segments")
        await expect(overview.get_by_text("Live", exact=True)).to_be_visible()
        await page.goto("/people")
        await page.get_by_label("Any identifier").fill("u7@shop.example")
        await page.get_by_role("button", name="Look up").click()
        await page.get_by_role("link", name="user_id:u7").first.click()
        await expect(page.get_by_text("at-risk").first).to_be_visible()
        await keep_picture(page, "person")
        await page.get_by_role("link", name="Sandbox").click()
        await page.get_by_role("link", name="user_id:u7").click()

        console.kill()
        await expect(overview.get_by_text("Live", exact=True)).not_to_be_visible(timeout=30_000)
        await asyncio.to_thread(console.start)
        await expect(overview.get_by_text("Live", exact=True)).to_be_visible(timeout=60_000)

        await page.goto("/people/user_id%3Au7?tab=manage")
        await page.get_by_role("button", name="Erase").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Type user_id:u7 to confirm").fill("user_id:u7")
        await dialog.get_by_role("button", name="Erase").click()
        await until(page, lambda: "user_id:u7" not in members(stack)["at-risk"], "erased")
        await until(page, lambda: size_of(stack, "at-risk") == 59, "its size is published")
        await expect(overview.get_by_role("row", name="at-risk").get_by_text("59")).to_be_visible(
            timeout=60_000
        )

    browse(console.url, flow)
