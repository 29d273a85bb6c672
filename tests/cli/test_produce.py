"""``segops produce``: every line arrives unchanged, and every failure is reported."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from segops import config
from segops.core.values import parse_instant
from segops.kafka.clients import running_consumer
from segops.wall_clock import wall_ms

pytestmark = pytest.mark.broker

Run = Callable[..., Any]


async def _records(settings: config.Settings, count: int) -> list[Any]:
    partitions = [
        TopicPartition(settings.topics.events, number) for number in range(settings.topics.partitions)
    ]
    found: list[Any] = []
    async with running_consumer(settings.kafka) as consumer, asyncio.timeout(60):
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while len(found) < count or any(
            [await consumer.position(partition) < ends[partition] for partition in partitions]
        ):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
    return found


def records(settings: config.Settings, count: int) -> list[Any]:
    """Return all records of the events topic, at least ``count``."""
    return asyncio.run(_records(settings, count))


LINES = [
    b'{"type": "track", "userId": "u1", "anonymousId": "a1", "event": "Order Completed"}',
    b'{"type": "track", "anonymousId": "a1"}',
    b'{"type": "track", "userId": "", "anonymousId": 42}',
    b'{"userId": {"no": "id"}, "anonymousId": true}',
    b'{"note": "\xff\xfe"}',
    b'{"userId": "caf\xc3\xa9"}',
]
KEYS = [b"u1", b"a1", b"42", None, None, "caf\u00e9".encode()]


@pytest.mark.parametrize("form", ["plain", "gz", "crlf", "unfinished"])
def test_lines_are_sent_unchanged_with_their_key(
    segops: Run, settings: config.Settings, tmp_path: Path, form: str
) -> None:
    segops("topics", "create")
    end = b"\r\n" if form == "crlf" else b"\n"
    content = end.join([LINES[0], b"", b"   ", *LINES[1:]]) + (b"" if form == "unfinished" else end + end)
    file = tmp_path / ("events.jsonl.gz" if form == "gz" else "events.jsonl")
    file.write_bytes(gzip.compress(content) if form == "gz" else content)
    result = segops("produce", file)
    assert result.status == 0, result.err
    assert result.out.startswith(f"6 records delivered to {settings.topics.events} in ")
    found = records(settings, 6)
    assert sorted((r.value, r.key) for r in found) == sorted(zip(LINES, KEYS, strict=True))


def test_each_event_of_a_batch_is_a_record(segops: Run, settings: config.Settings, tmp_path: Path) -> None:
    segops("topics", "create")
    file = tmp_path / "events.jsonl"
    file.write_text(
        '\ufeff{"batch": [{"type": "page", "userId": 7.0}, {"type": "page", "userId": "u8"}], "sentAt": "s"}'
        "\n"
        '{"type": "page", "userId": "u9"}',
        "utf-8",
    )
    result = segops("produce", file)
    assert result.status == 0, result.err
    assert result.out.startswith("3 records delivered")
    assert {record.key: record.value for record in records(settings, 3)} == {
        b"7": b'{"sentAt":"s","type":"page","userId":7.0}',
        b"u8": b'{"sentAt":"s","type":"page","userId":"u8"}',
        b"u9": b'{"type": "page", "userId": "u9"}',
    }


def test_order_per_key_is_kept_and_the_final_tick_comes_last(
    segops: Run, settings: config.Settings, tmp_path: Path
) -> None:
    segops("topics", "create")
    events = [json.dumps({"userId": f"u{n % 17}", "n": n}) for n in range(5_000)]
    (tmp_path / "history.jsonl").write_text("\n".join(events))
    result = segops("produce", tmp_path / "history.jsonl", "--final-tick", "2026-01-31")
    assert result.status == 0, result.err
    assert "and the final tick to 3 partitions" in result.out
    found = records(settings, 5_003)
    by_key: dict[bytes, list[int]] = {}
    last: dict[int, Any] = {}
    for record in found:
        last[record.partition] = record
        if record.key is not None:
            by_key.setdefault(record.key, []).append(json.loads(record.value)["n"])
    assert len(by_key) == 17
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert sum(map(len, by_key.values())) == 5_000
    for record in last.values():
        assert dict(record.headers) == {"segops-type": b"tick"}
        assert json.loads(record.value) == {"watermark_ms": 1_769_817_600_000, "end": True}
    assert set(last) == {0, 1, 2}


def test_an_undelivered_record_is_counted_and_fails_the_command(
    segops: Run, settings: config.Settings, tmp_path: Path
) -> None:
    segops("topics", "create")
    large = json.dumps({"userId": "u", "note": "x" * 2_000_000})
    (tmp_path / "events.jsonl").write_text(f'{{"userId": "u1"}}\n{large}\n{{"userId": "u2"}}\n')
    result = segops("produce", tmp_path / "events.jsonl", "--final-tick", "2026-01-31")
    assert result.status == 1
    assert result.out.startswith("2 records delivered")
    assert "1 records were not delivered" in result.err
    assert {record.key for record in records(settings, 2)} == {b"u1", b"u2"}, "no final tick after a failure"


def test_standard_input_is_sent_as_it_arrives(process: Run, segops: Run, settings: config.Settings) -> None:
    segops("topics", "create")
    sender = process("produce", "-")
    sender.stdin.write(b'{"userId": "now"}\n')
    sender.stdin.flush()
    assert [record.key for record in records(settings, 1)] == [b"now"], "before the input ends"
    sender.stdin.write(b'{"userId": "later"}')
    sender.stdin.close()
    assert sender.wait(30) == 0
    assert sender.stdout.read().startswith(b"2 records delivered")


def test_an_interrupt_ends_produce_immediately(process: Run, segops: Run, settings: config.Settings) -> None:
    segops("topics", "create")
    sender = process("produce", "-")
    sender.stdin.write(b'{"userId": "now"}\n')
    sender.stdin.flush()
    records(settings, 1)
    sender.send_signal(signal.SIGINT)
    assert sender.wait(60) == 130
    assert b"Traceback" not in sender.stderr.read()


def test_rate_limits_events_per_second(segops: Run, settings: config.Settings, tmp_path: Path) -> None:
    segops("topics", "create")
    (tmp_path / "events.jsonl").write_text('{"userId": "u"}\n' * 100)
    result = segops("produce", tmp_path / "events.jsonl", "--rate", "200")
    seconds = float(result.out.split(" in ")[1].split()[0])
    assert 0.4 <= seconds < 5


def test_a_truncated_file_is_a_user_error(segops: Run, settings: config.Settings, tmp_path: Path) -> None:
    segops("topics", "create")
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"userId": "u"}\n' * 100_000)[:-20])
    result = segops("produce", file)
    assert result.status == 2
    assert f"{file}: cannot be read to its end" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere.jsonl"],
        [__file__, "--final-tick", "soon"],
        [__file__, "--rate", "0"],
        ["events.jsonl", "--topic", "no"],
        ["-", "--shift-to-now"],
    ],
)
def test_invalid_arguments_have_status_2(
    segops: Run,
    settings: config.Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("events.jsonl").write_bytes(LINES[0])
    result = segops("produce", *arguments)
    assert result.status == 2
    assert result.err


def test_a_file_without_events_sends_nothing(segops: Run, settings: config.Settings, tmp_path: Path) -> None:
    segops("topics", "create")
    (tmp_path / "events.csv").write_text("userId,event\nu1,Order Completed\n")
    result = segops("produce", tmp_path / "events.csv", "--final-tick", "2026-01-31")
    assert (result.status, result.out) == (2, "")
    assert result.err.endswith("events.csv: lines 1, 2: expected a JSON object; nothing was sent\n")
    assert records(settings, 0) == []


def test_a_late_invalid_line_is_skipped_and_reported(
    segops: Run, settings: config.Settings, tmp_path: Path
) -> None:
    segops("topics", "create")
    file = tmp_path / "events.jsonl"
    many = b'{"userId": "u"}\n' * 20_000
    file.write_bytes(many + b"\n[1]\n" + LINES[0] + b'\n{"userId": ')
    result = segops("produce", file)
    assert result.status == 2
    assert result.out.startswith("20,001 records delivered")
    *progress, refused = result.err.splitlines()  # slow machines print progress first
    assert refused == f"{file}: 2 not sent, lines 20002, 20004: expected a JSON object"
    assert all(line.endswith(" records sent") for line in progress)


def test_shift_to_now_moves_the_last_event_to_now(
    segops: Run, settings: config.Settings, tmp_path: Path
) -> None:
    segops("topics", "create")
    first = {"userId": "u", "timestamp": "2020-01-01T00:00:00Z", "n": 1.50}
    last = {"userId": "u", "timestamp": "2020-01-01T01:00:00Z", "sentAt": "2020-01-01T01:00:05Z"}
    lines = [json.dumps(last), json.dumps(first), json.dumps({"userId": "u"})]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    before_ms = wall_ms()
    assert segops("produce", tmp_path / "events.jsonl", "--shift-to-now").status == 0
    sent = [json.loads(record.value) for record in records(settings, 3)]
    at_ms = [parse_instant(event.get("timestamp", "")) for event in sent]
    assert before_ms <= at_ms[0] <= wall_ms()
    assert at_ms[1:] == [at_ms[0] - 3_600_000, None]
    assert parse_instant(sent[0]["sentAt"]) == at_ms[0] + 5_000
