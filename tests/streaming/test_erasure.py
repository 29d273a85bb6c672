"""Erasing a profile: in one processor with any checkpoints, and in a running system by command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.messages import Erase
from segops.core.profile import Erasing
from segops.core.segments import SegmentSet
from segops.schemas.erasures import decode_request, hashed
from segops.schemas.in_force import BASE_KEY
from segops.schemas.messages import encode_message
from segops.schemas.segments import load
from segops.schemas.ticks import TYPE_HEADER
from segops.stores.memory import MemoryStores
from segops.streaming.durability.restorer import StoreRestorer
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import BASE_META
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .fakes import FakeRecord
from .helpers import SEGMENTS, Stack, wait_until
from .snapshots import logged_of
from .test_identity import SEGMENTS as PEOPLE
from .test_identity import Story, rows
from .test_segment_processor import clock, forwarded

R = Erasing("r")


def viewed(offset: int, user: str = "u1") -> FakeRecord:
    at = f"2025-01-01T00:00:{offset:02}Z"
    form = {"type": "track", "event": "Product Viewed", "userId": user, "messageId": f"m{offset}"}
    return forwarded(json.dumps({**form, "timestamp": at}).encode(), offset)


def erase(offset: int, user: str = "u1") -> FakeRecord:
    message = Erase(f"user_id:{user}", R)
    return FakeRecord(offset, message.to.encode(), encode_message(message), [(TYPE_HEADER, b"erase")])


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    return Engine(SegmentSet(load([file])))


def opened(
    stores: MemoryStores, engine: Engine, start: int = 0, output: RecordingOutput | None = None
) -> SegmentProcessor:
    processor = SegmentProcessor(
        stores.open(0), engine, start=Start(start, clock(), since_ms=0), output=output or RecordingOutput()
    )
    while processor.rescan(100):
        pass
    return processor


def checkpoint(processor: SegmentProcessor) -> dict[str, bytes | None]:
    """Take a checkpoint and return what it wrote to the changelog."""
    snapshot = processor.snapshot()
    logged = {write.profile_id: write.state for write in logged_of(snapshot)}
    processor.write(snapshot, 1)
    processor.committed()
    return logged


def test_the_base_of_sequences_is_logged_before_the_profiles(engine: Engine) -> None:
    processor = opened(MemoryStores(), engine)
    processor.process([viewed(0), viewed(1), viewed(2)])
    checkpoint(processor)
    processor.process([erase(3), viewed(4, "u2")])
    logged = [write.profile_id for write in logged_of(processor.snapshot())]
    assert logged[:3] == [BASE_KEY.decode(), "user_id:u1", "user_id:u2"]


def test_profile_is_erased_in_two_steps(engine: Engine) -> None:
    stores, output = MemoryStores(), RecordingOutput()
    processor = opened(stores, engine, output=output)
    processor.process([viewed(0), viewed(1), viewed(2)])
    checkpoint(processor)
    processor.process([erase(3)])
    processor.fire_due(10)
    logged = checkpoint(processor)
    # Records read before this checkpoint may be read again; the tombstone keeps them from being applied.
    assert logged["user_id:u1"] is not None
    processor.close()
    published = len(output.changes)
    processor = opened(stores, engine, start=0, output=output)
    processor.process([viewed(0), viewed(1), viewed(2), erase(3)])
    assert len(output.changes) == published
    processor.fire_due(10)
    assert checkpoint(processor)["user_id:u1"] is None
    assert not processor.fire_due(10)
    assert [each.found for each in output.erasures] == ["profile"]
    assert output.erased_by == [3]
    processor.close()
    store = stores.open(0)
    assert (store.profile_ids(None, 10), store.due(1 << 60, 10)) == ([], [])


def test_returning_profile_has_new_change_ids(engine: Engine) -> None:
    ids = []
    for pause in (False, True):
        stores, output = MemoryStores(), RecordingOutput()
        processor = opened(stores, engine, output=output)
        processor.process([viewed(0), viewed(1), viewed(2), erase(3)])
        for _ in range(3 if pause else 0):
            checkpoint(processor)
            processor.fire_due(10)
        if pause:
            processor.close()
            processor = opened(stores, engine, start=processor.offset, output=output)
        processor.process([viewed(4), viewed(5), viewed(6)])
        entered = [c.change_id for c in output.changes if c.member]
        assert len(entered) == len(set(entered)) > 1
        ids.append([c.change_id for c in output.changes])
    assert ids[0] == ids[1]


def test_restored_store_continues_the_sequence_of_an_erased_profile(engine: Engine) -> None:
    processor = opened(MemoryStores(), engine)
    processor.process([viewed(0), viewed(1), viewed(2), erase(3)])
    logged = checkpoint(processor)
    store = MemoryStores().open(0)
    values = {key.encode(): value for key, value in logged.items()}
    StoreRestorer(store, expected=1).apply(values, 9)
    assert int(store.meta(BASE_META) or b"0") > 1


def test_request_without_identifier_is_rejected() -> None:
    for value in (
        None,
        b"",
        b"{}",
        b'{"profile":"u1","request":"r"}',
        b'{"profile":"user_id:u1","request":""}',
    ):
        with pytest.raises(ValueError, match=r"request|identifier"):
            decode_request(value)


def command(stack: Stack, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.name.rstrip("."),
    }
    line = [sys.executable, "-c", "from segops.cli import main; main()", "erase", *options]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)


def receipts(stack: Stack) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in stack.read(stack.settings.topics.receipts)]


@pytest.mark.broker
def test_every_identifier_of_a_profile_is_erased(stack: Stack) -> None:
    stack.publish(PEOPLE)
    story = Story(stack)
    stack.start()
    for _ in range(3):
        story.event("Product Viewed", "a1", properties={"total": 1})
    story.event("Order Completed", "u1 a1 m1", properties={"total": 400})
    story.event("Product Viewed", "u2")
    story.publish()
    assert {row[0] for row in rows(stack)} == {"user_id:u1", "user_id:u2"}
    done = command(stack, "--profile", "anonymous_id:a1", "--request", "r1")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 identifiers" in done.stdout
    found = {each["identifier_sha256"]: each["found"] for each in receipts(stack)}
    assert found == {
        hashed("user_id:u1"): "profile",
        hashed("anonymous_id:a1"): "redirect",
        hashed("email:m1@shop.example"): "redirect",
    }
    wait_until(lambda: set(_left(stack)) == {"user_id:u2"}, "the changelog forgets", stack.diagnosis)
    latest = {r.key.decode(): r.value for r in stack.read(stack.settings.topics.membership_state)}
    assert {key.partition("|")[0] for key, value in latest.items() if value is not None} == {"user_id:u2"}
    ended = [c for c in stack.changes().values() if c["reason"] == "erasure"]
    assert {c["profile_id"] for c in ended} == {"user_id:u1"}
    assert {c["traits_json"] for c in ended} == {"{}"}


def _left(stack: Stack) -> list[str]:
    latest = {r.key.decode(): r.value for r in stack.read(stack.settings.worker.changelog)}
    return [key for key, value in latest.items() if value is not None and not key.startswith("\0")]


@pytest.mark.broker
def test_waiting_for_a_receipt_times_out(stack: Stack) -> None:
    stack.publish()
    done = command(stack, "--profile", "user_id:u1", "--wait", "2")
    assert done.returncode == 1
    assert "no receipt arrived" in done.stderr
    assert command(stack, "--profile", "u1").returncode == 2
