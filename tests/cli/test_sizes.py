"""``segops sizes`` and ``segops population``, from records on a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from segops import config
from segops.kafka import topics
from segops.kafka.clients import running_producer
from segops.schemas.sizes import PopulationFigures, PopulationRecord, Published
from tests.analytics.recount import HOUR, MINUTE, START, published, size, trend
from tests.command import interruptible

pytestmark = pytest.mark.broker

Run = Callable[..., Any]

RECORDS = [
    size("buyers", 0, 40, partitions=3),
    *(size("vip", number, 400 + number, partitions=3, clock_ms=START + 5 * HOUR) for number in range(2)),
    size(
        "vip", 2, 402, partitions=3, clock_ms=START + 5 * HOUR, entered={"unknown": 403}, left={"unknown": 1}
    ),
    trend("vip", 0, START + HOUR, (7, 0), 390, partitions=3),
    trend("vip", 1, START + 3 * HOUR, (9, 2), 401, partitions=3),
    trend("vip", 0, START + 5 * HOUR - MINUTE, (11, 1), 400, partitions=3),
]


async def send(settings: config.Settings, records: Iterable[Published]) -> None:
    async with running_producer(settings.kafka) as producer:
        for record in records:
            key, value = published(record)
            is_trend = key.count(b"|") == 3
            topic = settings.topics.trends if is_trend else settings.topics.sizes
            await producer.send_and_wait(topic, value, key=key, partition=record.partition)


@pytest.fixture
def ready(settings: config.Settings) -> config.Settings:
    asyncio.run(topics.create(settings))
    asyncio.run(send(settings, RECORDS))
    return settings


def test_all_segments_are_a_table(segops: Run, ready: config.Settings) -> None:
    result = segops("sizes")
    assert (result.status, result.err) == (0, "")
    head, *rows = [line.split() for line in result.out.splitlines()]
    assert head == ["segment", "members", "+1h", "-1h", "+24h", "-24h", "volatility", "state", "as", "of"]
    assert rows[0][:7] == ["buyers", "40", "+0", "-0", "+0", "-0", "0.0%"]
    assert " ".join(rows[0][7:]) == "live, 1 of 3 partitions reported 2025-10-13T05:00:00.000Z"
    assert rows[1] == ["vip", "1,203", "+11", "-1", "+27", "-3", "2.5%", "live", "2025-10-13T05:00:00.000Z"]


def test_one_segment_is_shown_with_its_reasons_and_its_trend(segops: Run, ready: config.Settings) -> None:
    lines = segops("sizes", "vip").out.splitlines()
    assert lines[0] == "vip: 1,203 members, live, version 1, as of 2025-10-13T05:00:00.000Z"
    assert [line.split() for line in lines if line.startswith("24 hours")] == [
        ["24", "hours", "27", "3", "+24", "2.5%"]
    ]
    assert [line.split() for line in lines[8:11]] == [
        ["event", "801", "0"],
        ["unknown", "403", "1"],
        [],
    ]
    curve = lines[lines.index("members in the last 24 hours, every half an hour:") + 1 :]
    assert len(curve) == 5
    assert curve[0].startswith("1,203 ┤") and curve[0].endswith("█")
    assert curve[-1].startswith("1,179 ┤▁")


def test_several_segments_are_a_table_of_these(segops: Run, ready: config.Settings) -> None:
    lines = segops("sizes", "vip", "buyers", "vip").out.splitlines()
    assert [line.split()[0] for line in lines] == ["segment", "vip", "buyers"]


def test_json_is_what_the_worker_answers(segops: Run, ready: config.Settings) -> None:
    found = json.loads(segops("sizes", "vip", "--format", "json").out)
    assert [(each["key"], each["members"], each["complete"]) for each in found["segments"]] == [
        ("vip", 1_203, True)
    ]
    assert found["as_of"] == {"least_ms": START + 5 * HOUR, "greatest_ms": START + 5 * HOUR}


def test_unknown_segments_are_a_user_error(segops: Run, ready: config.Settings) -> None:
    result = segops("sizes", "vp", "vip", "biyers")
    assert result.status == 2
    assert result.err == "unknown segments 'vp', 'biyers'; `segops sizes` lists all segments with a size\n"


def test_missing_topics_are_a_user_error(segops: Run, settings: config.Settings) -> None:
    for command in ("sizes", "population"):
        result = segops(command)
        assert result.status == 2
        assert f"missing topics: {settings.topics.sizes}, {settings.topics.trends}" in result.err


def test_without_sizes_the_table_is_empty_and_the_reason_is_given(
    segops: Run, settings: config.Settings
) -> None:
    asyncio.run(topics.create(settings))
    result = segops("sizes")
    assert (result.status, result.err) == (
        0,
        "no sizes yet: workers publish them once a segment is in force\n",
    )
    result = segops("population")
    assert (result.status, result.err) == (
        1,
        "segops failed: no figures yet: no worker has published any\n",
    )


def test_watch_prints_a_line_per_change_and_ends_on_an_interrupt(
    process: Run, ready: config.Settings
) -> None:
    watcher = process("sizes", "vip", "--watch")
    first = watcher.stdout.readline().decode()
    assert first == ("2025-10-13T05:00:00.000Z  vip  1,203 members  +11 -1 in the last hour  live\n")
    others = [
        size("buyers", 0, 41, partitions=3),
        size("vip", 2, 500, partitions=3, clock_ms=START + 5 * HOUR),
    ]
    asyncio.run(send(ready, others))
    assert b"  vip  1,301 members  " in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(60) == 0
    assert watcher.stderr.read() == b""


def test_watch_redraws_on_a_terminal(ready: config.Settings) -> None:
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "20"}
    code = "from segops.cli import main; main()"
    watcher = subprocess.Popen(
        [sys.executable, "-c", code, "sizes", "--watch"],
        stdin=end,
        stdout=end,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=interruptible,
    )
    os.close(end)
    try:
        _read_until(terminal, b"1,203")
        asyncio.run(send(ready, [size("vip", 2, 502, partitions=3, clock_ms=START + 5 * HOUR)]))
        redrawn = _read_until(terminal, b"1,303")
        assert b"\x1b[1A" in redrawn  # the cursor went up to draw over the former lines
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(60) == 0
    finally:
        watcher.kill()
        assert watcher.stderr is not None
        assert watcher.stderr.read() == b""
        watcher.stderr.close()
        os.close(terminal)


def _read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        ready_, _, _ = select.select([terminal], [], [], 60)
        assert ready_, seen
        seen += os.read(terminal, 65_536)
    return seen


def test_watch_prints_objects_as_json(process: Run, ready: config.Settings) -> None:
    watcher = process("sizes", "--watch", "--format", "json")
    found = [json.loads(watcher.stdout.readline()) for _ in range(2)]
    assert [(each["key"], each["members"]) for each in found] == [("buyers", 40), ("vip", 1_203)]
    asyncio.run(send(ready, [size("buyers", 1, 2, partitions=3)]))
    each = json.loads(watcher.stdout.readline())
    assert (each["key"], each["members"], each["reported"]) == ("buyers", 42, 2)
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(60) == 0


def population(partition: int, known: int) -> PopulationRecord:
    figures = PopulationFigures(
        day_ms=START,
        known=known,
        daily=2,
        weekly=3,
        monthly=4,
        new=1,
        returning=1,
        resurrected=0,
        dormant=known - 4,
    )
    return PopulationRecord(partition, 3, 0, START, figures)


def test_population_is_a_table_and_a_line_per_change(
    segops: Run, process: Run, ready: config.Settings
) -> None:
    asyncio.run(send(ready, [population(0, 10), population(1, 1_000), population(2, 5)]))
    rows = [line.split() for line in segops("population").out.splitlines()[3:]]
    assert [row[:2] for row in rows] == [
        ["known", "1,015"],
        ["daily", "6"],
        ["weekly", "9"],
        ["monthly", "12"],
        ["stickiness", "50.0%"],
        ["new", "3"],
        ["returning", "3"],
        ["resurrected", "0"],
        ["dormant", "1,003"],
    ]
    assert json.loads(segops("population", "--format", "json").out)["stickiness"] == 0.5
    watcher = process("population", "--watch")
    assert b"known 1,015, daily 6, " in watcher.stdout.readline()
    asyncio.run(send(ready, [population(2, 6)]))
    assert b"known 1,016, daily 6, " in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(60) == 0
