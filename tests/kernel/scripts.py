"""Drawn scripts for the sides of a comparison: events and ticks, and all that a partition does meanwhile."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from segops.core.segments import SegmentSet
from tests.kernel.people import DEVICES, MANY, event_json

#: The name of a method of ``Side``, and its arguments.
Step = tuple[Any, ...]
#: From one round to the next, in milliseconds: nothing, so that events are late, or time for timers.
_SHIFTS = (0, 60_000, 100_000_000)
#: Lengths of time without events.
_JUMPS_MS = (1, 1_000, 5_000, 60_000, 3_600_000, 90_000_000, 40 * 86_400_000)


def script_of(
    steps: list[tuple[str, Any]], rng: Random, later: SegmentSet | None, partitions: int
) -> list[Step]:
    """Return the calls of a side that take these steps in some rounds, with its own work between them.

    ``later``: definitions that come into force on the way.
    """
    script: list[Step] = []
    rounds, ids, shift_ms = rng.choice((1, 3, 6)), rng.choice((None, DEVICES, MANY)), rng.choice(_SHIFTS)
    for number in range(rounds):
        for kind, arg in steps:
            if kind == "clock":
                script.append(("tick", arg + number * shift_ms))
                script += _due(rng, partitions)
            else:
                event = msgspec.structs.replace(arg, time_ms=arg.time_ms + number * shift_ms)
                source = f"{rng.randrange(partitions)}:{len(script)}"
                script.append(("post", event_json(event, rng, number, ids), source))
            script += _between(rng, partitions)
        if later is not None and number == rounds // 2:
            script.append(("use", later))
    for _ in range(3 if later is None else 9):  # messages lead to messages, and a backfill has rounds
        for number in range(partitions):
            script += [
                ("read", number, 1_000),
                ("fire", number, 1_000),
                ("work", number),
                ("checkpoint", number, 0),
            ]
    at_ms = max(arg if kind == "clock" else arg.time_ms for kind, arg in steps) + (rounds - 1) * shift_ms
    return script + _later(at_ms, rng, partitions)


def _later(at_ms: int, rng: Random, partitions: int) -> list[Step]:
    """Return steps in which time passes without events: further and further, with crashes in between."""
    script: list[Step] = []
    for jump_ms in sorted(rng.sample(_JUMPS_MS, 4)):
        at_ms += jump_ms
        script.append(("tick", at_ms))
        for number in range(partitions):
            script += [("read", number, 1_000), *[("fire", number, rng.choice((1, 3, 1_000)))] * 3]
            script.append(rng.choice((("checkpoint", number, 0), ("crash", number), ("fire", number, 1_000))))
    return script


def _due(rng: Random, partitions: int) -> list[Step]:
    """Return steps that fire what a tick has made due, or none."""
    if rng.random() < 0.4:
        return []
    numbers = rng.sample(range(partitions), partitions)
    return [step for number in numbers for step in (("read", number, 1_000), ("fire", number, 50))]


def _between(rng: Random, partitions: int) -> list[Step]:
    number, roll = rng.randrange(partitions), rng.random()
    if roll < 0.35:
        return [("read", number, rng.choice((1, 3, 20)))]
    if roll < 0.47:
        return [("fire", number, rng.choice((1, 50)))]
    if roll < 0.74:
        return [("checkpoint", number, rng.choice((0, 0, 2)))]
    if roll < 0.77:
        return [("crash", number)]
    if roll < 0.81:
        return [("work", number)]
    return []
