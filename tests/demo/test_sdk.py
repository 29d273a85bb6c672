"""What goes through the collector: the SDK's form, its retries, and which part of the history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from segops.core.errors import SegopsError
from segops.core.values import parse_instant
from segops.demo.history import OrderHistory, arrange, read_history
from segops.demo.input_events import input_event
from segops.demo.sdk import Sdk, batch
from segops.wall_clock import wall_ms

ORDER = {"type": "track", "event": "Order Completed", "userId": "c1"}
LINE = input_event(853_063_200_000, "m1", "c1", ORDER).line


def test_a_batch_has_the_form_of_the_sdk() -> None:
    body = json.loads(batch([LINE, LINE]))
    assert body.keys() == {"batch", "sentAt"}
    sent_ms = parse_instant(body["sentAt"])
    assert sent_ms is not None and 0 <= wall_ms() - sent_ms < 60_000
    message = body["batch"][0]
    assert message.pop("context")["library"]["name"] == "analytics-python"
    assert message.pop("integrations") == {}
    assert message == json.loads(LINE)


def test_a_batch_keeps_the_traits_of_the_context() -> None:
    order = {**ORDER, "context": {"traits": {"email": "c1@shop.example"}}}
    (message,) = json.loads(batch([input_event(5, "m1", "c1", order).line]))["batch"]
    assert message["context"]["traits"] == {"email": "c1@shop.example"}
    assert message["context"]["library"]["name"] == "analytics-python"


class Collector:
    """Answers with these statuses in turn, 0 by closing the connection, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[Any] = []

    async def answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"].startswith("Basic ")
        self.received.append(await request.json())
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"why": "refused"}, status=status or 200)


def against(collector: Collector, work: Callable[[Sdk], Coroutine[Any, Any, None]]) -> Sdk:
    async def main() -> Sdk:
        app = web.Application()
        app.router.add_post("/v1/batch", collector.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            async with aiohttp.ClientSession() as session:
                sdk = Sdk(session, f"http://127.0.0.1:{runner.addresses[0][1]}", "wk-1")
                await work(sdk)
                return sdk
        finally:
            await runner.cleanup()

    return asyncio.run(main())


@pytest.mark.parametrize("statuses", [[503], [429], [500, 0]])
def test_a_batch_is_sent_again_until_it_is_accepted(statuses: list[int]) -> None:
    collector = Collector(*statuses)
    sdk = against(collector, lambda sdk: sdk.send([LINE]))
    assert len(collector.received) == len(statuses) + 1
    assert all(each == collector.received[0] for each in collector.received)
    assert (sdk.requests, sdk.events, sdk.repeated) == (1, 1, 0)


def test_a_refused_batch_is_an_error_at_once() -> None:
    collector = Collector(400)
    with pytest.raises(SegopsError, match=r"did not accept a batch: .*refused"):
        against(collector, lambda sdk: sdk.send([LINE]))
    assert len(collector.received) == 1


def test_a_repeated_batch_is_counted_apart() -> None:
    async def work(sdk: Sdk) -> None:
        await sdk.send([LINE, LINE])
        await sdk.repeat([LINE])

    sdk = against(Collector(), work)
    assert (sdk.requests, sdk.events, sdk.repeated) == (2, 2, 1)


@pytest.fixture(scope="module")
def history() -> OrderHistory:
    return read_history()


def test_an_eighth_of_the_history_is_collected_and_all_of_it_are_purchases(history: OrderHistory) -> None:
    first, last = map(history.until, history.over_http_ms)
    share = (last - first) / len(history.events)
    assert 0.1 < share < 0.15
    assert all(b'"anonymousId"' not in event.line for event in history.events[:last])
    assert last < history.until(history.half_ms)


def test_what_is_collected_ends_before_the_first_visit() -> None:
    def event(number: int, who: str) -> Any:
        return input_event(number, f"m{number}", "p", {"type": "track", "event": "A", who: "p"})

    early = arrange([event(number, "anonymousId" if number >= 20 else "userId") for number in range(160)])
    assert tuple(map(early.until, early.over_http_ms)) == (21, 21)
    later = arrange([event(number, "anonymousId" if number >= 30 else "userId") for number in range(160)])
    assert tuple(map(later.until, later.over_http_ms)) == (21, 30)
