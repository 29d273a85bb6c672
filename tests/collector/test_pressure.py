"""Load beyond the limits, slow senders, Kafka away or slow: what is answered, and what is held."""

from __future__ import annotations

import asyncio
import json

from tests.collector.helpers import EVENT, KEY, Answer, Collector, basic, batch, serve


def test_sender_beyond_its_rate_is_told_when_to_retry() -> None:
    async def steps(collector: Collector) -> None:
        first = await collector.post("/v1/batch", batch(*[EVENT] * 2_000))
        second = await collector.post()
        assert (first.status, second.status, second.json["code"]) == (200, 429, "rate")
        # 2,000 events of 0.5 a second, of which the first was free.
        assert 3_900 < int(second.headers["Retry-After"]) <= 4_000
        assert (await collector.post(key="wk-backend-1")).status == 200
        assert len(collector.events) == 2_001
        name = "segops_collector_requests_total"
        assert collector.count(name, source="website", code="429") == 1

    serve(steps, rate=0.5)


def test_answer_waits_for_every_acknowledgement() -> None:
    async def steps(collector: Collector) -> None:
        collector.producer.acknowledge.clear()
        events = [{**EVENT, "userId": f"u{n}"} for n in range(50)]
        asked = asyncio.create_task(collector.post("/v1/batch", batch(*events)))
        while len(collector.producer.sent) < 50:
            await asyncio.sleep(0)
        assert len(collector.producer.batches) == 4  # of all partitions
        assert not asked.done() and collector.passed == []
        collector.producer.acknowledge.set()
        assert (await asked).status == 200
        assert collector.passed == ["collect_after_ack"]

    serve(steps)


def test_later_requests_gather_while_a_batch_is_under_way() -> None:
    async def steps(collector: Collector) -> None:
        collector.producer.limit = 30
        collector.producer.acknowledge.clear()
        asked = [asyncio.create_task(collector.post())]
        while not collector.producer.sent:
            await asyncio.sleep(0)
        asked += [asyncio.create_task(collector.post()) for _ in range(50)]
        while collector.delivery._writer.waiting_bytes < 51 * len(collector.records()[0].value):
            await asyncio.sleep(0.01)
        collector.producer.acknowledge.set()
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
        assert collector.producer.batches == [1, 30, 20]
        assert collector.delivery.waiting_bytes == 0

    serve(steps)


def test_without_kafka_requests_are_refused_at_once() -> None:
    async def steps(collector: Collector) -> None:
        assert collector.delivery.waits_for is None
        collector.disconnect()
        answer = await collector.post()
        assert (answer.status, answer.json["code"]) == (503, "kafka_unavailable")
        assert collector.delivery.waits_for == "waiting for Kafka: connecting"

    serve(steps)


def test_kafka_that_does_not_acknowledge_gets_nothing_more() -> None:
    async def steps(collector: Collector) -> None:
        collector.producer.acknowledge.clear()
        assert (await collector.post()).status == 503
        while collector.delivery.waits_for is None:
            await asyncio.sleep(0.01)
        assert (await collector.post()).status == 503
        assert len(collector.producer.sent) == 1  # the second one was not even queued
        collector.producer.acknowledge.set()
        while collector.delivery.waits_for is not None:
            await asyncio.sleep(0.01)
        assert (await collector.post()).status == 200

    serve(steps, timeout_ms=100)


def test_failed_delivery_fails_all_that_waits() -> None:
    async def steps(collector: Collector) -> None:
        collector.producer.error = RuntimeError("refused")
        answers = await asyncio.gather(*(collector.post() for _ in range(5)))
        assert {answer.status for answer in answers} == {503}
        assert isinstance(collector.delivery._writer.failed.result(), RuntimeError)
        collector.producer.error = None
        assert (await collector.post()).status == 503  # until there is another connection
        collector.connect()
        assert (await collector.post()).status == 200

    serve(steps)


def test_memory_is_bounded_and_senders_are_told_to_retry() -> None:
    async def steps(collector: Collector) -> None:
        collector.producer.acknowledge.clear()
        content = batch(*[{**EVENT, "x": "x" * 20_000}] * 20)
        size = len(json.dumps(content))
        asked = [asyncio.create_task(collector.post("/v1/batch", content)) for _ in range(10)]
        refused: list[Answer] = []
        while len(refused) < 7:
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
            refused = [task.result() for task in done]
        assert {answer.status for answer in refused} == {429}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert collector.delivery.waiting_bytes < (1 << 20) + size
        collector.producer.acknowledge.set()
        statuses = [answer.status for answer in await asyncio.gather(*asked)]
        assert 200 in statuses
        assert collector.delivery.waiting_bytes == 0
        assert (await collector.post()).status == 200

    serve(steps, buffer_bytes=1 << 20)


HEAD = f"POST /v1/track HTTP/1.1\r\nHost: h\r\nAuthorization: {basic(KEY)}\r\n"


def test_slow_senders_are_cut_and_hold_no_memory() -> None:
    async def steps(collector: Collector) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", collector.port)
        writer.write(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
        answer = await reader.read()
        assert b" 408 " in answer and b'"code":"too_slow"' in answer  # SDKs retry after a 408
        assert collector.delivery.waiting_bytes == 0
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", collector.port)
        writer.write(b"POST /v1/tra")
        assert await reader.read() == b""
        writer.close()

    serve(steps, read_timeout_ms=200)


def test_sender_that_breaks_off_leaves_nothing() -> None:
    async def steps(collector: Collector) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", collector.port)
        writer.write(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
        while not collector.delivery.body_bytes:
            await asyncio.sleep(0)
        writer.transport.abort()
        while collector.delivery.body_bytes:
            await asyncio.sleep(0)
        assert collector.producer.sent == []

    serve(steps)


def test_connections_are_bounded() -> None:
    async def steps(collector: Collector) -> None:
        opened = [await asyncio.open_connection("127.0.0.1", collector.port) for _ in range(5)]
        for reader, _ in opened[:2]:
            assert await reader.read() == b""
        assert collector.server.open_connections == 3
        for _, writer in opened:
            writer.close()

    serve(steps, connections=3)
