"""Answers that are expensive: kept for a while, and computed once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class AnswerCache:
    """Keeps at most ``most`` answers for ``lasts_s``. A failure is not kept.

    An answer is computed on for the others, and for the next one, when who asked first has gone. It is of
    the event loop that computes it.
    """

    def __init__(self, lasts_s: float = 60.0, most: int = 100) -> None:
        self._lasts_s = lasts_s
        self._most = most
        self._found: OrderedDict[Hashable, _Answer] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return the answer for a key; ``make`` computes it if there is none. Raises what ``make`` raises."""
        found = self._found.get(key)
        if found is None or found.is_over(self._lasts_s):
            found = self._found[key] = _Answer(make)
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        answer: T = await asyncio.shield(found.task)
        return answer

    async def dated(self, key: Hashable, now_ms: int, make: Callable[[], Awaitable[T]]) -> tuple[int, T]:
        """Return when the answer was asked for (ms UTC), and the answer."""

        async def dated() -> tuple[int, T]:
            return now_ms, await make()

        return await self.get(key, dated)


class _Answer:
    """An answer that is computed; its age counts from when it is there."""

    def __init__(self, make: Callable[[], Awaitable[Any]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._done_s = 0.0
        self.task = self._loop.create_task(self._make(make))

    async def _make(self, make: Callable[[], Awaitable[Any]]) -> Any:
        found = await make()
        self._done_s = self._loop.time()
        return found

    def is_over(self, lasts_s: float) -> bool:
        """Return whether it failed, is older than so many seconds, or of another loop."""
        task = self.task
        if self._loop is not asyncio.get_running_loop():
            return True
        if not task.done():
            return False
        failed = task.cancelled() or task.exception() is not None
        return failed or self._loop.time() - self._done_s > lasts_s
