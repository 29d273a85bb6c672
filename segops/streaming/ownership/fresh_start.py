"""Starting from nothing: the state of a partition is given up, when that was decided after it was made.

The decision is the ``generation`` in the record of the topics' owner. Whoever opens a partition whose state
is older gives the state up: tombstones for every profile, then the position in profile-events back to the
beginning, then, as the last record, an origin of the new generation. Killed before that record, the next
owner does it again; killed after it, the partition is a new one already. The sequences of the new state begin
above all that were published, with room in between for the ends of memberships that prove untrue
(``sweeping``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer

from segops.config import Settings
from segops.kafka.positions import CommittedPosition, Positions
from segops.schemas.in_force import BASE_KEY, IN_FORCE_KEY
from segops.schemas.origin import ORIGIN_KEY, encode_origin
from segops.stores.base import ProfileStore, Write
from segops.streaming.durability.recovery import StoreManager
from segops.streaming.failpoints import Failpoints
from segops.streaming.ownership.origin import Offsets, OriginCheck
from segops.streaming.ownership.published import survey
from segops.streaming.partition.snapshot import BASE_META, CHANGELOG_META, ORIGIN_META

log = logging.getLogger(__name__)

_SLICE: Final = 5_000


class WriteDown(Protocol):
    """Make positions, then changelog records of a partition durable; the offset of the last of these."""

    def __call__(
        self, number: int, writes: Sequence[Write], positions: Positions
    ) -> Awaitable[int | None]: ...


class Renewed(NamedTuple):
    """The empty store of a partition, and where it goes on: a broker may still tell the former position."""

    store: ProfileStore
    positions: Positions


class FreshStart:
    """Gives up the state of partitions."""

    def __init__(
        self,
        settings: Settings,
        belonging: OriginCheck,
        disk: StoreManager,
        consumer: Callable[..., AIOKafkaConsumer],
        crash: Failpoints,
    ) -> None:
        self._topics = settings.topics
        self._belonging = belonging
        self._disk = disk
        self._consumer = consumer
        self._crash = crash

    async def renew(self, number: int, store: ProfileStore, group: Offsets, write_down: WriteDown) -> Renewed:
        """Give up the state of the partition, in its changelog and in its store."""
        published = await survey(self._consumer, (self._topics.membership_state, number))
        former = int(store.meta(BASE_META) or b"0")
        base = b"%d" % max(former, published.greatest + published.most)
        given_up = await self._give_up(number, store, write_down)
        sweep_until = published.greatest if published.most else 0
        origin = encode_origin(self._belonging.new_origin(sweep_until=sweep_until))
        self._crash.passed("during_fresh_start")
        logged = {BASE_KEY: base, IN_FORCE_KEY: b"", ORIGIN_KEY: origin}
        writes = [Write(key.decode(), value) for key, value in logged.items()]
        positions = await self._beginnings(number, group)
        offset = await write_down(number, writes, positions)
        store.destroy()
        fresh = self._disk.stores.open(number)
        fresh.write([], {CHANGELOG_META: b"%d" % (offset or 0), BASE_META: base, ORIGIN_META: origin})
        log.warning("partition %d starts from nothing: %d stored profiles are given up", number, given_up)
        return Renewed(fresh, positions)

    async def _give_up(self, number: int, store: ProfileStore, write_down: WriteDown) -> int:
        count, after = 0, None
        while ids := store.profile_ids(after, _SLICE):
            await write_down(number, [Write(profile_id, None) for profile_id in ids], {})
            self._crash.passed("during_fresh_start")
            count, after = count + len(ids), ids[-1]
        return count

    async def _beginnings(self, number: int, group: Offsets) -> Positions:
        """Profile events are read again; events and requests if they are others than those that were read."""
        places = [(self._topics.profile_events, number)]
        for place in ((self._topics.events, number), (self._topics.control, number)):
            if await self._belonging.is_another(place, group):
                places.append(place)
        begins = await group.beginnings(places)
        return {place: CommittedPosition(begins[place], "") for place in places}
