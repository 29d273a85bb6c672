"""Recovery: the changelog of many profiles into empty stores, and the time of each part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segops.brokers import LocalBroker
from segops.config import Settings, load
from segops.core.engine import Engine
from segops.core.profile import Profile
from segops.kafka import topics
from segops.kafka.batches import fetch
from segops.schemas.events import decode, route
from segops.schemas.state import encode_profile
from segops.stores.rocksdb import RocksDBStores
from segops.streaming.connections import Connections
from segops.streaming.durability.recovery import Recovery, StoreManager
from segops.streaming.failpoints import Failpoints

from .core import WALL_MS
from .workload import segments

PARTITIONS = 8
_LEAST, _MOST = 300, 800  # bytes of a sampled state


def states(events: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """Return encoded profiles of the workload, of 300 to 800 bytes."""
    engine = Engine(segments())
    profiles: dict[str, Profile] = {}
    for user, value in events:
        routed = route(value, now_ms=WALL_MS, default_time_ms=0)
        profile = profiles.get(user) or profiles.setdefault(user, engine.new_profile(routed.profile_id))
        engine.on_event(profile, decode(value, time_ms=routed.time_ms, default_id="-"), clock_ms=0)
    stored = map(encode_profile, profiles.values())
    return [state for state in stored if _LEAST <= len(state) <= _MOST]


def measure(broker: LocalBroker, states: Sequence[bytes], folder: Path, *, records: int) -> dict[str, float]:
    """Measure changelog records per second: read only, with records unpacked, and the whole recovery."""
    settings = load(
        kafka={"bootstrap_servers": broker.bootstrap_servers},
        topics={"prefix": f"bench{uuid4().hex[:8]}.", "partitions": PARTITIONS},
        worker={"app_id": f"bench{uuid4().hex[:8]}"},
    )
    return asyncio.run(_measure(settings, states, folder, records))


async def _measure(
    settings: Settings, states: Sequence[bytes], folder: Path, records: int
) -> dict[str, float]:
    await topics.create(settings)
    await _fill(settings, states, records)
    connections = Connections(settings)
    await _read(settings, connections, unpack=False)  # warm the broker's caches
    reading = await _seconds(lambda: _read(settings, connections, unpack=False))
    unpacking = await _seconds(lambda: _read(settings, connections, unpack=True))
    began = time.thread_time()
    whole = await _seconds(lambda: _recover(settings, connections, folder))
    busy = time.thread_time() - began
    return {
        "recovery: bytes per state": sum(map(len, states)) / len(states),
        "recovery: fetched, records per second": records / reading,
        "recovery: fetched and unpacked, records per second": records / unpacking,
        "recovery: from an empty disk, records per second": records / whole,
        "recovery: from an empty disk, records per CPU second of its thread": records / busy,
    }


async def _seconds(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _fill(settings: Settings, states: Sequence[bytes], records: int) -> None:
    producer: AIOKafkaProducer = Connections(settings).producer()
    await producer.start()
    try:
        for partition in range(PARTITIONS):
            await _fill_partition(
                producer, settings.worker.changelog, partition, states, records // PARTITIONS
            )
    finally:
        await producer.stop()


async def _fill_partition(
    producer: AIOKafkaProducer, topic: str, partition: int, states: Sequence[bytes], records: int
) -> None:
    batch = producer.create_batch()
    for number in range(records):
        # Ids are unordered, as real ones are.
        key = b"user_id:%08x-%d" % (number * 2_654_435_761 % (1 << 32), partition)
        while batch.append(key=key, value=states[number % len(states)], timestamp=None) is None:
            await producer.send_batch(batch, topic, partition=partition)
            batch = producer.create_batch()
    await (await producer.send_batch(batch, topic, partition=partition))


async def _read(settings: Settings, connections: Connections, *, unpack: bool) -> None:
    consumer: AIOKafkaConsumer = connections.changelog_consumer()
    await consumer.start()
    try:
        partitions = [TopicPartition(settings.worker.changelog, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        while any([await consumer.position(place) < ends[place] for place in partitions]):
            for _, fetched in await fetch(consumer, 1.0):
                if unpack:
                    fetched.latest()
                await asyncio.sleep(0)
    finally:
        await consumer.stop()


async def _recover(settings: Settings, connections: Connections, folder: Path) -> None:
    state = settings.state
    stores = RocksDBStores(
        folder / "restored",
        block_cache_bytes=state.block_cache_bytes,
        write_buffer_bytes=state.write_buffer_bytes,
    )
    recovery = Recovery(
        settings.worker.changelog,
        StoreManager(stores, discard=lambda _: None),
        connections.changelog_consumer,
        failpoints=Failpoints(),
        restored=lambda _: None,
    )
    for store in (await recovery.run(range(PARTITIONS))).values():
        store.close()
