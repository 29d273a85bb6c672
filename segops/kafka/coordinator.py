"""Requests to the coordinator of a consumer group, which a new broker appoints only when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from segops.config import Settings
from segops.kafka.clients import running_admin
from segops.kafka.outages import OutOfTouch

_WAIT_S: Final = 30.0
_POLL_S: Final = 0.2
_UNAVAILABLE: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
_T = TypeVar("_T")


async def once_available(work: Callable[[], Awaitable[_T]]) -> _T:
    """Return the result of a request, repeating it while the coordinator is unavailable.

    Raises OutOfTouch after 30 seconds.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _WAIT_S
    while True:
        try:
            return await work()
        except _UNAVAILABLE as error:
            if loop.time() > until_s:
                raise OutOfTouch(f"the group coordinator is unavailable: {error}") from error
        await asyncio.sleep(_POLL_S)


async def read_topics(settings: Settings) -> set[str]:
    """Return the topics with committed offsets of the workers' group. Raises OutOfTouch."""
    group = settings.worker.app_id
    async with running_admin(settings.kafka) as admin:
        found = await once_available(lambda: admin.list_consumer_group_offsets(group))
    return {partition.topic for partition, at in found.items() if at.offset >= 0}
