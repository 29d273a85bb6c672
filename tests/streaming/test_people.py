"""People in the console before a running system: what the sandbox says happens; the erased are gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from segops.analytics.reader import reading_sizes
from segops.core.segments import Definition
from segops.core.values import format_instant
from tests.console.helpers import PROXY, Browser, as_user, served
from tests.console.people import FakeBoard

from .helpers import Stack
from .test_identity import MINUTE, SEGMENTS, Story

pytestmark = pytest.mark.broker

DAY = 86_400_000
EDITOR, ADMIN = as_user("editor"), as_user("admin")
PATH = "/people/user_id%3Au1ada"
_BUYERS = """  - key: rfm-new
    name: New buyers
    when: {rfm: new}
  - key: rfm-promising
    name: Promising buyers
    when: {rfm: promising}
"""


def browsing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, steps: Callable[[Browser], Awaitable[None]]
) -> None:
    """Run ``steps`` against a console of the system, whose read model has its definitions and sizes."""
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "TOPIC_PREFIX": stack.name,
        "PARTITIONS": str(stack.partitions),
        "APP_ID": stack.name.rstrip("."),
        "WEB_PORT": str(stack.port(0)),
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"SEGOPS_{name}", value)
    definitions: Mapping[str, Definition] = {each.key: each for each in stack.definitions}

    async def main() -> None:
        async with reading_sizes(stack.settings) as reader:
            await served(steps, PROXY, board=FakeBoard(definitions=definitions, sizes=reader.folded))

    asyncio.run(main())


def sandbox(events: list[dict[str, Any]], days: float) -> str:
    return f"{PATH}/sandbox.json?{urlencode({'events': json.dumps(events), 'days': days})}"


def test_what_the_sandbox_says_is_what_happens(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.publish(SEGMENTS.rstrip() + "\n" + _BUYERS)
    story = Story(stack)
    stack.start()
    for total in range(3):
        story.event("Product Viewed", "anna-1", properties={"total": total})
    story.event(
        "Order Completed", "u1ada anna-1", properties={"total": 200, "order_id": "o1"}
    )  # they become one
    story.event("Product Viewed", "u2bob")
    story.publish()
    told: list[tuple[Any, ...]] = []
    imagined = [
        ("Order Completed", {"total": 150, "order_id": "o2"}, story.now_ms + MINUTE),
        ("Product Viewed", {"total": 1}, story.now_ms + 2 * MINUTE),
    ]

    async def before(browser: Browser) -> None:
        found = (await browser.get(f"/people.json?id={quote('anonymous_id:anna-1')}", **EDITOR)).json["found"]
        assert found["person"]["path"] == PATH
        timeline = (await browser.get(f"{PATH}.json?tab=timeline&kind=event", **EDITOR)).json["part"][
            "entries"
        ]
        assert [each["name"] for each in timeline] == ["Order Completed", *["Product Viewed"] * 3]
        members = (await browser.get("/people.json?segment=rfm-new", **EDITOR)).json["members"]
        assert ([each["id"] for each in members["rows"]], members["total"]) == (["user_id:u1ada"], 1)
        shown = (await browser.get(f"{PATH}.json", **EDITOR)).json["part"]["memberships"]
        assert all(each["because"]["holds"] for each in shown)
        events = [
            {"event": name, "properties": properties, "timestamp": format_instant(at)}
            for name, properties, at in imagined
        ]
        result = (await browser.get(sandbox(events, 40), **EDITOR)).json["result"]
        told.extend(
            (each["at_ms"], each["segment"], each["action"], each["reason"]) for each in result["changes"]
        )

    browsing(stack, monkeypatch, before)
    known = set(story.expected)
    for name, properties, _ in imagined:
        story.event(name, "u1ada", properties=properties)
    story.publish(pause_ms=40 * DAY - 2 * MINUTE)
    new = [each for key, each in story.expected.items() if key not in known]
    happened = [
        (each["occurred_at"], each["segment_key"], each["action"], each["reason"])
        for each in new
        if each["profile_id"] == "user_id:u1ada"
    ]
    assert told
    assert sorted(told) == sorted(happened)

    async def after(browser: Browser) -> None:
        rfm = (await browser.get("/rfm.json?range=all", **EDITOR)).json
        assert (rfm["missing"], rfm["grid"]["buyers"]) == ("", 1)
        assert {"from": "new", "to": "promising", "count": 1} not in rfm[
            "flows"
        ]  # she bought twice: none of them
        assert {"from": None, "to": "new", "count": 1} in rfm["flows"]
        days = (await browser.get("/lifecycle.json?range=all", **EDITOR)).json
        assert days["now"]["known"] == 2
        assert max(each["daily"] for each in days["days"]) == 2
        fields = {"confirmation": "user_id:u1ada"}
        token = (await browser.get("/session.json", **ADMIN)).json["csrf"]
        done = await browser.submit(f"{PATH}/erase", fields, token=token, script=True, **ADMIN)
        assert done.status == 200, done.text
        receipts = (await browser.get(f"{done.json['location']}.json", **ADMIN)).json
        assert (receipts["complete"], len(receipts["receipts"])) == (True, 2)
        assert (await browser.get(PATH, **ADMIN)).status == 404

    browsing(stack, monkeypatch, after)
