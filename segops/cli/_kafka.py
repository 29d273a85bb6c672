"""What the commands that talk to Kafka share: settings, one event loop, no client's chatter."""

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
    """Do ``work`` with the settings of the environment, and return what it returns.

    For ``wait_s``, which may be infinite, it is tried again while no broker answers yet. Raises UserError
    for wrong settings, Unreachable when no broker answers, SegopsError when Kafka fails on the way.
    """
    settings = load()
    # The client reports on its own retries; what matters to a person comes as an error.
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    async def main() -> _T:
        return await patiently(lambda: work(settings), wait_s)

    try:
        return asyncio.run(main())
    except KafkaError as error:
        raise SegopsError(f"Kafka at {settings.kafka.bootstrap_servers}: {in_words(error)}") from error


async def patiently(work: Callable[[], Awaitable[_T]], wait_s: float) -> _T:
    """What ``work`` returns; for so long it is repeated where waiting can help, which is said once."""
    until = asyncio.get_running_loop().time() + wait_s
    said = not wait_s
    while True:
        try:
            return await work()
        except Unreachable as error:
            left_s = until - asyncio.get_running_loop().time()
            if not error.transient or left_s <= 0:
                raise
            if not said:
                bound = "" if wait_s == math.inf else f", {wait_s:g} s at most"
                say(f"waiting for a broker{bound}: {error}", err=True)
                said = True
            await asyncio.sleep(min(_PAUSE_S, left_s))
