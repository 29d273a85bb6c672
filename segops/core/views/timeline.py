"""The timeline of a person: the events and membership changes of all profiles that became one.

The events are in the logs of profile events, one log per identifier. After a merge, a redirect relays what
arrives at its identifier to the survivor; what came before is in its own log. A log also tells who asked for
the profile, and the log of the one that got it has the hand-over. So the logs alone lead from any identifier
to the survivor, and from there to all that is part of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import msgspec

from segops.core.events import Change, Event
from segops.core.messages import (
    Claim,
    Erase,
    Forget,
    Forward,
    Handover,
    MergeRequest,
    Message,
    Release,
    Restore,
    Rows,
)

_ERASURE: Final = "erasure"


class TimelineEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="event"):
    """An event. ``profile_id``: the profile that it arrived at first; ``time_ms``: its corrected time.

    ``origin``: of a mapped event, the place of its record, ``topic:partition:offset``.
    """

    time_ms: int
    profile_id: str
    name: str
    message_id: str
    properties: dict[str, Any]
    origin: str | None = None


class TimelineChange(msgspec.Struct, frozen=True, tag_field="kind", tag="change"):
    """A membership change of the profile, or of one that was merged into it."""

    time_ms: int
    profile_id: str
    segment_key: str
    segment_version: int
    action: str
    reason: str
    event_id: str | None
    merged_into: str | None


TimelineEntry = TimelineEvent | TimelineChange


class _Log:
    """What the log of one identifier holds. ``handed``: hand-overs to it, by source and sequence."""

    def __init__(self) -> None:
        self.events: list[TimelineEvent] = []
        self.handed: set[tuple[str, int]] = set()
        self.restored: set[int] = set()
        self.asked_by: dict[str, None] = {}


class Timeline:
    """Collects logs and changes for the timeline of the person with an identifier.

    Read the logs that ``unread`` names until there are none; then the changes of the profiles ``ids``. What
    precedes an erasure is left out, even if its topic still holds it. ``known``: identifiers that lead to the
    profile, also where the logs are not read from their beginning.
    """

    def __init__(self, identifier: str, known: Iterable[str] = ()) -> None:
        self._identifier = identifier
        self._known = tuple(known)
        self._logs: dict[str, _Log] = {}
        self._erased_ms: dict[str, int] = {}
        self._forgotten: set[tuple[str, str, str, int]] = set()
        self._changes: dict[str, dict[str, Change]] = {}

    def unread(self) -> set[str]:
        """Return the identifiers whose logs are needed and have not been begun."""
        last = self._logs.get(self.profile_id, _Log())
        return ({*last.asked_by, *self.ids} | {self._identifier}) - self._logs.keys()

    def begin(self, identifiers: Collection[str]) -> None:
        """Begin the logs of these identifiers; their records follow in log order."""
        self._logs |= {identifier: _Log() for identifier in identifiers}

    def event(self, identifier: str, event: Event, origin: str | None = None) -> None:
        """Add an event in the log of an identifier. ``origin``: of a mapped event, that of its record."""
        found = TimelineEvent(
            event.time_ms, identifier, event.name, event.message_id, event.properties, origin
        )
        self._logs[identifier].events.append(found)

    def message(self, identifier: str, message: Message | Release | Rows, written_ms: int) -> None:
        """Add a message in the log of an identifier. ``written_ms``: the record's Kafka timestamp."""
        log = self._logs[identifier]
        match message:
            case Forward(event=event):
                self.event(identifier, event)
            case Handover(source=source, sequence=sequence):
                log.handed.add((source, sequence))
            case Restore(sequence=sequence):
                log.restored.add(sequence)
            case Claim(by=other) | MergeRequest(into=other):
                log.asked_by[other] = None
            case Erase():
                self._erase(identifier, written_ms)
            case Forget(sequence=sequence) if sequence not in log.restored:
                request = identifier, message.of, message.what.request, sequence
                if request not in self._forgotten:  # a redelivery has no effect
                    self._forgotten.add(request)
                    self._erase(identifier, written_ms)

    def _erase(self, identifier: str, at_ms: int) -> None:
        self._logs[identifier] = _Log()
        self._erased_ms[identifier] = at_ms

    def change(self, change: Change) -> None:
        """Add a published change, each profile's in log order."""
        known = self._changes.setdefault(change.profile_id, {})
        if change.reason == _ERASURE:
            known.clear()
        elif change.evaluated_at > self._erased_ms.get(change.profile_id, -1):
            known[change.change_id] = change

    @property
    def profile_id(self) -> str:
        """The profile that the identifier leads to, as far as the logs are read."""
        return self._chain()[-1]

    def _chain(self) -> list[str]:
        chain = [self._identifier]
        while (into := self._survivor(chain[-1])) is not None and into not in chain:
            chain.append(into)
        return chain

    def _survivor(self, source: str) -> str | None:
        log = self._logs.get(source, _Log())
        return next((other for other in log.asked_by if source in self._handed_to(other)), None)

    def _handed_to(self, identifier: str) -> Iterator[str]:
        """Yield what was handed over to an identifier, and not split off again."""
        for source, sequence in sorted(self._logs.get(identifier, _Log()).handed):
            log = self._logs.get(source)
            if log is None or sequence not in log.restored:
                yield source

    @property
    def ids(self) -> list[str]:
        """The profile, and all that were merged into it, as far as the logs are read."""
        found = list(dict.fromkeys((self.profile_id, *self._known)))
        for each in found:  # it grows
            found += [source for source in self._handed_to(each) if source not in found]
        return found

    def entries(self) -> list[TimelineEntry]:
        """Return the entries by time; at the same instant events come before the changes.

        A message counts once, with the time at which it was first read.
        """
        events: dict[str, TimelineEvent] = {}
        for identifier in reversed(self.ids):  # a relayed event also stands in the log that it arrived at
            for each in self._logs.get(identifier, _Log()).events:
                events.setdefault(each.message_id, each)
        changes = [change for each in self.ids for change in self._changes.get(each, {}).values()]
        changes.sort(key=lambda change: change.sequence)
        found: list[TimelineEntry] = [*events.values(), *map(_entry, changes)]
        return sorted(found, key=lambda entry: entry.time_ms)


def _entry(change: Change) -> TimelineChange:
    return TimelineChange(
        change.occurred_at,
        change.profile_id,
        change.segment_key,
        change.segment_version,
        change.action,
        change.reason,
        change.event_id,
        change.merged_into,
    )
