"""Answers that are expensive: kept for a while, and computed once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """Keeps at most ``most`` answers for ``kept_s``. A failure is not kept.

    An answer is computed on for the others, and for the next one, when who asked first has gone.
    """

    def __init__(self, kept_s: float = 60.0, most: int = 100) -> None:
        self._kept_s = kept_s
        self._most = most
        self._found: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return the answer for a key; ``make`` computes it if there is none. Raises what ``make`` raises."""
        loop = asyncio.get_running_loop()
        began_s, task = self._found.get(key, (0.0, None))
        old = task is not None and task.done() and (loop.time() - began_s > self._kept_s or _failed(task))
        if task is None or old:
            task = loop.create_task(_awaited(make))
            self._found[key] = loop.time(), task
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        answer: T = await asyncio.shield(task)
        return answer


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None
