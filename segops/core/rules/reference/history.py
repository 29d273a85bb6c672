"""All events of one profile, for the reference evaluator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from segops.core.events import Event
from segops.core.rules import model
from segops.core.rules.reference.dates import dates_in
from segops.core.rules.reference.values import value_at
from segops.core.windows import Between, Calendar, Fixed, SinceLast, Window, Within, period


class History:
    """All events of one profile in order of arrival, without duplicates."""

    def __init__(self, profile_id: str = "") -> None:
        self.profile_id = profile_id
        self.events: list[Event] = []
        self._arrived: dict[str, int] = {}
        self._dates: dict[str, set[int]] = {}
        #: Each static list with a version of it that names the profile.
        self.listings: set[tuple[str, int]] = set()

    def add(self, event: Event, now_ms: int | None = None) -> bool:
        """Add an event that arrives at ``now_ms``; return False for a duplicate message."""
        if any(event.message_id == known.message_id for known in self.events):
            return False
        self.events.append(event)
        if now_ms is not None:
            self._arrived[event.message_id] = now_ms
        return True

    def put_on(self, versions: Mapping[str, Iterable[int]]) -> None:
        """Add versions of static lists that name the profile, by list."""
        self.listings.update((key, version) for key, found in versions.items() for version in found)

    def arrivals(self) -> Iterator[tuple[Event, int]]:
        """Yield the events with their arrival instants (default: the latest event time so far)."""
        for number, event in enumerate(self.events, 1):
            latest_ms = max(known.time_ms for known in self.events[:number])
            yield event, self._arrived.get(event.message_id, latest_ms)

    def dates(self) -> set[int]:
        """Return the instants that the values of the events may say."""
        for event in self.events:
            if event.message_id not in self._dates:
                self._dates[event.message_id] = dates_in((event.properties, event.traits, event.context))
        return set().union(*self._dates.values())

    def before(self, until_ms: int) -> History:
        """Return the history of the events that had arrived before an instant."""
        found = History(self.profile_id)
        for event, now_ms in self.arrivals():
            if now_ms < until_ms:
                found.add(event, now_ms)
        return found

    def in_order(self) -> list[Event]:
        """Return the events by (event time, arrival)."""
        return sorted(self.events, key=lambda event: event.time_ms)

    def traits(self, upto_ms: int | None = None) -> dict[str, Any]:
        """Return the value of each trait by latest event time; at equal times, the last to arrive."""
        merged: dict[str, Any] = {}
        for event in self.in_order():
            if upto_ms is None or event.time_ms <= upto_ms:
                merged.update(event.traits or {})
        return {name: value for name, value in merged.items() if value is not None}

    def select(self, select: model.Selection, now_ms: int) -> list[Event]:
        """Return the selected events so far, by (event time, arrival)."""
        return [
            event
            for event in self.in_order()
            if named(event, select.names)
            and all(test.holds(value_at(event, path), now_ms) for path, test in select.where)
        ]


def named(event: Event, names: tuple[str, ...]) -> bool:
    """Whether these names select an event; ``*`` selects every one."""
    return "*" in names or event.name in names


def counts(window: Window, time_ms: int, now_ms: int) -> bool:
    """Whether an event of ``time_ms`` counts at ``now_ms``."""
    match window:
        case Within(length_ms=length):
            return now_ms - length < time_ms <= now_ms
        case Between(from_ms=from_ms, to_ms=to_ms):
            return now_ms - from_ms < time_ms <= now_ms - to_ms
        case Fixed(since_ms=since, until_ms=until):
            return (since is None or since <= time_ms) and (until is None or time_ms < until)
        case Calendar():
            start, end = period(window, now_ms)
            return start <= time_ms < end and time_ms <= now_ms
        case SinceLast():
            raise TypeError("expected a window of times; an anchor decides by order")
