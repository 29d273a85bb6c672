"""Reading sizes from a real broker, and in the background of a worker."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from segops.analytics.reader import BackgroundReader, follow_sizes, reading_sizes
from segops.analytics.sizes import SegmentSizes
from segops.brokers import LocalBroker
from segops.config import Settings, load
from segops.kafka import topics
from segops.kafka.clients import running_producer
from segops.schemas.sizes import Published
from tests.analytics.recount import HOUR, MINUTE, START, published, size, trend
from tests.conftest import NOWHERE
from tests.streaming.helpers import Stack, wait_until

DEADLINE_S = 60.0
RECORDS = [
    *(size("vip", number, 10 + number, partitions=3, clock_ms=START + HOUR) for number in range(2)),
    size("vip", 2, 12, partitions=3, clock_ms=START + HOUR, entered={"unknown": 12}),
    trend("vip", 0, START, (10, 0), 10, partitions=3),
    trend("vip", 1, START + HOUR - MINUTE, (12, 1), 11, partitions=3),
]


def settings_for(servers: str, prefix: str) -> Settings:
    return load(
        kafka={"bootstrap_servers": servers},
        topics={"prefix": prefix, "partitions": 3},
        worker={"app_id": f"{prefix}app"},
    )


def sizes_reader(settings: Settings) -> BackgroundReader[SegmentSizes]:
    return BackgroundReader(partial(follow_sizes, settings), what="sizes")


async def send(settings: Settings, records: Iterable[Published]) -> None:
    async with running_producer(settings.kafka) as producer:
        for record in records:
            key, value = published(record)
            topic = settings.topics.trends if key.count(b"|") == 3 else settings.topics.sizes
            await producer.send_and_wait(topic, value, key=key, partition=record.partition)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.02)


def members(sizes: SegmentSizes | None, key: str = "vip") -> int | None:
    view = None if sizes is None else sizes.segment(key)
    return None if view is None else view.members


def on_broker(work: Callable[[Settings], Awaitable[None]], broker: LocalBroker, prefix: str) -> None:
    async def main() -> None:
        settings = settings_for(broker.bootstrap_servers, prefix)
        await topics.create(settings)
        await send(settings, RECORDS)
        await work(settings)

    asyncio.run(main())


@pytest.mark.broker
def test_a_reader_has_read_to_the_ends_and_follows(broker: LocalBroker, topic_prefix: str) -> None:
    async def work(settings: Settings) -> None:
        async with reading_sizes(settings) as reader:
            assert members(reader.folded) == 33
            found = reader.folded.trend("vip", HOUR, None, None)
            assert found is not None
            assert [(step.members, step.adds) for step in found.steps[-2:]] == [(33, 22), (33, 0)]
            await send(settings, [size("vip", 2, 112, partitions=3, clock_ms=START + HOUR)])
            async for changed in reader.changes():
                if changed:
                    assert (changed, members(reader.folded)) == ({"vip"}, 133)
                    break

    on_broker(work, broker, topic_prefix)


@pytest.mark.broker
def test_a_background_reader_starts_when_asked_and_again_after_a_cancellation(
    broker: LocalBroker, topic_prefix: str
) -> None:
    async def work(settings: Settings) -> None:
        before = asyncio.all_tasks()
        reader = sizes_reader(settings)
        assert asyncio.all_tasks() == before
        for _ in range(2):
            assert reader.current() is None
            await until(lambda: members(reader.current()) == 33)
            for task in asyncio.all_tasks() - before:  # as the worker does in an outage
                task.cancel()
            await until(lambda: asyncio.all_tasks() == before)
        await until(lambda: members(reader.current()) == 33)
        await reader.aclose()
        assert asyncio.all_tasks() == before

    on_broker(work, broker, topic_prefix)


def test_a_background_reader_reports_failures_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        reader = sizes_reader(settings_for(NOWHERE, "t."))
        with caplog.at_level(logging.WARNING):
            assert reader.current() is None
            await until(lambda: len(caplog.records) >= 2)
        assert reader.current() is None
        await reader.aclose()

    asyncio.run(main())
    texts = {record.getMessage() for record in caplog.records if record.name == "segops.analytics.reader"}
    assert all(text.startswith("cannot read the sizes: ") and NOWHERE in text for text in texts)
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.broker
def test_a_worker_answers_with_the_sizes_of_all_partitions(
    broker: LocalBroker, topic_prefix: str, tmp_path: Path
) -> None:
    stack = Stack(broker.bootstrap_servers, topic_prefix, tmp_path)
    stack.publish()
    asyncio.run(send(stack.settings, RECORDS))
    worker = stack.start()
    try:
        wait_until(lambda: stack.get("/segments")[0] == 200, "the sizes", stack.diagnosis)
        found: Any = json.loads(stack.get("/segments/vip")[1])
        assert (found["members"], found["complete"]) == (33, True)
        steps = json.loads(stack.get("/segments/vip/trend?step=1m")[1])["steps"]
        assert steps[-1]["members"] == 33
        assert stack.get("/segments/none")[0] == 404
        assert stack.get("/segments?limit=x")[0] == 400
        worker.terminate()
        assert worker.wait(40) == 0
    finally:
        stack.close()
    assert "cannot read the sizes" not in (tmp_path / "worker-0.log").read_text()
