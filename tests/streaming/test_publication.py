"""What a publisher reports when another one came first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced

from segops.config import load
from segops.core.errors import SegopsError, UserError
from segops.kafka import publication
from tests.conftest import NOWHERE


class Refusing:
    """A producer whose first record fails, and which takes no other one then, as that of aiokafka."""

    def __init__(self, error: KafkaError) -> None:
        self._error = error
        self._sent = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[None]:
        self._sent += 1
        if self._sent > 1:
            raise IllegalOperation("Can't send messages while not in transaction")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(self._error)
        return future


def published(producer: Any, number: int) -> None:
    asyncio.run(publication._write(producer, "segments", [("segments", b"key", b"value")] * number))


@pytest.mark.parametrize("number", [1, 2])
def test_publisher_that_is_fenced_says_so_whatever_the_client_says_of_later_records(number: int) -> None:
    with pytest.raises(UserError, match="another publisher committed first; nothing was written"):
        published(Refusing(ProducerFenced()), number)


def test_publication_is_no_failure_if_no_broker_answers_after_its_commit() -> None:
    kafka = load(kafka={"bootstrap_servers": NOWHERE}).kafka
    asyncio.run(publication._until_readable(kafka, {TopicPartition("segments", 0): 1}))


@pytest.mark.parametrize("number", [1, 2])
def test_any_other_failure_is_named(number: int) -> None:
    with pytest.raises(SegopsError, match="failed to publish to segments: ") as failed:
        published(Refusing(KafkaError("the disk is full")), number)
    assert not isinstance(failed.value, UserError) and "the disk is full" in str(failed.value)
