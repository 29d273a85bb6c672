"""Who entered the two arms of an audience, and who of them reached its goal, from membership changes.

The definitions of ``measuring_of`` decide both: a person enters ``sent`` or ``held-out`` at an instant T, and
has reached the goal if and only if they are a member of ``goal`` at T + window. That node counts the events
in (T, T + window], across merges, as any rule does.

Each person counts once, in the arm that they entered first. People are counted by what they were assigned to,
not by what was sent: a cap of messages or a failing destination leaves both arms comparable.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, Literal, NamedTuple

import msgspec

from segops.core.audiences.audit import AuditEntry
from segops.core.audiences.lift import Arm
from segops.core.audiences.model import Audience
from segops.core.events import Change

#: The reasons of entries that count: what a person did, or did not do.
_OWN: Final = ("event", "time")
#: The reasons of those who are members when the definitions come into force.
_INITIAL: Final = ("definition", "backfill")
ArmName = Literal["sent", "held_out"]
ARMS: Final[tuple[ArmName, ArmName]] = "sent", "held_out"
Span = tuple[int, int | None]
_at = attrgetter("at_ms")


class Move(NamedTuple):
    """A membership change, without who the person is."""

    at_ms: int
    sequence: int
    member: bool
    reason: str
    merged_into: str | None


class Counting(NamedTuple):
    """Which entries count.

    Those of ``reasons`` after ``since_ms``, in one of the spans ``active``; with ``initial`` also those who
    were members when the definitions came into force. None before ``complete_ms``, from when on all changes
    are known.
    """

    window_ms: int
    since_ms: int
    complete_ms: int
    active: Sequence[Span]
    reasons: Sequence[str]
    initial: bool

    def counts(self, entry: Move) -> bool:
        """Return whether an entry counts."""
        if entry.at_ms < self.complete_ms:
            return False
        if entry.reason in _INITIAL:
            return self.initial
        covered = any(
            begin < entry.at_ms and (end is None or entry.at_ms < end) for begin, end in self.active
        )
        return covered and entry.at_ms > self.since_ms and entry.reason in self.reasons


def reasons_of(audience: Audience) -> tuple[str, ...]:
    """Return the reasons of the entries that count: those that are not quiet.

    >>> reasons_of(Audience("a", "vip", "email", reasons={"time": "quiet", "merge": "normal"}))
    ('event',)
    """
    return tuple(reason for reason in _OWN if audience.reasons.get(reason) != "quiet")


def active_spans(entries: Iterable[AuditEntry]) -> list[Span]:
    """Return when an audience was active, by its audit: from, until; None: it still is.

    >>> from segops.core.audiences.model import Act
    >>> def entry(at_ms, state):
    ...     return AuditEntry("", "a", 1, "", Act("ann", "person", True, "", at_ms), "plan", state, state)
    >>> active_spans([entry(1, "draft"), entry(2, "active"), entry(5, "held"), entry(7, "active")])
    [(2, 5), (7, None)]
    """
    spans: list[Span] = []
    for entry in entries:
        is_open = bool(spans) and spans[-1][1] is None
        if entry.state == "active" and not is_open:
            spans.append((entry.by.at_ms, None))
        elif entry.state != "active" and is_open:
            spans[-1] = spans[-1][0], entry.by.at_ms
    return spans


class _Course(msgspec.Struct):
    """The changes of one profile, in order; also those of each definition."""

    moves: list[Move] = []
    by_key: dict[str, list[Move]] = {}


class Arms:
    """Collects the membership changes of an audience's measuring definitions, to count its arms.

    The changes of one profile must come in their order; repeated ones change nothing. Keeps those of an
    audience in memory: less than 1 KB for each person who entered an arm.
    """

    def __init__(self, audience: Audience) -> None:
        sent, held_out, self._goal = audience.measuring_keys
        self._arm_keys: dict[ArmName, str] = {"sent": sent, "held_out": held_out}
        self._keys = frozenset(audience.measuring_keys)
        self._courses: dict[str, _Course] = {}

    def take(self, change: Change) -> None:
        """Add a published change; those of other definitions change nothing."""
        if change.segment_key not in self._keys:
            return
        course = self._courses.setdefault(change.profile_id, _Course())
        if course.moves and change.sequence <= course.moves[-1].sequence:
            return
        move = Move(change.occurred_at, change.sequence, change.member, change.reason, change.merged_into)
        course.moves.append(move)
        course.by_key.setdefault(change.segment_key, []).append(move)

    def count(self, counting: Counting, clock_ms: int | None) -> dict[ArmName, Arm]:
        """Return the persons in each arm, given that all changes until ``clock_ms`` were added.

        None: nothing is known yet, so that every window is open.
        """
        ready_ms = self._ready_ms()
        found = {name: dict.fromkeys(Arm.__struct_fields__, 0) for name in ARMS}
        for at_ms, profile_id, name in self._first_entries(counting):
            end_ms = at_ms + counting.window_ms
            holder = self._holder(profile_id, end_ms)
            if not self._is_member(holder, self._arm_keys[name], end_ms):
                found[name]["left_out"] += 1
            elif clock_ms is None or end_ms > clock_ms:
                found[name]["open"] += 1
            elif end_ms < ready_ms:
                found[name]["left_out"] += 1
            else:
                found[name]["matured"] += 1
                found[name]["converted"] += self._is_member(holder, self._goal, end_ms)
        return {name: Arm(**numbers) for name, numbers in found.items()}

    def _ready_ms(self) -> int:
        """Return when the goal had its history in all partitions; 0 if it needed none."""
        moves = (each for course in self._courses.values() for each in course.by_key.get(self._goal, ()))
        return max((each.at_ms for each in moves if each.reason == "backfill"), default=0)

    def _first_entries(self, counting: Counting) -> Iterable[tuple[int, str, ArmName]]:
        """Return the first counted entry of each person, who may have been several profiles."""
        first: dict[str, tuple[int, str, ArmName]] = {}
        persons = _Merges(self._courses)
        for profile_id, name, entry in self._entries():
            if counting.counts(entry):
                person, found = persons.of(profile_id), (entry.at_ms, profile_id, name)
                first[person] = min(first.get(person, found), found)
        return first.values()

    def _entries(self) -> Iterator[tuple[str, ArmName, Move]]:
        for profile_id, course in self._courses.items():
            for name, key in self._arm_keys.items():
                yield from ((profile_id, name, each) for each in course.by_key.get(key, ()) if each.member)

    def _holder(self, profile_id: str, at_ms: int) -> str:
        """Return the profile that a profile had become part of by an instant."""
        seen = set()
        while profile_id not in seen:
            seen.add(profile_id)
            course = self._courses.get(profile_id)
            last = None if course is None else _last(course.moves, at_ms)
            profile_id = profile_id if last is None or last.merged_into is None else last.merged_into
        return profile_id

    def _is_member(self, profile_id: str, key: str, at_ms: int) -> bool:
        course = self._courses.get(profile_id)
        last = None if course is None else _last(course.by_key.get(key, ()), at_ms)
        return last is not None and last.member


def _last(moves: Sequence[Move], at_ms: int) -> Move | None:
    number = bisect_right(moves, at_ms, key=_at)
    return moves[number - 1] if number else None


class _Merges:
    """The profiles of each person, by the merges that were published."""

    def __init__(self, courses: dict[str, _Course]) -> None:
        self._into: dict[str, str] = {}
        for profile_id, course in courses.items():
            for move in course.moves:
                if move.merged_into is not None:
                    one, other = self.of(profile_id), self.of(move.merged_into)
                    if one != other:
                        self._into[one] = other

    def of(self, profile_id: str) -> str:
        """Return the profile that stands for the person."""
        while (into := self._into.get(profile_id)) is not None:
            profile_id = into
        return profile_id
