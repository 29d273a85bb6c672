"""The hub: messages encoded once, slow browsers, browsers that come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from segops.console.live import MOST_CHANNELS, MOST_WAITING, Hub


class Counter:
    """A source whose number a test sets; it is silent while the number stays."""

    def __init__(self) -> None:
        self.number, self.told, self.snapshots, self.closed = 0, 0, 0, False

    def snapshot(self) -> Mapping[str, Any]:
        self.snapshots += 1
        return {"number": self.number}

    def delta(self) -> Mapping[str, Any] | None:
        changed, self.told = self.number != self.told, self.number
        return {"number": self.number} if changed else None

    def close(self) -> None:
        self.closed = True


def run(steps: Callable[[Hub, Counter], Awaitable[None]]) -> None:
    asyncio.run(_run(steps))


async def _run(steps: Callable[[Hub, Counter], Awaitable[None]]) -> None:
    await steps(Hub(), Counter())


def parsed(message: bytes) -> tuple[str, str, Any]:
    """Return event, id and data of a message."""
    fields = dict(line.split(": ", 1) for line in message.decode().strip().split("\n"))
    return fields["event"], fields["id"], json.loads(fields["data"])["number"]


async def opened(hub: Hub, source: Counter, last: str = "") -> AsyncGenerator[bytes, None]:
    stream = hub.listen("page", lambda: source, last)
    assert await anext(stream) == b"retry: 3000\n\n"
    return stream


async def ticked(hub: Hub, source: Counter, number: int) -> None:
    source.number = number
    await hub.tick()


def test_a_browser_gets_a_snapshot_then_what_changes() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        stream = await opened(hub, source)
        assert parsed(await anext(stream))[::2] == ("snapshot", 0)
        await ticked(hub, source, 5)
        await ticked(hub, source, 5)  # nothing changed: no message
        await ticked(hub, source, 6)
        found = [parsed(await anext(stream)) for _ in range(2)]
        assert [each[::2] for each in found] == [("delta", 5), ("delta", 6)]
        assert [each[1].partition(".")[2] for each in found] == ["1", "2"]

    run(steps)


def test_all_browsers_share_the_bytes_of_a_message() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        streams = [await opened(hub, source) for _ in range(20)]
        snapshots = [await anext(each) for each in streams]
        await ticked(hub, source, 1)
        deltas = [await anext(each) for each in streams]
        assert len({id(each) for each in snapshots}) == len({id(each) for each in deltas}) == 1
        assert source.snapshots == 1
        assert hub.clients == 20

    run(steps)


def test_a_slow_browser_gets_the_latest_snapshot_in_place_of_a_queue() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        slow = await opened(hub, source)
        await anext(slow)
        for number in range(1, MOST_WAITING + 50):
            await ticked(hub, source, number)
        assert parsed(await anext(slow))[::2] == ("snapshot", MOST_WAITING + 49)
        await ticked(hub, source, 900)
        assert parsed(await anext(slow))[::2] == ("delta", 900)

    run(steps)


def test_a_browser_that_reads_in_time_misses_nothing() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        stream = await opened(hub, source)
        await anext(stream)
        for number in range(1, MOST_WAITING + 1):
            await ticked(hub, source, number)
        found = [parsed(await anext(stream))[::2] for _ in range(MOST_WAITING)]
        assert found == [("delta", number) for number in range(1, MOST_WAITING + 1)]

    run(steps)


def test_a_browser_that_comes_back_gets_what_it_missed() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        stream = await opened(hub, source)
        await anext(stream)
        await ticked(hub, source, 1)
        _, last, _ = parsed(await anext(stream))
        await stream.aclose()
        assert hub.clients == 0
        await ticked(hub, source, 2)
        await ticked(hub, source, 3)
        again = await opened(hub, source, last)
        assert [parsed(await anext(again))[::2] for _ in range(2)] == [("delta", 2), ("delta", 3)]

    run(steps)


def test_an_id_that_is_not_known_brings_a_snapshot() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        stream = await opened(hub, source)
        _, last, _ = parsed(await anext(stream))
        for number in range(1, MOST_WAITING + 2):
            await ticked(hub, source, number)
        name = last.partition(".")[0]
        bad = (last, f"{name}.99", f"{name}.-1", f"{name}.x", "other.1", "1", "." + "9" * 30, "\u0661.\u0661")
        for each in bad:
            again = await opened(hub, source, each)
            assert parsed(await anext(again))[0] == "snapshot", each
            await again.aclose()

    run(steps)


def test_a_channel_without_browsers_ends_after_a_while() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        stream = await opened(hub, source)
        for _ in range(100):
            await hub.tick()
        assert not source.closed
        await stream.aclose()
        for _ in range(100):
            await hub.tick()
        assert source.closed

    run(steps)


def test_channels_are_limited() -> None:
    async def steps(hub: Hub, source: Counter) -> None:
        streams = [hub.listen(f"page {n}", lambda: source) for n in range(MOST_CHANNELS + 1)]
        *allowed, last = streams
        for each in allowed:
            await anext(each)
        assert await anext(last, None) is None

    run(steps)
