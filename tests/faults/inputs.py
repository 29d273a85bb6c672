"""What comes in: bad records, repetitions, wrong clocks."""

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
    """Records that are no events lie among the good ones; a worker dies among them."""
    case.start(0, crash_at=f"{case.dice.choice(CHECKPOINT_POINTS)}:{case.dice.randrange(4, 10)}")
    case.start(1)
    case.load.start()
    for number, value in enumerate(_poison()):
        case.load.wait_sent(20 * number)
        partition = case.dice.randrange(case.plan.partitions)
        key = b"k" * 900_000 if number == 3 else case.dice.choice([b"", b"k", None if value else b"k"])
        case.happened.poison.add(case.load.put(partition, value, key=key))
    case.crashed(0)
    case.start(0)


def duplicates(case: Case) -> None:
    """A producer without idempotence sends again what it had sent, to any partition; a worker dies."""
    case.start(0, crash_at=f"{case.dice.choice(CHECKPOINT_POINTS)}:{case.dice.randrange(4, 10)}")
    case.start(1)
    case.load.start()
    for number in range(60):
        case.load.wait_sent(5 * number + 20)
        value = case.dice.choice(case.load.values[:])
        case.load.put(case.dice.randrange(case.plan.partitions), value)
    case.crashed(0)
    case.start(0)


def _noise(case: Case, size: int) -> str:
    """Text that no codec makes much smaller."""
    return base64.b64encode(case.dice.randbytes(size)).decode()[:size]


def oversized(case: Case) -> None:
    """Events as large as the broker takes them, and a profile that grows beyond what a record may hold."""
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    for size in (40_000, 1_000_000, 1_048_400):
        case.load.wait_sent(case.load.sent + 10)
        value = json.dumps({**_TRACK, "properties": {"text": _noise(case, size)}}).encode()
        case.happened.poison.add(case.load.put(0, value[: size + 80]))
    for number in range(60):
        form = {"type": "identify", "userId": "giant", "messageId": f"g{number}"}
        traits = {f"t{number}": _noise(case, 30_000)}
        at = format_instant(BASE_MS + number * 1_000)
        case.load.put(1, json.dumps({**form, "traits": traits, "timestamp": at}).encode())
    case.load.wait_sent(300)
    case.caught_up(deadline_s=40)


def skewed_events(case: Case) -> None:
    """A tenth of the events are from a month ago or a month ahead; a worker dies among them."""
    case.start(0, crash_at=f"{case.dice.choice(CHECKPOINT_POINTS)}:{case.dice.randrange(2, 6)}")
    case.start(1)
    case.load.start()
    case.crashed(0)
    case.start(0)


def skewed_workers(case: Case) -> None:
    """Two workers disagree by five minutes; then one is an hour late, until its clock is mended."""
    case.happened.loose.add("causes")  # whoever's clock was mended has judged by what it said before
    clock = case.rig.folder / "clock"
    clock.write_text("300000")
    case.start(0, FAULTS_CLOCK=str(clock))
    case.start(1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(120)
    clock.write_text("-3600000")
    case.load.wait_sent(200)
    case.kill(1)
    case.start(1)
    clock.write_text("0")


def definitions_change(case: Case) -> None:
    """While events flow a segment comes, one goes, one changes; a record that is no definition comes too."""
    case.happened.loose |= {"changes", "states", "state topic"}
    case.happened.unchanged -= {"curious", "seldom"}
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(100)
    text = segment_text(case.plan.clock).replace("key: seldom", "key: rarely")
    case.rig.publish(text.replace("is: {gte: 3}}", "is: {gte: 2}}"))
    garbage = case.eyes.produce(case.settings.topics.segments, 0, b"often", b'{"key":"often","version":"x"}')
    case.notes.append(f"garbage at {garbage}")
    case.load.wait_sent(160)
    case.kill(0)
    case.start(0)
    case.load.wait_sent(200)
    case.rig.publish(text)
