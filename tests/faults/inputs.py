"""Faults of the input: invalid records, duplicates and wrong clocks."""

from __future__ import annotations

import base64
import json

from segops.core.values import format_instant
from segops.streaming.failpoints import CHECKPOINT_POINTS

from .cluster import Case
from .load import BASE_MS, segment_text

_TRACK = {"type": "track", "event": "Product Viewed", "userId": "u1", "messageId": "bad"}


def _poison() -> list[bytes | None]:
    deep = b"[" * 100_000
    return [
        None,
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b'{"type":"track"}',
        b'{"type":"dance","userId":"u1"}',
        b'{"type":"track","event":"Product Viewed"}',
        b'{"type":"track","event":7,"userId":"u1"}',
        b'{"type":"track","event":"Product Viewed","userId":"u1","properties":{"total":NaN}}',
        json.dumps({**_TRACK, "timestamp": "yesterday"}).encode(),
        json.dumps({**_TRACK, "userId": {"nested": True}, "timestamp": []}).encode(),
        json.dumps({**_TRACK, "properties": {"text": "x" * 40_000}}).encode(),
        b'{"type":"track","event":"Product Viewed","userId":"u1","properties":{"a":' + deep + b"}}",
        b'{"type":"track","event":"Product Viewed","userId":"null"}',
    ]


def poison(case: Case) -> None:
    """Send invalid records among valid events and kill a worker meanwhile."""
    case.start(0, crash_at=f"{case.rng.choice(CHECKPOINT_POINTS)}:{case.rng.randrange(4, 10)}")
    case.start(1)
    case.load.start()
    for number, value in enumerate(_poison()):
        case.load.wait_sent(20 * number)
        partition = case.rng.randrange(case.plan.partitions)
        key = b"k" * 900_000 if number == 3 else case.rng.choice([b"", b"k", None if value else b"k"])
        case.circumstances.poison.add(case.load.put(partition, value, key=key))
    case.wait_crashed(0)
    case.start(0)


def duplicates(case: Case) -> None:
    """Resend events to any partition, as a non-idempotent producer does, and kill a worker meanwhile."""
    case.start(0, crash_at=f"{case.rng.choice(CHECKPOINT_POINTS)}:{case.rng.randrange(4, 10)}")
    case.start(1)
    case.load.start()
    for number in range(60):
        case.load.wait_sent(5 * number + 20)
        value = case.rng.choice(case.load.values[:])
        case.load.put(case.rng.randrange(case.plan.partitions), value)
    case.wait_crashed(0)
    case.start(0)


def _noise(case: Case, size: int) -> str:
    """Return text that no codec compresses well."""
    return base64.b64encode(case.rng.randbytes(size)).decode()[:size]


def oversized(case: Case) -> None:
    """Send events at the broker's size limit, and grow a profile beyond the maximum record size."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    for size in (40_000, 1_000_000, 1_048_400):
        case.load.wait_sent(case.load.sent + 10)
        value = json.dumps({**_TRACK, "properties": {"text": _noise(case, size)}}).encode()
        case.circumstances.poison.add(case.load.put(0, value[: size + 80]))
    for number in range(60):
        form = {"type": "identify", "userId": "giant", "messageId": f"g{number}"}
        traits = {f"t{number}": _noise(case, 30_000)}
        at = format_instant(BASE_MS + number * 1_000)
        case.load.put(1, json.dumps({**form, "traits": traits, "timestamp": at}).encode())
    case.load.wait_sent(300)
    case.wait_caught_up(deadline_s=40)


def skewed_events(case: Case) -> None:
    """Shift a tenth of the events by a month either way and kill a worker meanwhile."""
    case.start(0, crash_at=f"{case.rng.choice(CHECKPOINT_POINTS)}:{case.rng.randrange(2, 6)}")
    case.start(1)
    case.load.start()
    case.wait_crashed(0)
    case.start(0)


def skewed_workers(case: Case) -> None:
    """Run two workers whose clocks differ by five minutes; then set one back by an hour and correct it."""
    case.circumstances.skipped_checks.add(
        "causes"
    )  # the corrected worker has already evaluated timers by its wrong clock
    clock = case.cluster.folder / "clock"
    clock.write_text("300000")
    case.start(0, FAULTS_CLOCK=str(clock))
    case.start(1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(120)
    clock.write_text("-3600000")
    case.load.wait_sent(200)
    case.kill(1)
    case.start(1)
    clock.write_text("0")


def definitions_change(case: Case) -> None:
    """Under load, add, retire and change segments, some of which need history; write an invalid record."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(100)
    text = segment_text(case.plan.clock).replace("key: seldom", "key: rarely")
    case.publish(text.replace("is: {gte: 3}}", "is: {gte: 2}}"))
    invalid = case.inspector.produce(
        case.settings.topics.segments, 0, b"often", b'{"key":"often","version":"x"}'
    )
    case.notes.append(f"invalid record at {invalid}")
    case.load.wait_sent(160)
    case.kill(0)
    case.start(0)
    case.load.wait_sent(200)
    case.publish(text)
    case.wait_in_force()
