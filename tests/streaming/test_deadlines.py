"""A time limit holds even if the Kafka client loses the cancellation."""

from __future__ import annotations

import asyncio

import pytest

from segops.kafka.deadlines import within


async def swallowing() -> None:
    """Wait, and lose the first cancellation, as asyncio.wait_for of Python 3.11 may."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return


def test_a_lost_cancellation_ends_with_the_round() -> None:
    async def work() -> None:
        async with within(0.05) as check:
            while True:
                await swallowing()
                check()

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(work(), 20))


def test_without_a_limit_nothing_ends() -> None:
    async def work() -> int:
        async with within(None) as check:
            check()
            return 1

    assert asyncio.run(work()) == 1


def test_what_ends_in_time_raises_nothing() -> None:
    async def work() -> None:
        async with within(60) as check:
            check()

    asyncio.run(work())
