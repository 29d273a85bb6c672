"""Sequences (RULES section 4): one event after another, and deadlines that passed without one.

Kept are the events that a step may match (all of them when the sequence is strict), oldest first, and what
follows from them: the spans of time in which the sequence is true if nothing more happens. They are found
anew whenever an event is added; in between, time needs no more than a look at the spans.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import msgspec

from segops.core.features.states import Chains, Link
from segops.core.operators import Test
from segops.core.values import MAX_MS, equal

Path = tuple[str, ...]

#: At most this many of the latest events are kept for one profile and sequence.
MAX_LINKS = 256


class Step(msgspec.Struct, frozen=True):
    """One step: events by name and properties, after the step before and within ``within_ms`` of it.

    ``same_as`` says which properties must equal those of an earlier step (from 0).
    """

    names: tuple[str, ...]
    where: tuple[tuple[Path, Test], ...]
    within_ms: int | None
    absent: bool
    same_as: tuple[tuple[Path, int], ...] = ()


class Sequence(msgspec.Struct, frozen=True):
    """Steps in order; the first is a ``did``. ``within_ms``: the first step's event is not older."""

    steps: tuple[Step, ...]
    within_ms: int | None = None
    strict: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The properties that steps compare with those of earlier ones."""
        return tuple(sorted({path for step in self.steps for path, _ in step.same_as}))


class SequenceReducer:
    """Keeps the events of a sequence. An event's value: its steps (a bit each), and what is compared."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence

    def add(
        self, state: Chains | None, time_ms: int, value: tuple[int, tuple[Any, ...]], now_ms: int
    ) -> Chains | None:
        within_ms = self.sequence.within_ms
        gone = -MAX_MS if within_ms is None else now_ms - within_ms
        if time_ms <= gone:
            return None
        links = [] if state is None else [link for link in state.links if link.time_ms > gone]
        links.insert(bisect_right(links, time_ms, key=lambda link: link.time_ms), Link(time_ms, *value))
        del links[: max(0, len(links) - MAX_LINKS)]
        return Chains(links, _Search(self.sequence, links).spans())

    def read(self, state: Chains | None, now_ms: int) -> bool:
        return state is not None and any(begin <= now_ms < end for begin, end in state.spans)

    def next_edge(self, state: Chains | None, now_ms: int) -> int | None:
        if state is None:
            return None
        return min((edge for span in state.spans for edge in span if now_ms < edge < MAX_MS), default=None)


class _Search:
    """Finds, for every event that may be the first step, from when on the whole sequence is true."""

    def __init__(self, sequence: Sequence, links: list[Link]) -> None:
        self.sequence = sequence
        self.links = links
        self.paths = {path: index for index, path in enumerate(sequence.paths)}
        self.referred = {step for one in sequence.steps for _, step in one.same_as}
        self.known: dict[tuple[int, int, tuple[tuple[int, int], ...]], int | None] = {}

    def spans(self) -> list[tuple[int, int]]:
        """``(begin, end)`` in milliseconds, end not included, merged where one begins inside another."""
        found: list[tuple[int, int]] = []
        for index, link in enumerate(self.links):
            if link.steps & 1:
                begin = self.complete(0, index, self._noted((), 0, index))
                end = MAX_MS if self.sequence.within_ms is None else link.time_ms + self.sequence.within_ms
                if begin is not None and begin < end:
                    found.append((begin, end))
        return found

    def complete(self, step: int, index: int, chosen: tuple[tuple[int, int], ...]) -> int | None:
        """From when on the steps after ``step``, which link ``index`` matches, are all satisfied."""
        key = (step, index, chosen)
        if key not in self.known:
            self.known[key] = self._complete(step, index, chosen)
        return self.known[key]

    def _complete(self, step: int, index: int, chosen: tuple[tuple[int, int], ...]) -> int | None:
        absent, following = self._next(step)
        if following is None:
            return self._deadlines(absent, index, chosen)
        candidates = (
            self.complete(following, at, self._noted(chosen, following, at))
            for at in self._reachable(index, absent, following, chosen)
            if self._matches(following, at, chosen)
        )
        return min((begin for begin in candidates if begin is not None), default=None)

    def _next(self, step: int) -> tuple[list[int], int | None]:
        """The ``did_not`` steps after a step, and the ``did`` step after those."""
        absent: list[int] = []
        for number in range(step + 1, len(self.sequence.steps)):
            if not self.sequence.steps[number].absent:
                return absent, number
            absent.append(number)
        return absent, None

    def _reachable(
        self, index: int, absent: list[int], following: int, chosen: tuple[tuple[int, int], ...]
    ) -> Iterable[int]:
        """The links that may match the next step: up to the first that breaks a ``did_not`` in between."""
        begin_ms, within_ms = self.links[index].time_ms, self.sequence.steps[following].within_ms
        for at in range(index + 1, len(self.links)):
            if within_ms is not None and self.links[at].time_ms > begin_ms + within_ms:
                return
            yield at
            if self.sequence.strict or any(self._breaks(number, at, begin_ms, chosen) for number in absent):
                return

    def _breaks(self, number: int, at: int, begin_ms: int, chosen: tuple[tuple[int, int], ...]) -> bool:
        within_ms = self.sequence.steps[number].within_ms
        in_time = within_ms is None or self.links[at].time_ms <= begin_ms + within_ms
        return in_time and self._matches(number, at, chosen)

    def _deadlines(self, absent: list[int], index: int, chosen: tuple[tuple[int, int], ...]) -> int | None:
        """When the last closing ``did_not`` is settled; None if one is broken."""
        begin_ms = settled = self.links[index].time_ms
        for number in absent:
            deadline = begin_ms + (self.sequence.steps[number].within_ms or 0)
            for at in range(index + 1, len(self.links)):
                if begin_ms < self.links[at].time_ms <= deadline and self._matches(number, at, chosen):
                    return None
            settled = max(settled, deadline)
        return settled

    def _matches(self, number: int, at: int, chosen: tuple[tuple[int, int], ...]) -> bool:
        link = self.links[at]
        if not link.steps >> number & 1:
            return False
        earlier = dict(chosen)
        for path, step in self.sequence.steps[number].same_as:
            mine, theirs = (one.values[self.paths[path]] for one in (link, self.links[earlier[step]]))
            if mine is None or not equal(mine, theirs):
                return False
        return True

    def _noted(
        self, chosen: tuple[tuple[int, int], ...], step: int, index: int
    ) -> tuple[tuple[int, int], ...]:
        return (*chosen, (step, index)) if step in self.referred else chosen
