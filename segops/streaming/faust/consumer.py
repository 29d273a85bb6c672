"""Faust's consumer around an aiokafka consumer that lives in the main loop.

Faust's own driver runs it in a thread, two hops per call away. Here it is one loop: no hop per fetch,
and a process that cannot serve its loop cannot pretend to be alive either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import Any, ClassVar, Final, NoReturn, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import TopicPartition
from faust.transport.consumer import Consumer
from faust.types import TP, ConsumerMessage

from segops.kafka.group_requests import LeaveGroup, has_left
from segops.streaming.faust.assignor import NamesakeError
from segops.streaming.liveness.watchers import await_namesake

log = logging.getLogger(__name__)

#: Times between two heartbeats after which a process that is alive has joined again.
_BEATS: Final = 2.5


def _tps(places: Iterable[TopicPartition]) -> set[TP]:
    return {TP(place.topic, place.partition) for place in places}


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: LoopConsumer) -> None:
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> Awaitable[None]:
        self._consumer.app.on_rebalance_start()  # at once, before anything is awaited
        self._consumer.joined = False
        self._consumer.revoked.set()
        revocation: Awaitable[None] = self._consumer.on_partitions_revoked(_tps(revoked))
        return revocation

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        if self._consumer.app.assignor.outdated:
            await self._consumer.join_again()
        else:
            self._consumer.revoked.clear()
            self._consumer.joined = True
            await self._consumer.on_assigned(_tps(assigned))


class LoopConsumer(Consumer):
    """The plumbing; what is done with records and commits is up to the subclass.

    ``revoked`` is set while no assignment holds: from a revocation to the next assignment. ``joined`` while
    one does.
    """

    consumer_stopped_errors: ClassVar[tuple[type[BaseException], ...]] = (ConsumerStoppedError,)
    mundane_level = "debug"
    app: Any
    _client: AIOKafkaConsumer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.revoked = asyncio.Event()
        self.joined = False
        self._listener = _Listener(self)

    async def on_start(self) -> None:
        """Connect."""
        self._client = self.app.connections.group_consumer(self.app.assignor)
        await self._client.start()

    async def on_shutdown(self) -> None:
        """Disconnect, after the last checkpoint; leave the group first where that is wanted."""
        if self._client is not None:
            if self.app.leaves_the_group:
                await self._leave()
            await self._client.stop()

    async def _leave(self) -> None:
        coordinator = self.coordinator
        wish = LeaveGroup(coordinator.group_id, coordinator._group_instance_id, coordinator.member_id)  # noqa: SLF001
        await coordinator.close()  # no heartbeat may bring the member back
        try:
            has_left(await coordinator._send_req(wish))  # noqa: SLF001
        except KafkaError as error:
            log.warning("the group was not left, others wait for the session timeout: %r", error)
        else:
            log.info("the group is left: others take the partitions now")

    @property
    def client(self) -> AIOKafkaConsumer:
        """The aiokafka consumer. ConsumerStoppedError before the start."""
        if self._client is None:
            raise ConsumerStoppedError
        return self._client

    @property
    def coordinator(self) -> Any:
        """aiokafka's part in the group; None before the start."""
        return None if self._client is None else self._client._coordinator  # noqa: SLF001

    async def on_assigned(self, assigned: set[TP]) -> None:
        """The group gave us these partitions."""
        raise NotImplementedError

    async def join_again(self) -> None:
        """Make the group assign anew: what it assigned was for this member's former process.

        Fails when that process is alive: its partitions must not have two owners.
        """
        try:
            if await await_namesake(self.coordinator, _BEATS * self.app.conf.broker_heartbeat_interval):
                raise NamesakeError(self.app.conf.consumer_group_instance_id)
        except Exception as error:
            await self.app.fail(error)
        else:
            self.coordinator.request_rejoin()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group for these topics."""
        self.client.subscribe(topics=set(topics), listener=self._listener)

    # -- what Faust asks a consumer ------------------------------------------------------------

    def assignment(self) -> set[TP]:
        """Partitions that the group gave us."""
        return _tps(self.client.assignment())

    def highwater(self, tp: TP) -> int:
        """The end of the log as last seen."""
        return self.client.highwater(TopicPartition(*tp)) or 0

    async def position(self, tp: TP) -> int | None:
        """The next offset to be fetched."""
        return cast("int", await self.client.position(TopicPartition(*tp)))

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to the commits."""
        return cast("Mapping[TP, int]", await self.client.seek_to_committed())

    async def _seek(self, partition: TP, offset: int) -> None:
        self.client.seek(TopicPartition(*partition), offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek these partitions."""
        for tp, offset in partitions.items():
            self.client.seek(TopicPartition(*tp), offset)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Where the logs begin."""
        wanted = [TopicPartition(*tp) for tp in partitions]
        return cast("Mapping[TP, int]", await self.client.beginning_offsets(wanted))

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Where the logs end."""
        wanted = [TopicPartition(*tp) for tp in partitions]
        return cast("Mapping[TP, int]", await self.client.end_offsets(wanted))

    def topic_partitions(self, topic: str) -> int | None:
        """How many partitions the topic has, as far as is known."""
        found = self.client._client.cluster.partitions_for_topic(topic)  # noqa: SLF001
        return len(found) if found else None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Partitions are chosen by ``records.partition_of``, never here."""
        return partition

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Topics are made by ``segops.kafka.topics`` before the app starts."""

    def close(self) -> None:
        """Nothing to do before the shutdown."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return _unused()

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        return _unused()

    def getmany(self, timeout: float) -> AsyncIterator[Any]:
        """Not used: see ``_drain_messages``."""
        return _unused()

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return _unused()

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


def _unused() -> NoReturn:
    raise NotImplementedError("the batch lane does not come this way")
