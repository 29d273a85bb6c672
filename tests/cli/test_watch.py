"""``segops watch``: sizes from the compacted topic, then the changes."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from segops import config
from segops.core.events import Change, change_id
from segops.kafka.clients import running_producer
from segops.schemas.changes import encode_change
from segops.schemas.records import partition_of

pytestmark = pytest.mark.broker

Run = Callable[..., Any]


def change(profile: str, segment: str, sequence: int, *, member: bool, flips_at: int | None = None) -> Change:
    return Change(
        profile_id=f"user_id:{profile}",
        segment_key=segment,
        segment_version=1,
        action="entered" if member else "exited",
        member=member,
        reason="event",
        occurred_at=1_760_000_000_000,
        evaluated_at=0,
        sequence=sequence,
        change_id=change_id(f"user_id:{profile}", segment, sequence),
        event_id=None,
        flips_at=flips_at,
        user_id=profile,
        anonymous_id=None,
        email=None,
        traits_json="{}",
    )


async def _publish(settings: config.Settings, changes: Iterable[Change]) -> None:
    async with running_producer(settings.kafka) as producer:
        for each in changes:
            key, value = each.profile_id.encode(), encode_change(each, 1)
            where = {"partition": partition_of(key, settings.topics.partitions)}
            state_key = key + b"|" + each.segment_key.encode()
            await producer.send_and_wait(settings.topics.membership_state, value, key=state_key, **where)
            await producer.send_and_wait(settings.topics.membership_changes, value, key=key, **where)


def publish(settings: config.Settings, *changes: Change) -> None:
    asyncio.run(_publish(settings, changes))


@pytest.fixture
def ready(segops: Run, settings: config.Settings, tmp_path: Path) -> config.Settings:
    segops("topics", "create")
    file = tmp_path / "segments.yaml"
    file.write_text(
        "version: 1\nsegments:\n"
        "  - {key: vip, name: '[bold]Very[/bold] important', when: {did: Order Completed}}\n"
        "  - {key: idle, name: Idle, when: {did_not: Order Completed}}\n"
    )
    assert segops("apply", file).status == 0
    return settings


def test_once_prints_the_sizes_of_all_segments(segops: Run, ready: config.Settings) -> None:
    publish(
        ready,
        change("a", "vip", 1, member=True),
        change("b", "vip", 1, member=True),
        change("a", "vip", 2, member=False),
        change("a", "vip", 3, member=True),
        change("a", "vip", 3, member=True),  # a replay
        change("c", "vip", 1, member=True),
        change("c", "vip", 2, member=False),
        change("d|x", "old", 1, member=True),
    )
    rows = [line.strip().split(maxsplit=2) for line in segops("watch", "--once").out.splitlines()[1:]]
    assert rows == [["idle", "0", "Idle"], ["old", "1"], ["vip", "2", "[bold]Very[/bold] important"]]
    lines = segops("watch", "--once", "--format", "jsonl", "--segment", "vip").out.splitlines()
    assert [json.loads(line)["members"] for line in lines] == [2]


def test_an_unknown_segment_is_a_user_error(segops: Run, ready: config.Settings) -> None:
    result = segops("watch", "--once", "--segment", "vp")
    assert result.status == 2
    assert "unknown segment 'vp'" in result.err


def test_each_change_is_printed_once_with_reason_and_end(process: Run, ready: config.Settings) -> None:
    publish(ready, change("a", "vip", 1, member=True))
    watcher = process("watch", "--segment", "vip", "--limit", 2)
    assert watcher.stdout.readline().split() == [b"segment", b"members", b"name"]
    assert watcher.stdout.readline().split()[:2] == [b"vip", b"1"]
    entered = change("b", "vip", 1, member=True, flips_at=1_760_000_060_000)
    publish(ready, change("b", "idle", 1, member=True), entered, entered, change("a", "vip", 2, member=False))
    lines = watcher.stdout.read().decode().splitlines()
    assert watcher.wait(30) == 0
    # The two come from different partitions, so either may be first.
    first_in = "entered" in lines[0]
    assert sorted(lines, key=lambda line: "exited" in line) == [
        "2025-10-09T08:53:20.000Z  + entered  vip  user_id:b  event"
        f"  until 2025-10-09T08:54:20.000Z  ({2 if first_in else 1} members)",
        f"2025-10-09T08:53:20.000Z  - exited   vip  user_id:a  event  ({1 if first_in else 0} members)",
    ]


def test_jsonl_prints_the_published_record(process: Run, ready: config.Settings) -> None:
    watcher = process("watch", "--format", "jsonl")
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(watcher.stdout.readline()), daemon=True)
    reader.start()
    published: dict[int, Change] = {}
    # It prints nothing before the first change: publish new ones until it follows.
    while reader.is_alive() and len(published) < 500:
        sequence = len(published) + 1
        published[sequence] = change("a", "vip", sequence, member=sequence % 2 == 1)
        publish(ready, published[sequence])
        reader.join(0.1)
    seen = json.loads(lines[0])
    assert lines[0] == encode_change(published[seen["sequence"]], 1) + b"\n"
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(60) == 0
