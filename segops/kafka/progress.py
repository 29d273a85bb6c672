"""Whether the workers have applied what a client wrote: by the offsets that their group has committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from segops.config import Settings
from segops.kafka.clients import running_admin, running_consumer
from segops.kafka.coordinator import once_available
from segops.kafka.topics import partition_counts

_POLL_S: Final = 0.2
_LOOK_MS: Final = 100
#: A request is forwarded to its profile, and by as many redirects as there are further rounds.
_ROUNDS: Final = 4

_Offsets = Mapping[TopicPartition, int]


async def until_applied(settings: Settings, ends: Mapping[int, int], report: Callable[[int], None]) -> None:
    """Return once the workers have durably applied all requests before ``ends`` of the control topic.

    ``ends``: offset by partition. That includes what profiles that were merged relay, up to three times.
    ``report`` gets the number of records left. Waits for workers as long as necessary.
    """
    control, events = settings.topics.control, settings.topics.profile_events
    counts = await partition_counts(settings.kafka, [events])
    parts = [TopicPartition(events, number) for number in range(counts[events])]
    reading = running_consumer(settings.kafka, isolation_level="read_uncommitted")
    async with running_admin(settings.kafka) as admin, reading as reader:
        group = _Group(admin, reader, settings.worker.app_id)
        await group.until_passed({TopicPartition(control, n): end for n, end in ends.items()}, report)
        for _ in range(_ROUNDS):
            await group.until_passed(await reader.end_offsets(parts), report)


class _Group:
    """The positions of the workers' group."""

    def __init__(self, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer, name: str) -> None:
        self._admin, self._reader, self._name = admin, reader, name

    async def until_passed(self, ends: _Offsets, report: Callable[[int], None]) -> None:
        """Return once the group has committed these offsets, or only transaction markers are before them."""
        known: _Offsets = {}
        while ends:
            at = await self._committed(ends)
            left = {part: end for part, end in ends.items() if at[part] < end}
            stuck = [part for part in left if known.get(part) == at[part]]
            for part in stuck:
                if await self._is_empty(part, at[part], left[part]):
                    del left[part]
            if not left:
                return
            report(sum(end - at[part] for part, end in left.items()))
            known, ends = at, left
            await asyncio.sleep(_POLL_S)

    async def _committed(self, ends: _Offsets) -> dict[TopicPartition, int]:
        """Return the committed offset of each partition; 0 without one."""
        parts = list(ends)
        found = await once_available(
            lambda: self._admin.list_consumer_group_offsets(self._name, partitions=parts)
        )
        return {part: max(found[part].offset, 0) if part in found else 0 for part in parts}

    async def _is_empty(self, part: TopicPartition, begin: int, end: int) -> bool:
        """Return whether there is no record between two offsets of a partition."""
        self._reader.assign([part])
        self._reader.seek(part, begin)
        found = await self._reader.getmany(part, timeout_ms=_LOOK_MS)
        return not found and bool(await self._reader.position(part) >= end)
