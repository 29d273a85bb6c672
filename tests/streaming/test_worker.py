"""The worker end to end: processes on a real broker, compared with the engine alone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from segops import __version__
from segops.core.segments import SegmentSet
from segops.kafka import definitions
from tests.rest import in_rest, rest

from .helpers import DAY_MS, SEGMENTS, START_MS, Sent, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS


def test_changes_equal_the_engines(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    sent = shop_events(3_000, users=60, partitions=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    expected = expected_changes(sent, stack.definitions, FINAL_MS)
    assert len(expected) > 300
    stack.wait_for_changes(expected)


def test_state_topic_holds_the_latest_change_in_the_profiles_partition(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    sent = shop_events(600, users=20, partitions=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    expected = expected_changes(sent, stack.definitions, FINAL_MS)
    stack.wait_for_changes(expected)
    changes = stack.read(stack.settings.topics.membership_changes)
    partitions = {record.key: record.partition for record in changes}
    # The two topics are produced in separate batches: one may be complete before the other.
    state_topic = stack.settings.topics.membership_state
    wait_until(lambda: len(stack.read(state_topic)) >= len(changes), "all states", stack.diagnosis)
    states = stack.read(state_topic)
    assert len(states) == len(changes)
    for record in states:
        change = json.loads(record.value)
        assert record.key == f"{change['profile_id']}|{change['segment_key']}".encode()
        assert record.partition == partitions[change["profile_id"].encode()]
        headers = dict(record.headers)
        assert headers["ce_id"].decode() == change["change_id"]
        assert headers["segops_version"].decode() == str(change["sequence"])
        assert headers["ce_type"].decode() == f"segops.membership.{change['action']}"


def test_memory_of_changed_profiles_brings_checkpoints_forward(stack: Stack) -> None:
    stack.environment = {
        "SEGOPS_CHECKPOINT_INTERVAL": "1m",
        "SEGOPS_CHECKPOINT_MAX_RECORDS": "1000000",
        "SEGOPS_CACHE_PROFILES": "100",
        "SEGOPS_CACHE_BYTES": "1MiB",
    }
    stack.publish()
    sent = shop_events(20_000, users=20_000, partitions=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    wait_until(lambda: _durable_records(stack, "sum") > 10_000, "durable records", stack.diagnosis)
    assert _durable_records(stack, r'bucket{le="10000.0"}') == _durable_records(stack, "count")


def _durable_records(stack: Stack, part: str) -> float:
    page = stack.get("/metrics")[1]
    found = re.search(rf"^segops_checkpoint_records_{part} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_restart_continues_where_the_worker_stopped(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    sent = shop_events(2_000, users=40, partitions=3)
    middle_ms = START_MS + DAY_MS // 2
    stack.start()
    stack.send(sent[:1_000], final_ms=middle_ms)
    stack.wait_for_changes(expected_changes(sent[:1_000], stack.definitions, middle_ms))
    stack.stop()
    stack.send(sent[1_000:], final_ms=FINAL_MS)
    stack.start()
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    assert len(stack.read(stack.settings.topics.membership_changes)) == len(stack.changes())


@pytest.mark.parametrize(
    "point",
    [
        "after_offset_commit:5",
        *map(
            in_rest, ["after_batch:3", "after_changelog_ack:5", "after_output_ack:5", "after_store_write:5"]
        ),
    ],
)
def test_kill_at_any_failpoint_does_not_affect_changes(stack: Stack, guarantee: str, point: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    sent = shop_events(3_000, users=60, partitions=3)
    stack.send(sent, final_ms=FINAL_MS)
    assert stack.start(crash_at=point).wait(60) == 137
    stack.start()
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))


@rest
def test_lost_store_is_rebuilt_despite_a_kill_during_recovery(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    sent = shop_events(2_000, users=40, partitions=3)
    middle_ms = START_MS + DAY_MS // 2
    stack.start()
    stack.send(sent[:1_000], final_ms=middle_ms)
    stack.wait_for_changes(expected_changes(sent[:1_000], stack.definitions, middle_ms))
    stack.stop()
    shutil.rmtree(stack.data_dir())
    assert stack.start(crash_at="during_recovery:2").wait(60) == 137
    stack.send(sent[1_000:], final_ms=FINAL_MS)
    stack.start()
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    restored = re.search(r"^segops_recovery_records_total (\S+)", stack.get("/metrics")[1], re.MULTILINE)
    assert restored is not None and float(restored[1]) > 0


def test_invalid_input_becomes_dead_letters_with_reasons(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    good = shop_events(300, users=10, partitions=3)
    bad = [b"", b"{", b"\xff\xfe", b"[]", b'{"type":"track"}', b"null"]
    stack.start()
    stack.send([*good[:150], *(Sent(1, value) for value in bad), *good[150:]], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(good, stack.definitions, FINAL_MS))
    letters = stack.read(stack.settings.topics.dead_letters)
    assert sorted(letter.value or b"" for letter in letters) == sorted(bad)
    for letter in letters:
        headers = dict(letter.headers)
        assert headers["segops-reason"] and headers["segops-detail"]
        assert headers["segops-origin"].startswith(f"{stack.settings.topics.events}:1:".encode())


def test_each_step_reports_its_cpu_time(stack: Stack) -> None:
    stack.publish()
    stack.start()
    sent = shop_events(100, users=5, partitions=stack.partitions)
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    spent = dict(
        re.findall(r'^segops_step_cpu_seconds_total\{step="(\w+)"\} (\S+)', stack.get("/metrics")[1], re.M)
    )
    assert set(spent) == {"resolve", "segment"}
    assert min(map(float, spent.values())) > 0


def test_worker_is_ready_once_it_owns_its_partitions(stack: Stack) -> None:
    stack.publish()
    stack.start()
    wait_until(lambda: stack.get("/readyz")[0] == 200, "ready", stack.diagnosis)
    assert stack.get("/healthz")[0] == 200
    assert "segops_partition_clock_seconds" in stack.get("/metrics")[1]
    assert stack.get("/")[0] == 404


@pytest.mark.usefixtures("several_workers")
def test_two_workers_share_the_partitions(stack: Stack) -> None:
    stack.publish()
    sent = shop_events(2_000, users=40, partitions=3)
    stack.start(number=0)
    wait_until(lambda: stack.get("/readyz", 0)[0] == 200, "first ready", stack.diagnosis)
    stack.send(sent[:1_000])
    stack.start(number=1)
    wait_until(
        lambda: (
            len(stack.owned_partitions(0)) + len(stack.owned_partitions(1)) == 3 and stack.owned_partitions(1)
        ),
        "shared",
    )
    stack.send(sent[1_000:], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    assert stack.owned_partitions(0) | stack.owned_partitions(1) == {"0", "1", "2"}


@pytest.mark.usefixtures("several_workers")
@rest
def test_rebalances_under_load_lose_nothing(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    sent = shop_events(4_000, users=60, partitions=3)
    stack.start(number=0)
    wait_until(lambda: stack.get("/readyz", 0)[0] == 200, "first ready", stack.diagnosis)
    for start in range(0, 4_000, 500):  # each restart of the second worker triggers a rebalance
        other = stack.start(number=1)
        stack.send(sent[start : start + 500])
        wait_until(lambda: stack.get("/readyz", 1)[0] == 200, "second ready", stack.diagnosis)
        other.kill()
        other.wait()
    stack.start(number=1)
    stack.send([], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))


@pytest.mark.usefixtures("several_workers")
def test_killed_process_is_restarted(stack: Stack) -> None:
    stack.publish()
    sent = shop_events(1_000, users=40, partitions=3)
    supervisor = stack.start(processes=2)
    wait_until(lambda: stack.get("/readyz")[0] == 200, "first ready", stack.diagnosis)
    stack.send(sent[:500])
    wait_until(lambda: len(_processes(supervisor.pid)) == 2, "two processes", stack.diagnosis)
    victim = _processes(supervisor.pid)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: victim not in (now := _processes(supervisor.pid)) and len(now) == 2,
        "another",
        stack.diagnosis,
    )
    stack.send(sent[500:], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(60) == 0


def _processes(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.usefixtures("several_workers")
@rest
def test_worker_waiting_for_the_group_keeps_running(stack: Stack) -> None:
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    first = stack.start(number=0, crash_at="on_revoke:1")
    wait_until(lambda: stack.owned_partitions(0), "first ready", stack.diagnosis)
    stack.start(
        number=1
    )  # the first process dies; the second gets no partitions until the group expires the first
    assert first.wait(60) == 137
    wait_until(lambda: len(stack.owned_partitions(1)) == 3, "second ready", stack.diagnosis)


@rest
def test_state_of_a_later_version_stops_the_worker_with_a_message(stack: Stack) -> None:
    stack.environment = {"SEGOPS_MAX_QUARANTINED": "1"}
    stack.publish()
    worker = stack.start()
    sent = shop_events(60, users=6, partitions=3)
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    for key in (b"user_id:x1", b"user_id:x2"):
        asyncio.run(_produce(stack, stack.settings.worker.changelog, key, b"\x7f later"))
    assert stack.start().wait(60) == 1
    assert "later version" in (stack.folder / "worker-0.log").read_text()


async def _produce(stack: Stack, topic: str, key: bytes, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers)
    await producer.start()
    await producer.send_and_wait(topic, value, key=key, partition=0)
    await producer.stop()


def test_wrong_partition_count_is_refused_with_a_message(stack: Stack) -> None:
    stack.publish()
    stack.partitions = 4
    assert stack.start().wait(60) == 2
    assert "has 3 partition(s), expected 4" in (stack.folder / "worker-0.log").read_text()


def test_misspelt_setting_is_named_with_the_closest_match(stack: Stack) -> None:
    stack.bootstrap_servers = "127.0.0.1:1"
    stack.environment = {"SEGOPS_PARTITION": "3"}
    stack.start()
    log = stack.folder / "worker-0.log"
    log_text = "unknown setting SEGOPS_PARTITION; did you mean SEGOPS_PARTITIONS?"
    wait_until(lambda: log_text in log.read_text(), "its name", lambda: log.read_text())


@rest
def test_kill_between_two_publications_of_definitions(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    # Only definitions trigger a checkpoint, so results of new definitions are not durable.
    stack.environment = {"SEGOPS_CHECKPOINT_INTERVAL": "60s", "SEGOPS_CHECKPOINT_MAX_RECORDS": "100000"}
    if guarantee == "exactly_once":  # only durable results are visible
        stack.environment = {"SEGOPS_CHECKPOINT_INTERVAL": "300ms"}
    stack.publish()
    sent = shop_events(600, users=30, partitions=3)
    worker = stack.start()
    stack.send(sent, final_ms=START_MS + DAY_MS)
    segment = "  - key: {}\n    name: Name\n    when:\n      {}\n"
    second = SEGMENTS.rstrip() + "\n" + segment.format("passing", "known_for: 1ms")
    if guarantee == "at_least_once":
        stack.wait_for_changes(expected_changes(sent, stack.definitions, START_MS + DAY_MS))
    stack.publish(second)
    wait_until(lambda: len(_members(stack, "passing")) == 30, "30 new members", stack.diagnosis)
    worker.kill()
    worker.wait()
    third = SEGMENTS.rstrip() + "\n" + segment.format("passing", "did: Never Done")
    stack.publish(third + segment.format("everyone", "known_for: 2ms"))
    stack.start()
    wait_until(lambda: len(_members(stack, "everyone")) == 30, "30 others", stack.diagnosis)
    wait_until(lambda: not _members(stack, "passing"), "the end of what waits for history", stack.diagnosis)
    stack.stop()
    _assert_one_history(stack)
    assert not _members(stack, "passing")


def _latest(stack: Stack) -> dict[tuple[str, str], bool]:
    records = stack.read(stack.settings.topics.membership_state)
    changes = sorted(map(json.loads, {record.value for record in records}), key=lambda one: one["sequence"])
    return {(one["profile_id"], one["segment_key"]): one["member"] for one in changes}


def _members(stack: Stack, segment: str) -> set[str]:
    return {profile for (profile, key), member in _latest(stack).items() if key == segment and member}


def _assert_one_history(stack: Stack) -> None:
    """Verify that sequences are unique, memberships alternate and topic and profiles agree."""
    changes = sorted(stack.changes().values(), key=lambda one: (one["profile_id"], one["sequence"]))
    sequences = [(one["profile_id"], one["sequence"]) for one in changes]
    assert len(set(sequences)) == len(sequences)
    member: dict[tuple[str, str], bool] = {}
    for one in changes:
        pair = one["profile_id"], one["segment_key"]
        assert one["member"] is not member.get(pair, False), one
        member[pair] = one["member"]
    states: dict[str, Any] = stack.states()
    memberships = {(profile, key) for profile, (_, keys) in states.items() for key in keys}
    assert {pair for pair, holds in member.items() if holds} == memberships
    assert {pair for pair, holds in _latest(stack).items() if holds} == memberships


def test_new_definitions_reach_every_profile(stack: Stack) -> None:
    stack.publish()
    sent = shop_events(600, users=30, partitions=3)
    middle_ms = START_MS + DAY_MS
    stack.start()
    stack.send(sent, final_ms=middle_ms)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, middle_ms))
    more = "  - key: everyone\n    name: Everyone\n    when:\n      known_for: 1ms\n"
    before = set(stack.changes())
    stack.publish(SEGMENTS.rstrip() + "\n" + more)
    wait_until(lambda: len(set(stack.changes()) - before) == 30, "30 new members", stack.diagnosis)
    fresh = [change for key, change in stack.changes().items() if key not in before]
    assert {change["segment_key"] for change in fresh} == {"everyone"}
    assert {change["reason"] for change in fresh} == {"definition"}
    wait_until(lambda: 'segops_segment_members{segment="everyone"} 30.0' in stack.get("/metrics")[1], "sizes")
    published = asyncio.run(definitions.read(stack.settings)).definitions()
    version = f'segops_definitions_version_info{{version="{SegmentSet(published).version}"}} 1.0'
    wait_until(lambda: version in stack.get("/metrics")[1], "the new version")
    page = stack.get("/metrics")[1]
    assert f"segops_definitions_active {len(published)}.0" in page
    assert page.count("segops_definitions_version_info{") == 1
    assert f'segops_build_info{{version="{__version__}"}} 1.0' in page
