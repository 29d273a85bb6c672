"""Fresh start: discard the state of a partition that is older than the operator's decision to do so.

The decision is the ``generation`` in the record of the topics' owner. The worker that opens a partition with
an older state discards it: tombstones for every profile, then the position in profile events back to the
beginning, then, as the last record, an origin of the new generation. If the worker dies before that record,
the next owner repeats the reset; after it, the partition is new. The sequences of the new state start above
all published ones, leaving room for the ends of memberships that no longer hold (``sweep``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer

from segops.config import Settings
from segops.kafka.positions import CommittedPosition, Positions
from segops.schemas.backfills import BACKFILL_KEY
from segops.schemas.in_force import BASE_KEY, IN_FORCE_KEY
from segops.schemas.origin import ORIGIN_KEY, encode_origin
from segops.schemas.positions import POSITIONS_KEY, encode_positions
from segops.stores.base import ProfileStore, Write
from segops.streaming.durability.recovery import StoreManager
from segops.streaming.failpoints import Failpoints
from segops.streaming.ownership.origin import Offsets, OriginCheck
from segops.streaming.ownership.published import survey
from segops.streaming.partition.snapshot import BASE_META, CHANGELOG_META, ORIGIN_META
from segops.streaming.partition.tallies import emptied_buckets

log = logging.getLogger(__name__)

_SLICE: Final = 5_000


class Persist(Protocol):
    """Makes positions, then changelog records durable; returns the offset of the last record, if any."""

    def __call__(
        self, number: int, writes: Sequence[Write], positions: Positions
    ) -> Awaitable[int | None]: ...


class ResetPartition(NamedTuple):
    """The empty store of a partition, and its new positions, which a broker may not yet return."""

    store: ProfileStore
    positions: Positions


class FreshStart:
    """Discards the state of partitions."""

    def __init__(
        self,
        settings: Settings,
        origin_check: OriginCheck,
        store_manager: StoreManager,
        consumer: Callable[..., AIOKafkaConsumer],
        failpoints: Failpoints,
    ) -> None:
        self._topics = settings.topics
        self._origin_check = origin_check
        self._store_manager = store_manager
        self._consumer = consumer
        self._failpoints = failpoints

    async def reset(
        self, number: int, store: ProfileStore, group: Offsets, persist: Persist
    ) -> ResetPartition:
        """Discard the state of a partition, in its changelog and in its store."""
        published = await survey(self._consumer, (self._topics.membership_state, number))
        former = int(store.meta(BASE_META) or b"0")
        base = b"%d" % max(former, published.greatest + published.most)
        discarded = await self._discard(number, store, persist)
        sweep_until = published.greatest if published.most else 0
        origin = encode_origin(self._origin_check.new_origin(sweep_until=sweep_until))
        self._failpoints.passed("during_fresh_start")
        # The recorded positions go too: the group returns to offsets from before former transactions, which
        # would otherwise count as lost.
        cleared, emptied = encode_positions({}), emptied_buckets(store)
        logged = {
            BASE_KEY: base,
            IN_FORCE_KEY: b"",
            BACKFILL_KEY: b"",
            POSITIONS_KEY: cleared,
            ORIGIN_KEY: origin,
        }
        writes = [Write(f"\0{name}", value) for name, value in emptied.items()]
        writes += [Write(key.decode(), value) for key, value in logged.items()]
        positions = await self._beginnings(number, group)
        offset = await persist(number, writes, positions)
        store.destroy()
        fresh = self._store_manager.stores.open(number)
        fresh.write(
            [], {CHANGELOG_META: b"%d" % (offset or 0), BASE_META: base, ORIGIN_META: origin, **emptied}
        )
        log.warning("partition %d starts fresh: %d stored profiles discarded", number, discarded)
        return ResetPartition(fresh, positions)

    async def _discard(self, number: int, store: ProfileStore, persist: Persist) -> int:
        count, after = 0, None
        while ids := store.profile_ids(after, _SLICE):
            await persist(number, [Write(profile_id, None) for profile_id in ids], {})
            self._failpoints.passed("during_fresh_start")
            count, after = count + len(ids), ids[-1]
        return count

    async def _beginnings(self, number: int, group: Offsets) -> Positions:
        """Return the first offsets of profile events, and of the inputs whose topics were replaced."""
        partitions = [(self._topics.profile_events, number)]
        for partition in ((self._topics.events, number), (self._topics.control, number)):
            if await self._origin_check.is_replaced(partition, group):
                partitions.append(partition)
        begins = await group.beginnings(partitions)
        return {partition: CommittedPosition(begins[partition], "") for partition in partitions}
