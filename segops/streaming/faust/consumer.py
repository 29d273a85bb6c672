"""Faust's consumer around an aiokafka consumer in the main event loop.

Faust's own driver runs the client in a thread, two hops per call away. In one loop there is no hop per fetch,
and a process with a blocked loop sends no heartbeats.
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
from segops.streaming.liveness.watchers import has_namesake

log = logging.getLogger(__name__)

#: Heartbeat intervals within which a live process that lost its membership has joined again.
_BEATS: Final = 2.5


def _tps(partitions: Iterable[TopicPartition]) -> set[TP]:
    return {TP(each.topic, each.partition) for each in partitions}


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
    """The adapter from Faust to aiokafka; the subclass handles records and commits.

    ``revoked`` is set from a revocation to the next assignment; ``joined`` is True while an assignment is
    valid.
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
        """Create the client and connect."""
        self._client = self.app.connections.group_consumer(self.app.assignor)
        await self._client.start()

    async def on_shutdown(self) -> None:
        """Disconnect, after the last checkpoint; leave the group first if configured."""
        if self._client is not None:
            if self.app.leaves_the_group:
                await self._leave()
            await self._client.stop()

    async def _leave(self) -> None:
        coordinator = self.coordinator
        member = coordinator._group_instance_id, coordinator.member_id  # noqa: SLF001
        request = LeaveGroup(coordinator.group_id, *member)
        await coordinator.close()  # no heartbeat may restore the membership
        try:
            has_left(await coordinator._send_req(request))  # noqa: SLF001
        except KafkaError as error:
            log.warning("failed to leave the group, others wait for the session timeout: %r", error)
        else:
            log.info("left the group: others take over its partitions now")

    @property
    def client(self) -> AIOKafkaConsumer:
        """The aiokafka consumer. Raises ConsumerStoppedError before the start."""
        if self._client is None:
            raise ConsumerStoppedError
        return self._client

    @property
    def coordinator(self) -> Any:
        """The group coordinator client of aiokafka; None before the start."""
        return None if self._client is None else self._client._coordinator  # noqa: SLF001

    async def on_assigned(self, assigned: set[TP]) -> None:
        """Handle a new assignment."""
        raise NotImplementedError

    async def join_again(self) -> None:
        """Make the group rebalance, after an assignment made for an earlier process of this member.

        Fail the app when that process is still alive: partitions must not have two owners.
        """
        try:
            if await has_namesake(self.coordinator, _BEATS * self.app.conf.broker_heartbeat_interval):
                raise NamesakeError(self.app.conf.consumer_group_instance_id)
        except Exception as error:
            await self.app.fail(error)
        else:
            self.coordinator.request_rejoin()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group for these topics."""
        self.client.subscribe(topics=set(topics), listener=self._listener)

    # -- Faust's interface of a consumer -------------------------------------------------------

    def assignment(self) -> set[TP]:
        """Return the assigned partitions: none before the start, as an app may stop while it starts."""
        return set() if self._client is None else _tps(self._client.assignment())

    def highwater(self, tp: TP) -> int:
        """Return the last known end of the log."""
        return self.client.highwater(TopicPartition(*tp)) or 0

    async def position(self, tp: TP) -> int | None:
        """Return the next offset to fetch."""
        return cast("int", await self.client.position(TopicPartition(*tp)))

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to the committed offsets."""
        return cast("Mapping[TP, int]", await self.client.seek_to_committed())

    async def _seek(self, partition: TP, offset: int) -> None:
        self.client.seek(TopicPartition(*partition), offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek these partitions."""
        for tp, offset in partitions.items():
            self.client.seek(TopicPartition(*tp), offset)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the first offset of each log."""
        found = await self.client.beginning_offsets([TopicPartition(*tp) for tp in partitions])
        return cast("Mapping[TP, int]", found)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the end offset of each log."""
        found = await self.client.end_offsets([TopicPartition(*tp) for tp in partitions])
        return cast("Mapping[TP, int]", found)

    def topic_partitions(self, topic: str) -> int | None:
        """Return the number of partitions of a topic, or None if unknown."""
        found = self.client._client.cluster.partitions_for_topic(topic)  # noqa: SLF001
        return len(found) if found else None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return ``partition``: ``records.partition_of`` chooses it, never Faust."""
        return partition

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Do nothing: ``segops.kafka.topics`` creates the topics before the app starts."""

    def close(self) -> None:
        """Do nothing: ``on_shutdown`` closes the client."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return _unused()

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        return _unused()

    def getmany(self, timeout: float) -> AsyncIterator[Any]:
        """Raise NotImplementedError: ``_drain_messages`` replaces it."""
        return _unused()

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return _unused()

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


def _unused() -> NoReturn:
    raise NotImplementedError("not used by the batch consumer")
