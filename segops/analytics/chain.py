"""The minutes of each partition in order: what a trend record adds to what was already counted."""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple

from segops.analytics.intervals import NetFlow

_NONE: Final = -1
_WIDTH: Final = 8


class Minute(NamedTuple):
    """One minute of one partition: its start, entries, exits, and the members at its end."""

    start_ms: int
    entered: int
    left: int
    members: int


class MinuteChain:
    """The latest two minutes of each partition, from which the difference of each further record follows.

    Minutes without a change have no record: the size at the end of the former minute is the size at the start
    of the next one. A minute may be written several times, and the last record of it counts. After a crash a
    worker repeats what followed its last checkpoint, at most a minute: the minute in progress and the one
    before it can be replaced, and one between them added. An earlier minute is a repetition.

    64 bytes per partition.

    >>> chain = MinuteChain(1)
    >>> chain.apply(0, Minute(60_000, 3, 1, 12))
    [(60000, NetFlow(entered=3, left=1, net=2))]
    >>> chain.apply(0, Minute(60_000, 4, 1, 13))
    [(60000, NetFlow(entered=1, left=0, net=1))]
    """

    __slots__ = ("_cells",)

    def __init__(self, partitions: int) -> None:
        empty = array("q", [_NONE, 0, 0, 0, _NONE, 0, 0, 0])
        self._cells = empty * partitions

    def members(self, partition: int) -> int | None:
        """Return the members at the end of the latest minute, or None without a record."""
        latest, _ = self._read(partition)
        return None if latest.start_ms == _NONE else latest.members

    def apply(self, partition: int, found: Minute) -> list[tuple[int, NetFlow]]:
        """Take a record, and return the minutes whose flow it changes with the differences."""
        latest, former = self._read(partition)
        if found.start_ms > latest.start_ms:
            before = _before(found) if latest.start_ms == _NONE else latest.members
            self._write(partition, found, _at(before) if latest.start_ms == _NONE else latest)
            return [(found.start_ms, _flow(found, before))]
        if found.start_ms == latest.start_ms:
            self._write(partition, found, former)
            return [(found.start_ms, _difference(found, latest))]
        if found.start_ms < former.start_ms:
            return []
        self._write(partition, latest, found)
        before = _before(found) if former.start_ms == _NONE else former.members
        known = former.start_ms == found.start_ms
        changed = _difference(found, former) if known else _flow(found, before)
        return [(found.start_ms, changed), (latest.start_ms, NetFlow(0, 0, former.members - found.members))]

    def _read(self, partition: int) -> tuple[Minute, Minute]:
        cell = self._cells[_WIDTH * partition : _WIDTH * (partition + 1)]
        return Minute(*cell[:4]), Minute(*cell[4:])

    def _write(self, partition: int, latest: Minute, former: Minute) -> None:
        self._cells[_WIDTH * partition : _WIDTH * (partition + 1)] = array("q", [*latest, *former])


def _at(members: int) -> Minute:
    return Minute(_NONE, 0, 0, members)


def _before(found: Minute) -> int:
    return found.members - found.entered + found.left


def _flow(found: Minute, before: int) -> NetFlow:
    return NetFlow(found.entered, found.left, found.members - before)


def _difference(found: Minute, known: Minute) -> NetFlow:
    return NetFlow(found.entered - known.entered, found.left - known.left, found.members - known.members)
