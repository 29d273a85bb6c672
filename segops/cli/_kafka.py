"""The common frame of commands that talk to Kafka: settings, an event loop, a silenced client."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

from segops.cli._say import say
from segops.config import Settings, load
from segops.core.errors import SegopsError
from segops.kafka.reachability import Unreachable, in_words

_T = TypeVar("_T")
_PAUSE_S = 0.5


def run(work: Callable[[Settings], Awaitable[_T]], *, wait_s: float = 0.0) -> _T:
    """Run ``work`` with the settings of the environment and return its result.

    Retries for ``wait_s`` seconds (may be infinite) while no broker answers. Raises UserError for wrong
    settings, Unreachable if no broker answers, SegopsError if Kafka fails later.
    """
    settings = load()
    # The client logs its own retries; whatever matters to the user is raised as an error.
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    async def main() -> _T:
        return await patiently(lambda: work(settings), wait_s)

    try:
        return asyncio.run(main())
    except KafkaError as error:
        raise SegopsError(f"Kafka at {settings.kafka.bootstrap_servers}: {in_words(error)}") from error


async def patiently(work: Callable[[], Awaitable[_T]], wait_s: float) -> _T:
    """Return the result of ``work``, retrying for ``wait_s`` where waiting can help; report the wait once."""
    until = asyncio.get_running_loop().time() + wait_s
    reported = not wait_s
    while True:
        try:
            return await work()
        except Unreachable as error:
            left_s = until - asyncio.get_running_loop().time()
            if not error.transient or left_s <= 0:
                raise
            if not reported:
                bound = "" if wait_s == math.inf else f" for up to {wait_s:g} s"
                say(f"waiting{bound} for a broker: {error}", err=True)
                reported = True
            await asyncio.sleep(min(_PAUSE_S, left_s))
