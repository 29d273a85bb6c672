"""The oracle of published indicators: the slow evaluator at every instant that could matter."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from segops.core.events import Event
from segops.core.rules.figures import PublishedFigure
from segops.core.rules.reference import Edges, History
from segops.core.rules.reference.figures import value_of


class PublishedSummary(NamedTuple):
    """The fields of a published value that are compared."""

    indicator: str
    value: Any
    reason: str
    occurred_at: int
    event_id: str | None


class IndicatorOracle:
    """One profile whose indicators are looked at by brute force."""

    def __init__(self, indicators: dict[str, PublishedFigure]) -> None:
        self.history = History("user_id:u1")
        self._indicators = dict(sorted(indicators.items()))
        self._edges = Edges(self._indicators.values())
        self._published: dict[str, tuple[Any, int]] = {}
        self._evaluated_ms: int | None = None

    def on_event(self, event: Event, clock_ms: int) -> list[PublishedSummary]:
        if any(event.message_id == known.message_id for known in self.history.events):
            return []
        found = self.on_clock(max(event.time_ms, clock_ms))
        times = [known.time_ms for known in self.history.events]
        now_ms = self._evaluated_ms = max(event.time_ms, clock_ms, *times)
        self.history.add(event, now_ms)
        return [*found, *self._look(now_ms, "event", event.message_id)]

    def on_clock(self, until_ms: int) -> list[PublishedSummary]:
        if self._evaluated_ms is None:
            return []
        found: list[PublishedSummary] = []
        coming = self._edges.between(self.history, self._evaluated_ms, until_ms)
        now_ms = self._evaluated_ms
        while tried := [at for at in (*coming[:1], *self._ends()) if now_ms < at <= until_ms]:
            now_ms = min(tried)
            coming = [at for at in coming if at > now_ms]
            found += self._look(now_ms, "time", None)
        self._evaluated_ms = max(self._evaluated_ms, until_ms)
        return found

    def value(self, key: str, now_ms: int) -> Any:
        return as_published(value_of(self._indicators[key].figure, self.history, now_ms))

    def _ends(self) -> Iterable[int]:
        """Yield the ends of the periods in which nothing more may be published."""
        for key, node in self._indicators.items():
            if key in self._published and node.per_ms:
                yield self._published[key][1] + node.per_ms

    def _look(self, now_ms: int, reason: str, event_id: str | None) -> list[PublishedSummary]:
        found = []
        for key, node in self._indicators.items():
            value, (last, at_ms) = self.value(key, now_ms), self._published.get(key, (None, None))
            free = at_ms is None or now_ms >= at_ms + (node.per_ms or 0)
            if free and differs(node, value, last):
                self._published[key] = value, now_ms
                found.append(PublishedSummary(key, value, reason, now_ms, event_id))
        return found


def as_published(value: Any) -> Any:
    """Return a value as it is published: an exact number as a whole number or a float."""
    if not isinstance(value, Fraction):
        return value
    near = float(value)
    return int(near) if near == int(near) and abs(near) < 2**53 else near


def differs(node: PublishedFigure, value: Any, last: Any) -> bool:
    numbers = [Fraction(repr(each)) for each in (value, last) if type(each) in (int, float)]
    if node.change_by is not None and len(numbers) == 2:
        return abs(numbers[0] - numbers[1]) >= Fraction(node.change_by)
    return json.dumps(value, sort_keys=True) != json.dumps(last, sort_keys=True)
