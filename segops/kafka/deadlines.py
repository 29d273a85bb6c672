"""Time limits of work with Kafka that hold even if the client loses a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def within(seconds: float | None) -> AsyncIterator[Callable[[], None]]:
    """Raise TimeoutError after so many seconds; None: never. A loop calls what is provided in each round.

    In Python 3.11, ``asyncio.wait_for``, which the Kafka client uses, can lose the one cancellation by which
    ``asyncio.timeout`` ends a block. The next round of a loop ends it then.
    """
    now = asyncio.get_running_loop().time
    async with asyncio.timeout(seconds) as limit:
        until_s = limit.when()

        def check() -> None:
            if until_s is not None and now() >= until_s:
                raise TimeoutError

        yield check
