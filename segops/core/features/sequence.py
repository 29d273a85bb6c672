"""Sequences (``SPEC.md#sequence``): one event after another, and deadlines that passed without one.

The state has the events that a step may match (every event for a strict sequence), oldest first, and the
spans of time in which the sequence holds without another event. The spans are searched again whenever an
event is added; between events, a reading only looks them up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from segops.core.features.states import Chains, Link
from segops.core.operators import Predicate
from segops.core.values import MAX_MS, equal, kind

Path = tuple[str, ...]

#: The number of latest events kept per profile and sequence.
MAX_LINKS = 256


class SequenceStep(msgspec.Struct, frozen=True):
    """One step: events by name and properties, after the previous step and within ``within_ms`` of it.

    ``same_as``: the properties that must equal those of an earlier step (numbered from 0).
    """

    names: tuple[str, ...]
    where: tuple[tuple[Path, Predicate], ...]
    within_ms: int | None
    absent: bool
    same_as: tuple[tuple[Path, int], ...] = ()


class Sequence(msgspec.Struct, frozen=True):
    """Steps in order; the first is a ``did``. ``within_ms``: the maximum age of the first step's event."""

    steps: tuple[SequenceStep, ...]
    within_ms: int | None = None
    strict: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The properties that steps compare with earlier steps."""
        return tuple(sorted({path for step in self.steps for path, _ in step.same_as}))


class SequenceReducer:
    """Updates and reads a sequence. An event's value: its matching steps (a bit each), compared values."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence

    def add(
        self, state: Chains | None, time_ms: int, value: tuple[int, tuple[Any, ...]], now_ms: int
    ) -> Chains | None:
        within_ms = self.sequence.within_ms
        expired_ms = -MAX_MS if within_ms is None else now_ms - within_ms
        if time_ms <= expired_ms:
            return None
        links = [] if state is None else [link for link in state.links if link.time_ms > expired_ms]
        links.insert(bisect_right(links, time_ms, key=lambda link: link.time_ms), Link(time_ms, *value))
        return self.chains(links)

    def chains(self, links: list[Link]) -> Chains:
        """Return the state of these events, oldest first: the latest of them, and the spans found."""
        links = links[-MAX_LINKS:]
        return Chains(links, _Search(self.sequence, links).spans())

    def read(self, state: Chains | None, now_ms: int) -> bool:
        return state is not None and any(begin <= now_ms < end for begin, end in state.spans)

    def future(self, state: Chains | None, now_ms: int) -> Iterator[tuple[int, bool]]:
        yield now_ms, self.read(state, now_ms)
        for begin, end in [] if state is None else _merged(state.spans):
            if begin > now_ms:
                yield begin, True
            if now_ms < end < MAX_MS:
                yield end, False


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans in order, uniting those that overlap or touch."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


#: The choices that later steps compare with: (step, comparable values of the event chosen for it).
_Chosen = tuple[tuple[int, tuple[Any, ...]], ...]


class _Search:
    """A search, for every event that may be the first step, for the instant from which the sequence holds.

    It proceeds recursively and memoizes, for each step, the events after which the rest completes.
    """

    def __init__(self, sequence: Sequence, links: list[Link]) -> None:
        self.sequence = sequence
        self.steps = sequence.steps
        self.times = [link.time_ms for link in links]
        self.paths = {path: index for index, path in enumerate(sequence.paths)}
        self.referred = {step for one in sequence.steps for _, step in one.same_as}
        self.odd: list[Any] = []
        self.values = [tuple(map(self._comparable, link.values)) for link in links]
        self.matching = [self._matching(links, number) for number in range(len(self.steps))]
        self.known: dict[tuple[int, _Chosen], tuple[list[int], list[int]]] = {}

    def spans(self) -> list[tuple[int, int]]:
        """Return disjoint spans ``(begin, end)`` in milliseconds, in order, ``end`` excluded."""
        within_ms = self.sequence.within_ms
        found = []
        for index, begin in zip(*self._completing(0, ()), strict=True):
            end = MAX_MS if within_ms is None else self.times[index] + within_ms
            if begin < end:
                found.append((begin, end))
        return _merged(found)

    def _comparable(self, value: Any) -> Any:
        """Return a hashable that two values share exactly if they are ``equal``; None if missing."""
        if value is None or not isinstance(value, (list, dict)):
            return None if value is None else (kind(value), value)
        known = next((number for number, one in enumerate(self.odd) if equal(one, value)), None)
        if known is None:
            known = len(self.odd)
            self.odd.append(value)
        return "odd", known

    def _matching(self, links: list[Link], number: int) -> dict[tuple[Any, ...], list[int]]:
        """Return the events that match a step, by their compared values."""
        compared = [self.paths[path] for path, _ in self.steps[number].same_as]
        found: dict[tuple[Any, ...], list[int]] = {}
        for index, link in enumerate(links):
            if link.steps >> number & 1:
                values = self.values[index]
                found.setdefault(tuple(values[path] for path in compared), []).append(index)
        return found

    def _candidates(self, number: int, chosen: _Chosen) -> list[int]:
        """Return the events that match a step after these choices."""
        same_as = self.steps[number].same_as
        if not same_as:
            return self.matching[number].get((), [])
        earlier = dict(chosen)
        wanted = tuple(earlier[step][self.paths[path]] for path, step in same_as)
        return [] if None in wanted else self.matching[number].get(wanted, [])

    def _completing(self, step: int, chosen: _Chosen) -> tuple[list[int], list[int]]:
        """Return the events that match a step and after which the rest completes, and when it completes."""
        key = step, chosen
        if key not in self.known:
            indexes, begins = [], []
            for index in self._candidates(step, chosen):
                noted = (*chosen, (step, self.values[index])) if step in self.referred else chosen
                begin = self._complete(step, index, noted)
                if begin is not None:
                    indexes.append(index)
                    begins.append(begin)
            self.known[key] = indexes, begins
        return self.known[key]

    def _complete(self, step: int, index: int, chosen: _Chosen) -> int | None:
        """Return when all steps after ``step``, which event ``index`` matches, are satisfied, or None."""
        absent, following = self._next(step)
        if following is None:
            return self._deadline(absent, index, chosen)
        last = self._last(index, absent, following, chosen)
        indexes, begins = self._completing(following, self._needed(following, chosen))
        earliest = None
        for at in range(bisect_right(indexes, index), len(indexes)):
            if indexes[at] > last or (earliest is not None and self.times[indexes[at]] >= earliest):
                break
            earliest = begins[at] if earliest is None else min(earliest, begins[at])
            if following > max(self.referred, default=-1):
                break  # without later comparisons, an event that begins later completes later
        return earliest

    def _needed(self, step: int, chosen: _Chosen) -> _Chosen:
        """Return the choices that a step or a later one compares with."""
        needed = {earlier for one in self.steps[step:] for _, earlier in one.same_as}
        return tuple(choice for choice in chosen if choice[0] in needed)

    def _next(self, step: int) -> tuple[list[int], int | None]:
        """Return the ``did_not`` steps after a step, and the ``did`` step after those."""
        absent: list[int] = []
        for number in range(step + 1, len(self.steps)):
            if not self.steps[number].absent:
                return absent, number
            absent.append(number)
        return absent, None

    def _last(self, index: int, absent: list[int], following: int, chosen: _Chosen) -> int:
        """Return the last event that may match the next step, given the ``did_not`` steps before it."""
        begin_ms = self.times[index]
        last = index + 1 if self.sequence.strict else len(self.times) - 1
        last = min(last, self._last_within(begin_ms, self.steps[following].within_ms))
        for number in absent:
            breaking = self._candidates(number, chosen)
            at = bisect_right(breaking, index)
            if at < len(breaking) and breaking[at] <= self._last_within(
                begin_ms, self.steps[number].within_ms
            ):
                last = min(last, breaking[at])
        return last

    def _last_within(self, begin_ms: int, within_ms: int | None) -> int:
        count = len(self.times) if within_ms is None else bisect_right(self.times, begin_ms + within_ms)
        return count - 1

    def _deadline(self, absent: list[int], index: int, chosen: _Chosen) -> int | None:
        """Return the last deadline of the closing ``did_not`` steps; None if an event breaks one of them."""
        begin_ms = last = self.times[index]
        after = bisect_right(self.times, begin_ms)
        for number in absent:
            deadline = begin_ms + (self.steps[number].within_ms or 0)
            breaking = self._candidates(number, chosen)
            at = bisect_left(breaking, after)
            if at < len(breaking) and self.times[breaking[at]] <= deadline:
                return None
            last = max(last, deadline)
        return last
