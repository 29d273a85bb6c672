"""The collector on a real broker: what it acknowledged is there, whatever happens, and counts once."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from segops.brokers import LocalBroker
from tests.faults.proxy import FaultyNetwork
from tests.rest import rest
from tests.streaming.conftest import network, stack
from tests.streaming.helpers import DAY_MS, START_MS, Stack, wait_until

from .helpers import batch
from .processes import CollectorProcess

__all__ = ["network", "stack"]  # fixtures

pytestmark = pytest.mark.broker
Reserve = Callable[[int], list[int]]

SEGMENTS = """
version: 1
segments:
  - {key: viewers, when: {did: Product Viewed}}
  - {key: keen, when: {did: Product Viewed, count: {gte: 2}}}
"""


def viewed(user: str, message: str) -> dict[str, object]:
    stamp = "2025-10-09T09:00:00Z"
    return {
        "type": "track",
        "event": "Product Viewed",
        "userId": user,
        "messageId": message,
        "timestamp": stamp,
    }


def sent_ids(stack: Stack) -> list[str]:
    """Return the message ids in the events topic."""
    return [json.loads(record.value)["messageId"] for record in stack.read(stack.settings.topics.events)]


def test_event_whose_answer_was_lost_counts_once(stack: Stack, reserve: Reserve) -> None:
    stack.publish(SEGMENTS)
    content = batch(viewed("ann", "m1"), viewed("bob", "m2"), viewed("bob", "m3"))
    killed = CollectorProcess(stack, reserve(2), SEGOPS_CRASH_AT="collect_after_ack")
    killed.wait_until_ready()
    assert killed.post(content) == 0
    assert killed.process.wait(20) == 137
    collector = CollectorProcess(stack, reserve(2))
    collector.wait_until_ready()
    assert collector.post(content) == 200  # the SDK retries
    assert sorted(sent_ids(stack)) == ["m1", "m1", "m2", "m2", "m3", "m3"]
    stack.start()
    stack.send([], final_ms=START_MS + DAY_MS)
    expected = {("user_id:ann", "viewers"), ("user_id:bob", "viewers"), ("user_id:bob", "keen")}

    def entered() -> set[tuple[str, str]]:
        return {(each["profile_id"], each["segment_key"]) for each in stack.changes().values()}

    wait_until(lambda: entered() >= expected, "the viewers are in their segments", stack.diagnosis)
    assert entered() == expected


@rest
def test_nothing_acknowledged_is_lost_in_an_outage(
    stack: Stack, reserve: Reserve, network: FaultyNetwork
) -> None:
    stack.publish(SEGMENTS)
    variables = {
        "FAULTS_REDIRECT": network.redirection,
        "SEGOPS_COLLECT_TIMEOUT": "500ms",
        "SEGOPS_KAFKA_REQUEST_TIMEOUT": "2s",
    }
    collector = CollectorProcess(stack, reserve(2), **variables)
    collector.wait_until_ready()
    acknowledged: list[str] = []
    refused: list[int] = []
    ended = threading.Event()

    def keep_sending(sender: int) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            ids = [f"{sender}-{number}-{n}" for n in range(5)]
            status = collector.post(batch(*(viewed(f"u{sender}", each) for each in ids)))
            if status == 200:
                acknowledged.extend(ids)
            else:
                refused.append(status)

    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(keep_sending, sender) for sender in range(4)]
        wait_until(lambda: len(acknowledged) > 100, "events are acknowledged", collector.log.read_text)
        network.down = True
        wait_until(lambda: len(refused) > 20, "requests are refused", collector.log.read_text)
        assert collector.page("/readyz")[0] == 503
        assert collector.page("/healthz")[0] == 200
        network.down = False
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) > before + 100, "it goes on", collector.log.read_text)
        ended.set()
        for future in futures:
            future.result()
    assert set(refused) == {503}
    assert set(acknowledged) <= set(sent_ids(stack))


@rest
def test_stop_answers_the_requests_in_progress(stack: Stack, reserve: Reserve) -> None:
    stack.publish(SEGMENTS)
    collector = CollectorProcess(stack, reserve(2))
    collector.wait_until_ready()
    acknowledged: list[str] = []
    statuses: set[int] = set()

    def keep_sending(sender: int) -> None:
        for number in range(100_000):
            message = f"{sender}-{number}"
            status = collector.post(viewed(f"u{sender}", message), "/v1/track")
            statuses.add(status)
            if status != 200:
                return
            acknowledged.append(message)

    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(keep_sending, sender) for sender in range(8)]
        wait_until(lambda: len(acknowledged) > 200, "events are acknowledged", collector.log.read_text)
        collector.process.send_signal(signal.SIGTERM)
        assert collector.process.wait(20) == 0, collector.log.read_text()
        for future in futures:
            future.result()
    assert statuses == {200, 0}  # answered, or never accepted
    assert sorted(acknowledged) == sorted(set(acknowledged) & set(sent_ids(stack)))
    assert "Traceback" not in collector.log.read_text()


@rest
def test_missing_topics_are_a_mistake_of_the_operator(
    broker: LocalBroker, stack: Stack, reserve: Reserve
) -> None:
    collector = CollectorProcess(stack, reserve(2))
    assert collector.process.wait(30) == 2
    assert "segops topics create" in collector.log.read_text()
