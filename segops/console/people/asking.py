"""Ask workers, and for parts of a page within a time: one that cannot be had is left out, with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaError

from segops.console.page import Context
from segops.console.people.known import worker_of
from segops.core.errors import SegopsError
from segops.operations.workers import TIMEOUT_S, Workers, asking_workers

#: Seconds that a part of a page may take.
PART_S: Final = 12.0
_T = TypeVar("_T")
_D = TypeVar("_D")


def asking(context: Context[Any], *, timeout_s: float = TIMEOUT_S) -> AbstractAsyncContextManager[Workers]:
    """Provide what asks a worker that answered last, or that of the settings."""
    return asking_workers(context.settings, worker_of(context.board), timeout_s=timeout_s)


async def part(
    work: Awaitable[_T], default: _D, *, limit_s: float = PART_S, late: str = ""
) -> tuple[_T | _D, str]:
    """Return what ``work`` finds and "", or the default and the reason why there is nothing else.

    ``late``: the reason where it takes longer than ``limit_s``.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await work, ""
    except TimeoutError:
        return default, late or f"it was not read within {limit_s:g} seconds"
    except (SegopsError, KafkaError, OSError) as error:
        return default, str(error) or type(error).__name__
