"""Ask workers, and for parts of a page within a time: one that cannot be had is left out, with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka.errors import KafkaError

from segops.console.page import Context
from segops.console.people.known import worker_of
from segops.core.errors import SegopsError
from segops.operations.workers import TIMEOUT_S, Workers, asking_workers

#: Seconds that a part of a page may take.
PART_S: Final = 12.0
_T = TypeVar("_T")
_D = TypeVar("_D")
_CACHED: Final = 32


def asking(context: Context[Any], *, timeout_s: float = TIMEOUT_S) -> AbstractAsyncContextManager[Workers]:
    """Provide what asks a worker that answered last, or that of the settings."""
    return asking_workers(context.settings, worker_of(context.board), timeout_s=timeout_s)


async def part(work: Awaitable[_T], default: _D, *, limit_s: float = PART_S) -> tuple[_T | _D, str]:
    """Return what ``work`` finds and "", or the default and the reason why there is nothing else."""
    try:
        async with asyncio.timeout(limit_s):
            return await work, ""
    except TimeoutError:
        return default, f"it was not read within {limit_s:g} seconds"
    except (SegopsError, KafkaError, OSError) as error:
        return default, str(error) or type(error).__name__


class _Entry(NamedTuple):
    """A result, and when it was asked for."""

    at_ms: int
    found: object


class Cache:
    """Keeps results for a while; those who ask for the same at a time wait for one of them."""

    def __init__(self, lasts_ms: int) -> None:
        self._lasts_ms = lasts_ms
        self._entries: dict[object, _Entry] = {}
        self._locks: dict[object, asyncio.Lock] = {}

    async def get(self, key: object, now_ms: int, work: Callable[[], Awaitable[_T]]) -> tuple[int, _T]:
        """Return when the result was asked for, and the result. What fails is not kept."""
        key = (asyncio.get_running_loop(), key)
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._entries.get(key)
            if known is None or not 0 <= now_ms - known.at_ms < self._lasts_ms:
                known = _Entry(now_ms, await work())
                self._entries[key] = known
        self._forget()
        return known.at_ms, known.found  # type: ignore[return-value] # of this key

    def _forget(self) -> None:
        for key in list(self._entries)[:-_CACHED]:
            del self._entries[key]
            if not self._locks[key].locked():
                del self._locks[key]
