"""``segops segments``, ``pause``, ``resume`` and ``retire``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segops import config
from segops.kafka.clients import running_producer
from segops.kafka.definitions import DefinitionLog
from segops.operations.segments import overview
from segops.schemas.sizes import Progress, SizeRecord, encode_published, key_of

Run = Callable[..., Any]


def test_overview_names_states_and_dependants() -> None:
    log = DefinitionLog()
    for key, rest in {
        "base": {"when": {"did": "A"}, "paused": True},
        "user": {"when": {"in_segment": "base"}},
        "lost": {"when": {"in_segment": "unknown"}},
        "old": {"retired": True},
    }.items():
        log.apply(key.encode(), json.dumps({"key": key, "version": 1, **rest}).encode())
    found = {each.key: each for each in overview(log)}
    assert list(found) == ["base", "lost", "old", "user"]
    assert {key: each.state for key, each in found.items()} == {
        "base": "paused",
        "lost": "left out",
        "old": "retired",
        "user": "live",
    }
    assert found["base"].used_by == ("user",)
    assert found["lost"].reason == "in_segment: unknown segment unknown"


async def publish_size(settings: config.Settings) -> None:
    """Write the sizes of one segment, as the workers of three partitions do."""
    async with running_producer(settings.kafka) as producer:
        for number in range(3):
            record = SizeRecord(
                segment_key="buyers",
                version=1,
                partition=number,
                partitions=3,
                generation=0,
                state="building" if number == 0 else "live",
                members=1_234 if number == 1 else 0,
                entered={},
                left={},
                clock_ms=1_767_225_600_000,
                progress=Progress(50, 200, rate=10.0) if number == 0 else None,
            )
            key, value = key_of(record), encode_published(record)
            await producer.send_and_wait(settings.topics.sizes, value, key=key, partition=number)


@pytest.mark.broker
def test_segments_are_paused_resumed_listed_and_retired(
    segops: Run, settings: config.Settings, tmp_path: Path
) -> None:
    assert settings.topics.partitions == 3
    segops("topics", "create")
    file = tmp_path / "shop.yaml"
    file.write_text(
        "version: 1\nsegments: [{key: buyers, when: {did: Order Completed}}, "
        "{key: others, when: {not: {in_segment: buyers}}}]\n"
    )
    segops("apply", file)
    assert segops("pause", "buyers").out.splitlines() == ["~ buyers  version 1  paused", "1 paused"]
    assert segops("apply", file).out.splitlines()[-1] == "2 unchanged"
    listed = [line.split() for line in segops("segments").out.splitlines()]
    assert listed[1:] == [["buyers", "1", "paused", "others", "buyers"], ["others", "1", "live", "others"]]
    asyncio.run(publish_size(settings))
    (buyers,) = (each for each in map(str.split, segops("segments").out.splitlines()) if each[0] == "buyers")
    assert " ".join(buyers[2:8]) == "building 25%, about 15 s left"
    assert buyers[8:11] == ["1,234", "+0", "2026-01-01T00:00:00.000Z"]
    assert segops("resume", "buyers").out.splitlines() == ["~ buyers  version 1  resumed", "1 resumed"]
    refused = segops("retire", "buyers")
    assert (refused.status, refused.out) == (2, "")
    assert "cannot retire 'buyers': used by others (in_segment)" in refused.err
    assert segops("retire", "buyers", "others").out.splitlines()[-1] == "2 retired"
    assert len(segops("segments").out.splitlines()) == 1
    found = [json.loads(line) for line in segops("segments", "--all", "--format", "jsonl").out.splitlines()]
    assert [(each["key"], each["state"]) for each in found] == [("buyers", "retired"), ("others", "retired")]
    unknown = segops("pause", "nothing")
    assert (unknown.status, unknown.err.count("no such segment is published")) == (2, 1)
