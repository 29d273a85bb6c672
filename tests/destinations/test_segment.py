"""Segment-compatible servers: their traits say who is in which audience, after any faults."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.core.errors import UserError
from segops.destinations.kinds import open_adapter
from segops.destinations.model import Destination
from segops.destinations.port import (
    Accepted,
    Adapter,
    DestinationAway,
    DestinationRefuses,
    Message,
    Outcome,
    Person,
    Refused,
)
from segops.metrics import Metrics

from .segment_server import WRITE_KEY, SegmentStandIn


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_KEY", WRITE_KEY)


def message(number: int, user: str, action: Any = "entered", **changed: Any) -> Message:
    values = {"quiet": False, "properties": {}, **changed}
    person = Person(f"user_id:{user}", user, email=f"{user}@shop.example")
    return Message(
        action, "win-back", f"user:{user}", person, f"{number:064x}", number, "event", 5, 5, None, **values
    )


async def serving(server: SegmentStandIn, work: Any) -> Any:
    application = web.Application()
    application.router.add_post("/v1/batch", server.receive)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    written = {"name": "s", "kind": "segment", "url": url, "write_key": {"env": "SEGMENT_KEY"}}
    adapter = open_adapter(Destination("s", "segment", written), load(), Metrics(CollectorRegistry()))
    try:
        return await work(adapter)
    finally:
        await adapter.close()
        await runner.cleanup()


def sent(server: SegmentStandIn, messages: Sequence[Message]) -> list[Outcome]:
    async def send(adapter: Adapter) -> list[Outcome]:
        return [*await adapter.send(messages, {})]

    found: list[Outcome] = asyncio.run(serving(server, send))
    return found


def test_an_entry_is_a_trait_and_an_event() -> None:
    server = SegmentStandIn()
    properties = {"aov": 7}
    assert sent(server, [message(1, "ann", properties=properties)]) == [Accepted()]
    assert server.traits == {"ann": {"email": "ann@shop.example", "aov": 7, "win_back": True}}
    (event,) = server.events
    assert (event["event"], event["userId"]) == ("Audience Entered", "ann")
    assert event["properties"] == {
        "audience_key": "win_back",
        "win_back": True,
        "since": "1970-01-01T00:00:00.005Z",
        "reason": "event",
        "aov": 7,
    }
    assert event["context"]["personas"]["computation_key"] == "win_back"


def test_quiet_messages_and_updates_are_traits_alone() -> None:
    server = SegmentStandIn()
    sent(server, [message(1, "ann", quiet=True), message(2, "ben", "updated", properties={"aov": 8})])
    assert server.events == []
    assert (server.traits["ann"]["win_back"], server.traits["ben"]["aov"]) == (True, 8)


def test_a_refused_message_does_not_hold_up_the_others() -> None:
    server = SegmentStandIn()
    large = message(2, "ben", properties={"text": "x" * 40_000})
    found = sent(server, [message(1, "ann"), large, message(3, "cid", "exited")])
    assert [type(each) for each in found] == [Accepted, Refused, Accepted]
    assert {user: traits["win_back"] for user, traits in server.traits.items()} == {"ann": True, "cid": False}


@pytest.mark.parametrize(("answer", "expected"), [("429", DestinationAway), ("503", DestinationAway)])
def test_a_server_under_pressure_is_left_alone(answer: str, expected: type[Exception]) -> None:
    server = SegmentStandIn()
    server.behave = lambda _calls: answer
    with pytest.raises(expected):
        sent(server, [message(1, "ann"), message(2, "ben")])
    assert server.requests == 1


def test_a_wrong_key_is_the_operators_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_KEY", "wk-wrong")
    with pytest.raises(DestinationRefuses, match="status 401") as failed:
        sent(SegmentStandIn(), [message(1, "ann")])
    assert "wk-wrong" not in str(failed.value)


def test_a_check_tells_nothing_of_anyone() -> None:
    server = SegmentStandIn()

    async def check(adapter: Adapter) -> list[bool]:
        return [each.ok for each in await adapter.check({})]

    assert asyncio.run(serving(server, check)) == [True]
    assert (server.traits, server.events) == ({}, [])


@pytest.mark.parametrize(("status", "good"), [("400", True), ("404", False), ("410", False), ("422", False)])
def test_a_check_finds_a_url_that_takes_no_calls(status: str, *, good: bool) -> None:
    server = SegmentStandIn()
    server.behave = lambda _calls: status

    async def check(adapter: Adapter) -> list[bool]:
        return [each.ok for each in await adapter.check({})]

    assert asyncio.run(serving(server, check)) == [good]


WAVES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["entered", "exited"])), max_size=3)


@given(
    plan=st.lists(WAVES, max_size=5),
    faults=st.lists(st.sampled_from(["500", "reset", "lost", "429"]), max_size=6),
)
@settings(max_examples=20, deadline=None)
def test_after_any_faults_the_traits_are_the_memberships(
    plan: list[list[tuple[str, str]]], faults: list[str]
) -> None:
    server, left = SegmentStandIn(), list(faults)
    server.behave = lambda _calls: left.pop() if left else "ok"

    async def tell(adapter: Adapter) -> None:
        number = 0
        for wave in plan:
            messages = []
            for user, action in dict(wave).items():
                number += 1
                messages.append(message(number, user, action))
            while messages:
                try:
                    assert set(await adapter.send(messages, {})) == {Accepted()}
                    break
                except DestinationAway:
                    continue

    asyncio.run(serving(server, tell))
    expected = {user: action == "entered" for wave in plan for user, action in dict(wave).items()}
    assert {user: traits["win_back"] for user, traits in server.traits.items()} == expected


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGMENT_KEY")
    with pytest.raises(UserError, match="SEGMENT_KEY is not set"):
        sent(SegmentStandIn(), [])
