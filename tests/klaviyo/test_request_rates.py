"""The limiter against a server whose windows begin anywhere, with any delays of requests and answers."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from segops.request_rates import Rate, RateLimiter
from tests.klaviyo.virtual_time import run
from tests.rest import examples


async def arrivals(limiter: RateLimiter, requests: int, dice: random.Random) -> list[float]:
    """Return the times at which a server receives the requests of ten senders."""
    loop, found, left = asyncio.get_running_loop(), [], list(range(requests))

    async def sender() -> None:
        while left:
            left.pop()
            async with limiter.slot():
                await asyncio.sleep(dice.choice((0.0, 0.001, 0.3, 2.5)))
                found.append(loop.time())
                await asyncio.sleep(dice.choice((0.0, 0.2)))

    await asyncio.gather(*(sender() for _ in range(10)))
    return sorted(found)


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 30), st.floats(0, 60))
@examples(5, of=100)
def test_no_window_of_the_server_has_more_requests_than_allowed(
    seed: int, burst: int, steady: int, phase: float
) -> None:
    async def main() -> list[float]:
        limiter = RateLimiter(Rate(burst, steady), asyncio.get_running_loop().time)
        return await arrivals(limiter, 60, random.Random(seed))

    times = run(main())
    for length_s, allowed in ((1.0, burst), (60.0, steady)):
        windows = [int((time + phase) / length_s) for time in times]
        assert max(map(windows.count, windows)) <= allowed


def test_limits_are_used_to_the_full() -> None:
    async def main() -> list[float]:
        limiter = RateLimiter(Rate(5, 20), asyncio.get_running_loop().time)
        times = []
        for _ in range(41):
            async with limiter.slot():
                times.append(asyncio.get_running_loop().time())
        return times

    times = run(main())
    assert times[4] == 0 and 1 <= times[5] < 1.1
    assert times[19] < 4 and 60 <= times[20] < 61 and 120 <= times[40] < 122


def test_what_the_server_says_is_left_closes_the_limiter() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        limiter, times = RateLimiter(Rate(5, 20), loop.time), []
        for remaining in (1, 0, 9):
            async with limiter.slot():
                times.append(loop.time())
                limiter.note_remaining(remaining, 30.0)
        return times

    assert run(main()) == [0.0, 0.0, 30.0]
