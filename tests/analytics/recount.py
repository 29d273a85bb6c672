"""A second computation of sizes and trends: from all changes, without the records of partitions."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from segops.schemas.sizes import Published, SizeRecord, TrendRecord, encode_published, key_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
#: A Monday, 00:00 UTC.
START = 1_760_313_600_000


class Move(NamedTuple):
    """Profiles that enter (or leave, if negative) a segment in one partition at one instant."""

    segment: str
    partition: int
    at_ms: int
    number: int
    reason: str = "event"


def size(
    key: str,
    partition: int,
    members: int,
    *,
    partitions: int = 2,
    clock_ms: int = START,
    **others: object,
) -> SizeRecord:
    """Return a size; ``others`` are fields of the record."""
    fields: dict[str, object] = {
        "version": 1,
        "generation": 0,
        "state": "live",
        "entered": {"event": members},
        "left": {},
        **others,
    }
    return SizeRecord(
        segment_key=key,
        partition=partition,
        partitions=partitions,
        members=members,
        clock_ms=clock_ms,
        **fields,  # type: ignore[arg-type]
    )


def trend(
    key: str,
    partition: int,
    minute_ms: int,
    flow: tuple[int, int],
    members: int,
    *,
    partitions: int = 2,
    generation: int = 0,
) -> TrendRecord:
    """Return a minute with ``flow`` entries and exits."""
    entered, left = flow
    return TrendRecord(
        segment_key=key,
        minute_ms=minute_ms,
        partition=partition,
        partitions=partitions,
        generation=generation,
        members=members,
        entered={"event": entered} if entered else {},
        left={"time": left} if left else {},
        clock_ms=minute_ms + MINUTE - 1,
    )


def published(record: Published) -> tuple[bytes, bytes]:
    """Return the key and the value of a record."""
    return key_of(record), encode_published(record)


class Partition:
    """What one partition publishes for its moves: after each, its size and the minute so far."""

    def __init__(self, number: int, partitions: int) -> None:
        self.number = number
        self.partitions = partitions
        self.records: list[Published] = []
        self._counts: dict[tuple[str, str], dict[str, int]] = {}
        self._members: dict[str, int] = {}
        self._minutes: dict[tuple[str, int], tuple[dict[str, int], dict[str, int]]] = {}

    def move(self, move: Move) -> None:
        key, minute_ms = move.segment, move.at_ms // MINUTE * MINUTE
        entered, left = self._minutes.setdefault((key, minute_ms), ({}, {}))
        side = "entered" if move.number > 0 else "left"
        total = self._counts.setdefault((key, side), {})
        for counts in (entered if move.number > 0 else left, total):
            counts[move.reason] = counts.get(move.reason, 0) + abs(move.number)
        self._members[key] = self._members.get(key, 0) + move.number
        where = {"partition": self.number, "partitions": self.partitions, "generation": 0}
        self.records += [
            SizeRecord(
                segment_key=key,
                version=1,
                state="live",
                members=self._members[key],
                entered=dict(self._counts.get((key, "entered"), {})),
                left=dict(self._counts.get((key, "left"), {})),
                clock_ms=move.at_ms,
                **where,
            ),
            TrendRecord(
                segment_key=key,
                minute_ms=minute_ms,
                members=self._members[key],
                entered=dict(entered),
                left=dict(left),
                clock_ms=move.at_ms,
                **where,
            ),
        ]


def published_by(moves: Iterable[Move], partitions: int) -> list[list[Published]]:
    """Return what each partition publishes, in its order."""
    found = [Partition(number, partitions) for number in range(partitions)]
    for move in moves:
        found[move.partition].move(move)
    return [partition.records for partition in found]


def interleaved(streams: Sequence[Sequence[Published]], seed: int) -> list[Published]:
    """Return the records of all streams, each in its order, mixed at random."""
    rng = random.Random(seed)
    left = [list(stream)[::-1] for stream in streams if stream]
    mixed = []
    while left:
        stream = rng.choice(left)
        mixed.append(stream.pop())
        left = [stream for stream in left if stream]
    return mixed


def members_at(moves: Iterable[Move], segment: str, before_ms: int) -> int:
    """Return the members before an instant."""
    return sum(move.number for move in moves if move.segment == segment and move.at_ms < before_ms)


def flow_in(moves: Iterable[Move], segment: str, from_ms: int, to_ms: int) -> tuple[int, int]:
    """Return the entries and exits in ``from_ms <= t < to_ms``."""
    found = [move.number for move in moves if move.segment == segment and from_ms <= move.at_ms < to_ms]
    return sum(n for n in found if n > 0), -sum(n for n in found if n < 0)
