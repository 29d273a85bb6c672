"""Routes the memberships of one partition to the addresses of the destinations.

No offset is committed: after a start everything is read from the beginning, and only what differs from the
routes, which are written with the targets in one transaction, is routed. Nothing is routed before all is
read, so no target ever returns to a former state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segops.config import Settings
from segops.core.delivery.routing import Routed, Step, audience_of, forget_exits, steps, take
from segops.delivery.board import Board
from segops.delivery.records import Output, from_beginning, write
from segops.metrics import Metrics
from segops.schemas.changes import decode_change
from segops.schemas.delivery import (
    BadKey,
    decode_key,
    decode_route,
    decode_routed,
    encode_key,
    encode_route,
    encode_routed,
    encode_target,
)
from segops.schemas.records import partition_of
from segops.stores.base import ProfileStore, Write

log = logging.getLogger(__name__)

_POLL_MS: Final = 100
_POLL_RECORDS: Final = 2_000
_CHUNK: Final = 500

_value = msgspec.json.Decoder(dict[str, Any])


class Router:
    """The router of one partition. ``store`` is empty: it holds what is known of each profile."""

    def __init__(
        self,
        settings: Settings,
        partition: int,
        board: Board,
        *,
        store: ProfileStore,
        metrics: Metrics,
        passed: Callable[[str], None],
    ) -> None:
        topics = settings.topics
        self._count = topics.partitions
        self._number = partition
        self._state = TopicPartition(topics.membership_state, partition)
        self._indicators = TopicPartition(topics.indicators, partition)
        self._routes = TopicPartition(topics.routes, partition)
        self._targets = topics.targets
        self._board = board
        self._store = store
        self._metrics = metrics
        self._passed = passed
        self._named: frozenset[str] = frozenset()
        self._version = -1

    async def run(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        """Route until cancelled. ``producer`` has fenced the partition's former owners."""
        sources = [self._state, self._indicators]
        consumer.assign([self._routes, *sources])
        async for record in from_beginning(consumer, [self._routes]):
            self._restore(record)
        consumer.assign(sources)
        self._named = self._board.indicators
        async for chunk in _chunks(from_beginning(consumer, sources)):
            self._apply(chunk)
        while True:
            if self._version != self._board.version:
                await self._renew(producer, consumer)
            found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
            if records := [record for each in found.values() for record in each]:
                await self._route(producer, self._apply(records))
            for source in sources:
                if (end := consumer.highwater(source)) is not None:
                    lag = end - await consumer.position(source)
                    self._metrics.delivery.lag.labels(source.topic, str(self._number)).set(lag)

    async def _renew(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        """Route all profiles by the present deliveries."""
        self._version, named = self._board.version, self._board.indicators
        if not named <= self._named:
            self._named = named
            async for chunk in _chunks(from_beginning(consumer, [self._indicators])):
                self._apply(chunk)
        self._named = named
        after: str | None = None
        while ids := self._store.profile_ids(after, _CHUNK):
            await self._route(producer, ids)
            after = ids[-1]

    def _restore(self, record: Any) -> None:
        try:
            profile_id, name = decode_key(record.key, 2)
            route = decode_route(record.value)
        except (BadKey, msgspec.DecodeError) as error:
            log.error("skipping the route %r: %s", record.key, error)
            return
        (routed,) = self._read([profile_id])
        if route is None:
            routed.routes.pop(name, None)
        else:
            routed.routes[name] = route
        self._write([(profile_id, routed)])

    def _apply(self, records: Sequence[Any]) -> list[str]:
        """Apply changes and values of indicators; return the profiles that they are of."""
        found: dict[str, list[tuple[Any, str]]] = {}
        for record in records:
            of = self._subject(record)
            if of is not None:
                found.setdefault(of[0], []).append((record, of[1]))
        routeds = self._read([*found])
        for routed, each in zip(routeds, found.values(), strict=True):
            for record, name in each:
                self._take(routed, record, name)
        self._write(zip(found, routeds, strict=True))
        return [*found]

    def _subject(self, record: Any) -> tuple[str, str] | None:
        """Return the profile, and the audience or the indicator, of a record that matters here."""
        if record.topic == self._state.topic:
            return audience_of(record.key)
        profile_id, _, name = record.key.decode(errors="replace").rpartition("|")
        return (profile_id, name) if name in self._named else None

    def _take(self, routed: Routed, record: Any, name: str) -> None:
        values: dict[str, Any] = routed.changes if record.topic == self._state.topic else routed.indicators
        if record.value is None:
            values.pop(name, None)
            return
        try:
            if values is routed.changes:
                values[name] = decode_change(record.value)
            else:
                values[name] = _value.decode(record.value)["value"]
        except (msgspec.DecodeError, KeyError) as error:
            log.error("skipping the record %r of %s: %s", record.key, record.topic, error)

    async def _route(self, producer: AIOKafkaProducer, profile_ids: Iterable[str]) -> None:
        """Write how the routes of these profiles change, in transactions."""
        remaining = iter(profile_ids)
        while ids := [*islice(remaining, _CHUNK)]:
            routeds = self._read(ids)
            found = [[*steps(routed, self._board.deliverings)] for routed in routeds]
            if any(found):
                self._passed("activate_before_route")
                outputs = (
                    each for id_, of in zip(ids, found, strict=True) for each in self._outputs(id_, of)
                )
                await write(producer, outputs)
                self._passed("activate_after_route")
            changed = []
            for profile_id, routed, each in zip(ids, routeds, found, strict=True):
                for step in each:
                    take(routed, step)
                if each or not all(change.member for change in routed.changes.values()):
                    forget_exits(routed)
                    changed.append((profile_id, routed))
            self._write(changed)

    def _outputs(self, profile_id: str, found: Sequence[Step]) -> Iterator[Output]:
        for step in found:
            key = encode_key(*step.delivery, step.address, profile_id)
            number = shard_of(step.address, self._count)
            value, headers = encode_target(step.target)
            yield Output(TopicPartition(self._targets, number), key, value, headers)
            route = encode_key(profile_id, str(step.delivery))
            yield Output(self._routes, route, encode_route(step.route))

    def _read(self, profile_ids: Sequence[str]) -> list[Routed]:
        return [decode_routed(data) for data in self._store.get_many(profile_ids)]

    def _write(self, routeds: Iterable[tuple[str, Routed]]) -> None:
        writes = [
            Write(profile_id, None if routed.is_empty else encode_routed(routed))
            for profile_id, routed in routeds
        ]
        self._store.write(writes, {})


def shard_of(address: str, partitions: int) -> int:
    """Return the partition of everything that concerns an address."""
    return partition_of(address.encode(), partitions)


async def _chunks(records: Any) -> Any:
    chunk: list[Any] = []
    async for record in records:
        chunk.append(record)
        if len(chunk) == _POLL_RECORDS:
            yield chunk
            chunk = []
    yield chunk
