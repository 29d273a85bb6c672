"""Audiences and dead letters through the console's forms, on a running system."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from segops.core.audiences.audit import entry_of
from segops.kafka.definitions import read
from segops.operations import dead_letters
from segops.operations.audiences.store import read_known
from segops.operations.audiences.views import read_audit
from tests.console.activation_board import Board
from tests.console.activation_store import post_as
from tests.console.helpers import PROXY, Browser, as_user, serve

from .helpers import START_MS, Sent, Stack, wait_until
from .test_audiences import AUDIENCE, PEOPLE, SEGMENTS, SIGNED, customer, expected
from .test_scans import members

pytestmark = pytest.mark.broker


class LiveBoard(Board):
    """A read model that is read when a test asks for it."""

    async def renew(self, settings: Any) -> None:
        self.definitions = (await read(settings)).live
        self.audiences = dict((await read_known(settings, now_ms=0)).records)


@pytest.fixture
def board(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> LiveBoard:
    """Let the console find the system, where four eyes are demanded and the audit is signed."""
    variables = {
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.name.rstrip("."),
        "SEGOPS_APPROVAL": "other",
        **SIGNED,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return LiveBoard()


def test_audience_is_made_planned_submitted_and_approved_by_forms(stack: Stack, board: LiveBoard) -> None:
    stack.publish(SEGMENTS)
    events = [event for number in range(PEOPLE) for event in customer(number)]
    refused_event = Sent(0, b'{"type": "track", "event": "Visited", "userId": "')
    stack.send([*events, refused_event], final_ms=START_MS + 3_600_000)
    stack.start()
    written = yaml.safe_load(AUDIENCE)["audiences"][0]
    seen: dict[str, Any] = {}

    async def steps(browser: Browser) -> None:
        async def do(action: str, name: str, **fields: str) -> Any:
            path = f"/audiences/winback/{action}" if action else "/audiences"
            return await post_as(browser, path, fields, "admin", name)

        await board.renew(stack.settings)
        made = await do("", "ann", yaml=yaml.safe_dump(written))
        assert made.json["data"] == {"key": "winback", "effect": "added"}
        assert (await do("", "bob", yaml=yaml.safe_dump({**written, "name": "Mine"}))).status == 409
        planned = (await do("plan", "ann")).json
        seen.update(planned["data"])
        assert (await do("submit", "ann")).status == 200
        fields = {"plan": seen["plan"], "confirmation": "winback"}
        alone = await do("approve", "ann", **fields)
        assert alone.status == 422 and "ann may not approve the audience winback" in alone.json["error"]
        assert (await do("approve", "bob", **fields)).status == 200
        await board.renew(stack.settings)
        page = (await browser.get("/audiences/winback.json", **as_user("viewer"))).json
        assert (page["state"], page["approval"]["by"], page["approval"]["in_force"]) == (
            "active",
            "bob",
            True,
        )
        assert [each["left"] for each in page["funnel"]["steps"]] == [each[1] for each in expected()]
        audit = await browser.get("/audiences/winback.json?tab=audit", **as_user("viewer"))
        assert [each["action"] for each in audit.json["audit"]["entries"]] == [
            "approve", "submit", "plan", "apply",
        ]  # fmt: skip
        assert {each["signature"] for each in audit.json["audit"]["entries"]} == {"signed"}

    wait_until(lambda: len(members(stack).get("at-risk", ())) == expected()[0][1], "members", stack.diagnosis)
    serve(steps, board=board, **PROXY)
    assert seen["members"] == expected()[-1][1]
    found = asyncio.run(read_audit(stack.settings, "winback")).findings
    assert [(each.entry.by.actor, each.entry.action, each.entry.by.verified) for each in found] == [
        ("ann", "apply", True),
        ("ann", "plan", True),
        ("ann", "submit", True),
        ("bob", "approve", True),
    ]
    assert {each.entry.by.client.partition(" on ")[0] for each in found} == {"console"}
    record = asyncio.run(read_known(stack.settings, now_ms=0)).records["winback"]
    assert record.state == "active" and record.approval is not None
    assert entry_of(record.approval).seen is not None
    assert len(members(stack)["audience.winback"]) == seen["members"]
    _check_letters(stack, board)


def _check_letters(stack: Stack, board: LiveBoard) -> None:
    """The event that was no JSON is a dead letter; it is not sent again, and one that is an event is."""
    letters = asyncio.run(dead_letters.latest(stack.settings, 100))
    (letter,) = letters.letters
    assert letters.total == 1 and letter.value == b'{"type": "track", "event": "Visited", "userId": "'

    async def steps(browser: Browser) -> None:
        page = await browser.get(f"/data/dead-letters/{letter.id}", **as_user("admin"))
        assert page.status == 200 and "would be rejected again" in page.text
        path = f"/data/dead-letters/{letter.id}/replay"
        assert (await post_as(browser, path, {}, "admin", "root")).status == 422

    serve(steps, board=board, **PROXY)
    event = letter.__class__("0:0", START_MS, "too_large", "", f"{stack.name}events:0:0", False, None, _EVENT)
    (sent,) = asyncio.run(dead_letters.replay(stack.settings, [event]))
    assert sent.profile_id == "user_id:u900"
    stack.send([], final_ms=START_MS + 7_200_000)
    wait_until(lambda: "user_id:u900" in members(stack).get("at-risk", ()), "replayed", stack.diagnosis)


_EVENT = b'{"type": "track", "event": "Visited", "userId": "u900", "messageId": "m900"}'
