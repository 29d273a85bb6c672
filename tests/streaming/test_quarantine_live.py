"""An unreadable profile on a broker: no other profile waits for it, and its release loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.kafka.clients import running_producer
from segops.schemas.quarantine import decode_quarantined
from segops.schemas.records import partition_of
from segops.schemas.state import body_of, decode_profile
from tests.rest import rest

from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS
WHO = b"user_id:u1"


@pytest.fixture
def stack(stack: Stack, guarantee: str) -> Stack:
    stack.guarantee = guarantee
    stack.publish()
    return stack


def segops(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.name.rstrip("."),
    }
    command = [sys.executable, "-c", "from segops.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def changelog(stack: Stack) -> bytes | None:
    """Return the latest state of WHO in the changelog."""
    records = [record.value for record in stack.read(stack.settings.worker.changelog) if record.key == WHO]
    return records[-1] if records else None


def work_off(stack: Stack, sent: list[Sent], people: set[str]) -> None:
    """Start a worker and wait until it has published the changes of these users up to ``sent``."""
    expected = set(of_people(expected_changes(sent, stack.definitions, 0), people))
    stack.start()
    wait_until(lambda: set(stack.changes()) >= expected, "the changes so far", stack.diagnosis)


def of_people(changes: dict[str, dict[str, Any]], people: set[str]) -> dict[str, dict[str, Any]]:
    return {key: change for key, change in changes.items() if change["profile_id"] in people}


def damage(stack: Stack) -> None:
    """Replace an integer by a float, as an earlier version did."""
    stored = changelog(stack)
    assert stored is not None
    body = body_of(stored)
    fields = msgspec.msgpack.decode(body)
    fields[1] = float(fields[1])

    async def put() -> None:
        async with running_producer(stack.settings.kafka) as producer:
            data = stored.removesuffix(body) + msgspec.msgpack.encode(fields)
            partition = partition_of(WHO, stack.partitions)
            await producer.send_and_wait(stack.settings.worker.changelog, data, key=WHO, partition=partition)

    asyncio.run(put())


def is_quarantined(stack: Stack) -> bool:
    data = changelog(stack)
    return data is not None and decode_quarantined(data) is not None


def first_ms(stack: Stack) -> int | None:
    """Return the ``first_ms`` of WHO in the changelog; None while it is in quarantine."""
    return None if is_quarantined(stack) else decode_profile(changelog(stack) or b"").first_ms


def in_quarantine(stack: Stack) -> list[str]:
    return segops(stack, "quarantine", "list").stdout.splitlines()[1:]


def halves(stack: Stack) -> tuple[list[Sent], list[Sent]]:
    sent = shop_events(900, users=12, partitions=3)
    return sent[:450], sent[450:]


def profile_ids(sent: list[Sent]) -> set[str]:
    return {f"user_id:{json.loads(one.value)['userId']}" for one in sent}


def quarantine_one(stack: Stack, first: list[Sent], second: list[Sent]) -> None:
    """Process ``first``, damage WHO, process ``second`` for all others and kill the worker."""
    stack.send(first)
    work_off(stack, first, profile_ids(first))
    wait_until(lambda: changelog(stack), "a profile in the changelog", stack.diagnosis)
    stack.stop()
    damage(stack)
    stack.send(second)
    work_off(stack, [*first, *second], profile_ids(first) - {WHO.decode()})
    wait_until(lambda: is_quarantined(stack) and in_quarantine(stack), "profile quarantined", stack.diagnosis)
    assert stack.get("/healthz")[0] == 200
    worker = stack.workers.pop()
    worker.send_signal(signal.SIGKILL)
    worker.wait()


@pytest.mark.parametrize("lost", [False, True], ids=["its store", "a store from the changelog"])
@rest
def test_released_profile_has_missed_nothing_after_a_kill(stack: Stack, tmp_path: Path, lost: bool) -> None:
    first, second = halves(stack)
    quarantine_one(stack, first, second)
    assert len(in_quarantine(stack)) == 1
    refused = segops(stack, "quarantine", "restore", "user_id:u1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Expected `int`, got `float`" in refused.stderr
    shown = segops(stack, "quarantine", "show", "user_id:u1")
    fields = json.loads(shown.stdout)
    fields[1] = int(fields[1])
    (tmp_path / "repaired.json").write_text(json.dumps(fields))
    restored = segops(
        stack, "quarantine", "restore", "user_id:u1", "--state", str(tmp_path / "repaired.json")
    )
    assert restored.returncode == 0, restored.stderr
    stack.start(number=1 if lost else 0)
    expected = expected_changes([*first, *second], stack.definitions, FINAL_MS)
    wait_until(lambda: not in_quarantine(stack), "an empty quarantine", stack.diagnosis)
    stack.send([], final_ms=FINAL_MS)
    stack.wait_for_changes(expected)
    assert "nothing is quarantined" in segops(stack, "quarantine", "list").stdout


@rest
def test_dropped_profile_restarts_empty(stack: Stack) -> None:
    first, second = halves(stack)
    quarantine_one(stack, first, second)
    mine = {WHO.decode()}
    before = of_people(stack.changes(), mine)
    inside = {
        change["segment_key"]
        for change in sorted(before.values(), key=lambda change: change["sequence"])
        if change["member"]
    }
    dropped = segops(stack, "quarantine", "drop", "user_id:u1")
    assert dropped.returncode == 0, dropped.stderr
    stack.start()
    wait_until(lambda: not in_quarantine(stack), "an empty quarantine", stack.diagnosis)
    later = shop_events(30, users=1, partitions=1, seed=9, start_ms=START_MS + DAY_MS)
    later = [Sent(1, one.value.replace(b'"u0"', b'"u1"')) for one in later]
    stack.send(later, final_ms=FINAL_MS)
    wait_until(lambda: first_ms(stack) == START_MS + DAY_MS, "a profile of the later events", stack.diagnosis)
    after = of_people(stack.changes(), mine)
    new = sorted((after[key] for key in after.keys() - before.keys()), key=lambda change: change["sequence"])
    assert [change["sequence"] for change in new] == list(range(len(before) + 1, len(before) + 1 + len(new)))
    exits = [change for change in new if change["reason"] == "quarantine"]
    assert exits == new[: len(exits)]
    assert {change["segment_key"] for change in exits} <= inside
    assert not any(change["member"] for change in exits)
