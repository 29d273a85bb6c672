"""The archive of a running system: killed at every failpoint, shared, erased, read back with the topic."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from segops.archive.history import History, TopicHistory
from segops.archive.ledger import latest
from segops.archive.reading import ArchiveHistory, ChainedHistory
from segops.archive.tables import ArchivedRecord
from segops.schemas.records import partition_of
from segops.streaming.failpoints import ARCHIVE_POINTS
from tests.archive.helpers import contents
from tests.faults.proxy import FaultyNetwork
from tests.rest import in_rest, rest

from .archives import Archives
from .helpers import DAY_MS, Stack, wait_until
from .pages import page
from .test_erasure import command as erase
from .test_identity import SEGMENTS as PEOPLE
from .test_identity import Story
from .test_operations import admin
from .topic_deletion import delete_topics

pytestmark = pytest.mark.broker
Reserve = Callable[[int], list[int]]
USERS = [f"user-{number}" for number in range(6)]
#: The failpoints of `make test`; `make test-rest` adds the others.
_QUICK = ("archive_after_append_manifest",)


@pytest.fixture
def archives(stack: Stack) -> Archives:
    archives = Archives(stack)
    archives.create_topics()
    return archives


def of_others(archives: Archives, topic: str, erased: str, upto: int) -> list[tuple[int, ArchivedRecord]]:
    """Return the committed records of a topic without those of an erased person up to an offset."""
    key = f"user_id:{erased}".encode()
    return [(n, r) for n, r in archives.logged(topic) if r.key != key or r.offset > upto]


@pytest.mark.parametrize("point", [p if p in _QUICK else in_rest(p) for p in ARCHIVE_POINTS])
def test_each_record_is_archived_once_after_a_kill(archives: Archives, point: str) -> None:
    archives.send(200, USERS)
    assert archives.once("--once") == 0
    archives.send(200, USERS)
    archives.erase("user-3", offset=1 << 40)
    assert archives.once(SEGOPS_CRASH_AT=point) == 137
    assert archives.once() == 0, archives.log().read_text()
    for topic in archives.topics:
        assert archives.held(topic) == of_others(archives, topic, "user-3", 1 << 40)
        assert len(archives.held(topic)) > 200
    assert archives.problems() == []
    assert b"user-3" not in contents(archives.folder)


@rest
def test_processes_share_partitions_and_a_frozen_one_changes_nothing(
    archives: Archives, several_workers: None
) -> None:
    places = [(topic, n) for topic in archives.topics for n in range(archives.stack.partitions)]

    def owners() -> set[str]:
        found = [latest(archives.storage, *place) for place in places]
        return {str(each.claim) for each in found if each is not None}

    archives.send(100, USERS)
    frozen = archives.start(SEGOPS_ARCHIVE_FILE_INTERVAL="1h")  # it collects, and writes nothing
    wait_until(lambda: len(owners()) == 6, "the first process owns all partitions", archives.log().read_text)
    before = owners()
    frozen.send_signal(signal.SIGSTOP)
    archives.start(number=1)
    wait_until(lambda: not owners() & before, "the second process owns all", archives.log(1).read_text)
    archives.send(100, USERS)
    expected = {topic: archives.logged(topic) for topic in archives.topics}
    wait_until(
        lambda: all(archives.held(topic) == expected[topic] for topic in archives.topics),
        "all records are archived",
        archives.log(1).read_text,
    )
    frozen.send_signal(signal.SIGCONT)
    frozen.send_signal(signal.SIGTERM)
    assert frozen.wait(60) == 0, archives.log().read_text()
    archives.stack.stop()
    assert {topic: archives.held(topic) for topic in archives.topics} == expected
    assert archives.once() == 0
    assert archives.problems() == []


def test_erased_person_is_in_no_file(stack: Stack) -> None:
    archives = Archives(stack)
    stack.publish(PEOPLE)
    story = Story(stack)
    stack.start()
    for _ in range(3):
        story.event("Product Viewed", "anna-1", properties={"total": 1})
    story.event("Order Completed", "u1ada anna-1 m1ada", properties={"total": 400})
    story.event("Product Viewed", "u2bob")
    story.publish()
    archives.start()
    story.event("Product Viewed", "u2bob anna-1")
    stack.send(story.sent[-1:], final_ms=story.now_ms)
    events = stack.settings.topics.profile_events

    def of(profile: str, kind: bytes | None = None) -> list[bytes]:
        held = [record for _, record in archives.held(events) if record.key == profile.encode()]
        return [r.value or b"" for r in held if dict(r.headers).get("segops-type") == kind]

    words = [b"u1ada", b"anna-1", b"m1ada@shop.example"]
    wait_until(
        lambda: of("user_id:u2bob", b"refused") and _found(archives, words) == set(words),
        "Bob's claim is refused, and all is archived",
        archives.log().read_text,
    )
    done = erase(stack, "--profile", "anonymous_id:anna-1", "--request", "r1")
    assert done.returncode == 0, done.stderr
    story.event("Product Viewed", "u1ada")
    stack.send(story.sent[-1:], final_ms=story.now_ms)
    wait_until(
        lambda: len(of("user_id:u1ada")) == 1 and _found(archives, words[1:]) == set(),
        "of her, only the event after the erasure is archived",
        archives.log().read_text,
    )
    receipts = [json.loads(record.value) for record in stack.read(stack.settings.topics.receipts)]
    assert len(receipts) == 3
    assert all(receipt["offset"] >= 0 for receipt in receipts)
    assert sum(b'"anonymousId":null' in value for value in of("user_id:u2bob")) == 1


def _found(archives: Archives, words: list[bytes]) -> set[bytes]:
    try:
        found = contents(archives.folder)
    except FileNotFoundError:  # replaced meanwhile
        return set(words)
    return {word for word in words if word in found}


async def _read(history: History, partition: int, **bounds: int) -> list[Any]:
    async with aclosing(history.read(partition, **{"from_ms": 0, **bounds})) as batches:
        return [batch async for batch in batches]


def read(history: History, partition: int, **bounds: int) -> list[tuple[int, bytes | None, bytes | None]]:
    batches = asyncio.run(_read(history, partition, **bounds))
    return [(record.offset, record.key, record.value) for batch in batches for record in batch.records]


def histories(archives: Archives, topic: str) -> tuple[TopicHistory, ChainedHistory]:
    """Return the history that the topic retains, and that of the archive and the topic."""
    retained = TopicHistory(archives.stack.settings.kafka, topic)
    return retained, ChainedHistory(ArchiveHistory(archives.storage, topic), retained)


def delete_before(stack: Stack, topic: str, partition: int, offset: int) -> None:
    wanted = {TopicPartition(topic, partition): RecordsToDelete(offset)}
    admin(stack, lambda client: client.delete_records(wanted))


def test_archive_and_topic_make_one_history(archives: Archives) -> None:
    stack, topic = archives.stack, archives.topics[0]
    partition = partition_of(f"user_id:{USERS[0]}".encode(), stack.partitions)
    archives.send(100, USERS[:1])
    assert archives.once() == 0
    archives.send(100, USERS[:1])
    log = [(r.offset, r.key, r.value) for n, r in archives.logged(topic) if n == partition]
    end = log[-1][0] + 1
    kept = archives.end(topic, partition)
    assert 0 < kept < end
    retained, both = histories(archives, topic)
    assert read(retained, partition, to_offset=end) == read(both, partition, to_offset=end) == log
    since = archives.start_ms + DAY_MS
    part = read(retained, partition, to_offset=end - 20, from_offset=30, from_ms=since)
    assert part == read(both, partition, to_offset=end - 20, from_offset=30, from_ms=since)
    recent = {r.offset for n, r in archives.logged(topic) if n == partition and r.timestamp >= since}
    assert part == [each for each in log if 30 <= each[0] < end - 20 and each[0] in recent]
    assert len(part) > 50
    assert read(retained, partition, to_offset=end, from_ms=archives.start_ms + 99 * DAY_MS) == []
    delete_before(stack, topic, partition, kept)
    assert read(both, partition, to_offset=end) == log
    assert read(retained, partition, to_offset=end) == [each for each in log if each[0] >= kept]
    assert asyncio.run(both.complete_since_ms(partition)) == 0


@rest
def test_deleted_records_are_a_gap_of_the_history(archives: Archives) -> None:
    stack, topic = archives.stack, archives.topics[0]
    partition = partition_of(f"user_id:{USERS[0]}".encode(), stack.partitions)
    archives.send(30, USERS[:1])
    assert archives.once() == 0
    kept = archives.end(topic, partition)
    archives.send(60, USERS[:1])
    logged = [r for n, r in archives.logged(topic) if n == partition]
    first = next(record for record in logged if record.offset > kept + 10)
    delete_before(stack, topic, partition, first.offset)
    retained, both = histories(archives, topic)
    end = logged[-1].offset + 1
    for history, begin in ((retained, 1), (both, 0)):
        batches = asyncio.run(_read(history, partition, to_offset=end, from_offset=begin))
        gaps = [batch for batch in batches if batch.complete_since_ms is not None]
        assert [batch.complete_since_ms for batch in gaps] == [first.timestamp]
        assert gaps[0].records[0].offset == first.offset
        assert asyncio.run(history.complete_since_ms(partition)) == first.timestamp
    assert archives.once() == 0
    manifest = latest(archives.storage, topic, partition)
    assert manifest is not None
    assert [(gap.first, gap.last) for gap in manifest.gaps] == [(kept, first.offset - 1)]
    assert manifest.complete_since_ms == first.timestamp
    assert asyncio.run(both.complete_since_ms(partition)) == first.timestamp
    delete_before(stack, topic, partition, end)
    assert read(retained, partition, to_offset=end, from_offset=1) == []


@rest
def test_outage_is_waited_out(archives: Archives, network: FaultyNetwork, reserve: Reserve) -> None:
    (port,) = reserve(1)
    network.down = True
    process = archives.start(
        SEGOPS_ARCHIVE_WEB_PORT=str(port),
        SEGOPS_KAFKA_REQUEST_TIMEOUT="2s",
        FAULTS_REDIRECT=network.redirection,
    )
    wait_until(lambda: "waiting for Kafka" in page(port, "/readyz"), "it waits", archives.log().read_text)
    assert page(port, "/healthz").startswith("ok")
    network.down = False
    archives.send(50, USERS)
    expected = archives.logged(archives.topics[0])
    wait_until(lambda: archives.held(archives.topics[0]) == expected, "archived", archives.log().read_text)
    assert page(port, "/readyz") == "ready\n"
    assert f'segops_archive_records_total{{topic="{archives.topics[0]}"}} 40.0' in page(port, "/metrics")
    network.down = True
    archives.send(50, USERS)
    network.down = False
    expected = archives.logged(archives.topics[0])
    wait_until(lambda: archives.held(archives.topics[0]) == expected, "archived", archives.log().read_text)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_unknown_host_is_a_user_error(stack: Stack) -> None:
    archives = Archives(stack)
    assert archives.start(SEGOPS_KAFKA_BOOTSTRAP_SERVERS="nowhere.invalid:9092").wait(60) == 2
    assert "nowhere.invalid" in archives.log().read_text()


def test_missing_topics_are_a_user_error(stack: Stack) -> None:
    archives = Archives(stack)
    assert archives.once("--once") == 2
    assert "missing topics" in archives.log().read_text()


def test_recreated_topic_is_refused(archives: Archives) -> None:
    archives.send(20, USERS)
    assert archives.once() == 0
    delete_topics(archives.stack, [archives.topics[0]])
    archives.create_topics()
    assert archives.once() == 2
    assert "the topic was recreated" in archives.log().read_text()
