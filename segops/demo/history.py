"""The demo's whole input: purchases and clicks in time order."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from typing import Final
from zlib import crc32

import msgspec

from segops.core.errors import UserError
from segops.demo.clicks import clicks_file, read_clicks
from segops.demo.input_events import InputEvent
from segops.demo.purchases import purchases_file, read_purchases

#: How long time continues after the last event, to show people leave as time passes.
AFTERWARDS_MS: Final = 120 * 86_400_000


class OrderHistory(msgspec.Struct, frozen=True):
    """Events in time order, and the number of people."""

    events: list[InputEvent]
    people: int

    @property
    def first_ms(self) -> int:
        """The time of the first event."""
        return self.events[0].time_ms

    @property
    def half_ms(self) -> int:
        """The time of the event in the middle."""
        return self.events[(len(self.events) - 1) // 2].time_ms

    @property
    def last_ms(self) -> int:
        """The time of the last event."""
        return self.events[-1].time_ms

    @property
    def over_http_ms(self) -> tuple[int, int]:
        """The instants after which, and up to which, events go through the collector: an eighth of them.

        Only purchases are among them. The events of one person must stay in one partition, and those of a
        visitor who logs in change their key.
        """
        first = self.events[len(self.events) // 8].time_ms
        last = self.events[len(self.events) // 4].time_ms
        visits = [event.time_ms for event in self.events if b'"anonymousId"' in event.line]
        return first, max(first, min([last, *(time_ms - 1 for time_ms in visits[:1])]))

    def until(self, instant_ms: int) -> int:
        """Return the number of events up to an instant."""
        return bisect_right(self.events, instant_ms, key=attrgetter("time_ms"))

    @property
    def final_ms(self) -> int:
        """The instant at which the demo's time ends."""
        return self.last_ms + AFTERWARDS_MS


def read_history(limit: int | None = None) -> OrderHistory:
    """Return the whole history, or ``limit`` events: those of complete customers, over the whole time.

    Raises UserError if the data is not installed.
    """
    both = chain(read_purchases(purchases_file()), read_clicks(clicks_file()))
    return arrange(both, limit)


def arrange(found: Iterable[InputEvent], limit: int | None = None) -> OrderHistory:
    """Sort events by time. With a limit, choose customers by hash; only the last one may lose events.

    Raises UserError if there is no event.
    """
    events = sorted(found)
    if limit is not None:
        events = _limited(events, limit)
    if not events:
        raise UserError("no events: nothing to show")
    return OrderHistory(events, len({event.profile for event in events}))


def _limited(events: list[InputEvent], limit: int) -> list[InputEvent]:
    counts = Counter(event.profile for event in events)
    left: dict[str, int] = {}
    for profile in sorted(counts, key=lambda profile: (crc32(profile.encode()), profile)):
        left[profile] = min(counts[profile], limit)
        limit -= left[profile]
    return [event for event in events if _taken(left, event.profile)]


def _taken(left: dict[str, int], profile: str) -> bool:
    left[profile] -= 1
    return left[profile] >= 0
