"""Violations, gathered by kind: how often each occurred, without a value of any event."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from segops.tracking.compiler import Verdict

#: The most kinds that are kept apart; beyond them those of a source are one kind.
MAX_KINDS: Final = 500
OTHERS: Final = "(others)"
_INDEX: Final = re.compile(r"\[\d+\]")


class Kind(NamedTuple):
    """Violations that differ in nothing that is shown of them. ``action``: what became of the events."""

    source: str
    event: str
    reason: str
    path: str
    expected: str
    got: str
    action: str


class ViolationRecord(msgspec.Struct, frozen=True):
    """The violations of one kind within a short time: ``count``, the first and last arrival, one example.

    ``message_id`` is that of the example; ``payload`` the example itself, if a setting asks for it.
    """

    source: str
    event: str
    reason: str
    path: str
    expected: str
    got: str
    action: str
    count: int
    first_ms: int
    last_ms: int
    message_id: str | None = None
    payload: Any = None

    @property
    def kind(self) -> Kind:
        """The kind of the violations."""
        return Kind(self.source, self.event, self.reason, self.path, self.expected, self.got, self.action)


encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(ViolationRecord)


def decode(value: bytes | None) -> ViolationRecord | None:
    """Decode a record; None if it is none: any client may write to the topic."""
    try:
        return _decoder.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class Example(NamedTuple):
    """One event that violated a plan."""

    message_id: str | None
    payload: Any = None


class ViolationTally:
    """Counts violations by kind, in bounded memory, and yields each kind at most once at a time."""

    def __init__(self) -> None:
        #: What was counted since the start, and what of it is not taken yet.
        self._totals: dict[Kind, ViolationRecord] = {}
        self._pending: dict[Kind, ViolationRecord] = {}

    def add(self, source: str, verdict: Verdict, example: Example, *, now_ms: int) -> None:
        """Count the violations of one event."""
        for each in verdict.violations:
            kind = Kind(source, verdict.event, *each, verdict.action)
            kind = kind._replace(path=_INDEX.sub("[]", kind.path))
            if kind not in self._totals and len(self._totals) >= MAX_KINDS:
                kind = Kind(source, OTHERS, OTHERS, OTHERS, "", "", verdict.action)
                example = Example(None)
            record = ViolationRecord(*kind, 1, now_ms, now_ms, *example)
            self._pending[kind] = added(self._pending.get(kind), record)
            without = msgspec.structs.replace(record, payload=None)
            self._totals[kind] = added(self._totals.get(kind), without)

    def take(self, most: int) -> list[ViolationRecord]:
        """Return at most ``most`` kinds with what was counted since they were taken last."""
        taken = list(self._pending)[:most]
        return [self._pending.pop(kind) for kind in taken]

    def put_back(self, records: Iterable[ViolationRecord]) -> None:
        """Undo ``take`` for records that were not published."""
        for record in records:
            self._pending[record.kind] = added(self._pending.get(record.kind), record)

    def totals(self) -> list[ViolationRecord]:
        """Return all kinds since the start, the most frequent first."""
        return by_count(self._totals.values())


def added(former: ViolationRecord | None, more: ViolationRecord) -> ViolationRecord:
    """Return two records of one kind as one, with the example of the first."""
    if former is None:
        return more
    return msgspec.structs.replace(
        former,
        count=former.count + more.count,
        first_ms=min(former.first_ms, more.first_ms),
        last_ms=max(former.last_ms, more.last_ms),
    )


def summed(records: Iterable[ViolationRecord]) -> list[ViolationRecord]:
    """Return records with those of each kind added, the most frequent first."""
    found: dict[Kind, ViolationRecord] = {}
    for record in records:
        found[record.kind] = added(found.get(record.kind), record)
    return by_count(found.values())


def by_count(records: Iterable[ViolationRecord]) -> list[ViolationRecord]:
    """Return records with the most frequent first."""
    return sorted(records, key=lambda each: (-each.count, each.kind))
