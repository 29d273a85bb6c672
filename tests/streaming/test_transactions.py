"""The transactions of a partition on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from segops.core.errors import SegopsError
from segops.core.profile import Profile
from segops.kafka import topics
from segops.kafka.clients import running_producer
from segops.kafka.positions import CommittedPosition
from segops.schemas.state import encode_profile
from segops.stores.base import Write
from segops.stores.memory import MemoryStores
from segops.streaming.connections import Connections
from segops.streaming.durability.recovery import Recovery, StoreManager
from segops.streaming.durability.transactions import Transactions
from segops.streaming.failpoints import Failpoints
from segops.streaming.publishers import BatchProducer

from .helpers import DEADLINE_S, Stack

pytestmark = pytest.mark.broker


class Writer:
    """A worker's transactions and the partitions they write to."""

    def __init__(self, stack: Stack, transactions: Transactions) -> None:
        self.transactions = transactions
        self._changes = stack.settings.topics.membership_changes
        self._changelog = (stack.settings.worker.changelog, 0)

    @property
    def outputs(self) -> BatchProducer:
        return self.transactions.of(0)

    def append(self, text: str) -> None:
        self.outputs.append((self._changes, 0), key=b"k", value=text.encode())

    async def commit(self, *writes: Write, positions: Any = None) -> int | None:
        return await self.transactions.owned[0].commit(self._changelog, [writes], positions or {})


@asynccontextmanager
async def writer(stack: Stack) -> AsyncIterator[Writer]:
    await topics.create(stack.settings)
    producer = Connections(stack.settings).transactional_producer
    transactions = Transactions(producer, app_id=stack.settings.worker.app_id, failpoints=Failpoints())
    await transactions.open([0])
    try:
        yield Writer(stack, transactions)
    finally:
        await transactions.close()


async def seen(stack: Stack, isolation: str = "read_committed") -> list[str]:
    records = await stack._read(stack.settings.topics.membership_changes, isolation)
    return [record.value.decode() for record in records]


async def committed(stack: Stack, count: int) -> list[str]:
    """Wait until ``count`` records are visible, shortly after their commit, and return them."""
    async with asyncio.timeout(DEADLINE_S):
        while len(found := await seen(stack)) < count:
            await asyncio.sleep(0.05)
    return found


def run(stack: Stack, scenario: Callable[[Writer], Awaitable[None]]) -> None:
    async def within() -> None:
        async with writer(stack) as one:
            await scenario(one)

    asyncio.run(within())


def test_transaction_holds_exactly_the_records_before_the_cut(stack: Stack) -> None:
    async def scenario(one: Writer) -> None:
        one.append("sent early")
        await one.outputs.flush()
        one.append("before")
        one.outputs.cut()
        one.append("after")
        await one.outputs.flush()  # sends during the commit
        assert await one.commit(Write("p", b"state", None, None)) == 0
        assert await committed(stack, 2) == ["sent early", "before"]
        one.append("after that")
        one.outputs.cut()
        assert await one.commit() == 0
        assert await committed(stack, 4) == ["sent early", "before", "after", "after that"]

    run(stack, scenario)


def test_uncommitted_records_are_invisible(stack: Stack) -> None:
    async def scenario(one: Writer) -> None:
        one.append("early")
        await one.outputs.settle()
        assert await seen(stack, "read_uncommitted") == ["early"]
        assert await seen(stack) == []

    run(stack, scenario)


def test_next_owner_fences_the_former_and_ends_its_transaction(stack: Stack) -> None:
    async def scenario(former: Writer) -> None:
        former.append("lost")
        await former.outputs.settle()
        async with writer(stack) as owner:
            former.outputs.cut()
            with pytest.raises(SegopsError, match="partition 0 has been taken over"):
                await former.commit(positions={(stack.settings.topics.events, 0): CommittedPosition(7, "")})
            owner.append("kept")
            owner.outputs.cut()
            await owner.commit()
            assert await committed(stack, 1) == ["kept"]

    run(stack, scenario)


def test_stale_owner_is_fenced_in_its_next_transaction(stack: Stack) -> None:
    async def scenario(former: Writer) -> None:
        async with writer(stack):
            former.append("lost")
            former.outputs.cut()
            with pytest.raises(SegopsError, match="taken over"):
                await former.commit()
            assert await seen(stack) == []

    run(stack, scenario)


def test_unawaited_refusal_is_raised_by_the_next_send(stack: Stack) -> None:
    async def scenario(former: Writer) -> None:
        one = former.transactions.owned[0]
        batch = one.create_batch()
        batch.append(timestamp=None, key=None, value=b"lost")  # type: ignore[attr-defined]
        async with writer(stack):
            with pytest.raises(ProducerFenced):
                await (await one.send_batch(batch, stack.settings.topics.membership_changes, partition=0))
            former.append("lost too")
            former.outputs.cut()
            with pytest.raises(SegopsError, match="taken over"):
                await former.commit()
            assert await seen(stack) == []

    run(stack, scenario)


def test_empty_commit_starts_no_transaction(stack: Stack) -> None:
    async def scenario(one: Writer) -> None:
        one.append("something")
        one.outputs.cut()
        await one.commit()
        await committed(stack, 1)
        ends = [await _end(stack)]
        for _ in range(3):
            one.outputs.cut()
            await one.commit()
            ends.append(await _end(stack))
        assert len(set(ends)) == 1

    run(stack, scenario)


def test_recovery_waits_for_open_transactions(stack: Stack) -> None:
    async def scenario(former: Writer) -> None:
        changelog = stack.settings.worker.changelog
        former.outputs.append((changelog, 0), key=b"aborted", value=encode_profile(Profile("aborted")))
        await former.outputs.settle()
        async with running_producer(stack.settings.kafka) as producer:
            await producer.send_and_wait(changelog, encode_profile(Profile("plain")), b"plain", 0)
        recovery = Recovery(
            changelog,
            StoreManager(MemoryStores(), discard=lambda number: None),
            Connections(stack.settings).changelog_consumer,
            failpoints=Failpoints(),
            restored=lambda count: None,
        )
        recovering = asyncio.ensure_future(recovery.run([0]))
        async with asyncio.timeout(DEADLINE_S):
            while recovery.progress.left == 0:
                await asyncio.sleep(0.01)
            async with writer(stack):  # aborts
                stores = await recovering
        assert stores[0].profile_ids(None, 10) == ["plain"]

    run(stack, scenario)


async def _end(stack: Stack) -> int:
    consumer = Connections(stack.settings).changelog_consumer()
    await consumer.start()
    topic_partition = TopicPartition(stack.settings.topics.membership_changes, 0)
    end: int = (await consumer.end_offsets([topic_partition]))[topic_partition]
    await consumer.stop()
    return end
