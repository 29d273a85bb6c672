"""What comes in: bad records, repetitions, wrong clocks."""

from __future__ import annotations

import json

from .rig import Case

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
    case.start(0, crash_at=f"cp{case.dice.randrange(1, 6)}:{case.dice.randrange(8, 16)}")
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
    case.start(0, crash_at=f"cp{case.dice.randrange(1, 6)}:{case.dice.randrange(8, 16)}")
    case.start(1)
    case.load.start()
    for number in range(60):
        case.load.wait_sent(5 * number + 20)
        value = case.dice.choice(case.load.values[:])
        case.load.put(case.dice.randrange(case.plan.partitions), value)
    case.crashed(0)
    case.start(0)
