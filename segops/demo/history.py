"""The demo's whole input: purchases and clicks, in the order in which they happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Final
from zlib import crc32

import msgspec

from segops.core.errors import UserError
from segops.demo.clicks import clicks_file, read_clicks
from segops.demo.input_events import InputEvent
from segops.demo.purchases import purchases_file, read_purchases

#: How far time goes on after the last event, so that it can be seen how people leave because of it.
AFTERWARDS_MS: Final = 120 * 86_400_000


class OrderHistory(msgspec.Struct, frozen=True):
    """Events in the order of time; ``final_ms`` is where time stops."""

    moments: list[InputEvent]
    people: int

    @property
    def first_ms(self) -> int:
        """When the first event happened."""
        return self.moments[0].time_ms

    @property
    def last_ms(self) -> int:
        """When the last event happened."""
        return self.moments[-1].time_ms

    @property
    def final_ms(self) -> int:
        """Where time stops."""
        return self.last_ms + AFTERWARDS_MS


def read_history(limit: int | None = None) -> OrderHistory:
    """All there is, or ``limit`` events of it: those of whole customers, over the whole time.

    Raises UserError when the data is not installed.
    """
    both = chain(read_purchases(purchases_file()), read_clicks(clicks_file()))
    return arrange(both, limit)


def arrange(found: Iterable[InputEvent], limit: int | None = None) -> OrderHistory:
    """Order moments by time. Customers are chosen by a hash; only the last one's events may be cut short."""
    moments = sorted(found)
    if limit is not None:
        moments = _some(moments, limit)
    if not moments:
        raise UserError("no events at all: nothing can be shown")
    return OrderHistory(moments, len({moment.person for moment in moments}))


def _some(moments: list[InputEvent], limit: int) -> list[InputEvent]:
    counts = Counter(moment.person for moment in moments)
    left: dict[str, int] = {}
    for person in sorted(counts, key=lambda person: (crc32(person.encode()), person)):
        left[person] = min(counts[person], limit)
        limit -= left[person]
    return [moment for moment in moments if _taken(left, moment.person)]


def _taken(left: dict[str, int], person: str) -> bool:
    left[person] -= 1
    return left[person] >= 0
