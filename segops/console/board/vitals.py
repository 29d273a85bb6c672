"""How the workers fare: events per second, delays, lag and clocks, from one poll to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from segops.console.board.exposition import (
    Scraped,
    buckets,
    growth,
    quantile,
    total,
    totals,
)
from segops.console.board.polling import Polled, by_url

#: Percentiles are of the observations of so many seconds, rates of fewer.
_SPAN_MS: Final = 60_000
_RATE_MS: Final = 10_000
#: Points of the series that is kept: an hour, at a poll each two seconds.
_POINTS: Final = 1_800
#: A timer that fired so much later than due counts as overdue.
LATE_S: Final = 5.0


class WorkerHealth(NamedTuple):
    """One worker as of its last poll; ``reason``: why it did not answer."""

    url: str
    at_ms: int
    answers: bool
    reason: str
    lag: int
    recovering: int
    connected: bool


class Point(NamedTuple):
    """The rates of one poll."""

    at_ms: int
    events: float
    changes: float


class Vitals(NamedTuple):
    """All workers together. None: unknown, or nothing was observed in the last minute.

    ``clock_ms``: the least clock of their partitions. ``overdue``: timers that fired more than five seconds
    late within the last minute. ``reached``: how many of them answered, of ``known``.
    """

    at_ms: int | None = None
    events_per_s: float | None = None
    changes_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    lag: int | None = None
    recovering: int | None = None
    overdue: int | None = None
    clock_ms: int | None = None
    backfill_left: int = 0
    reached: int = 0
    known: int = 0


_RATES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "events": ("segops_events_consumed_total", {"step": "resolve"}),
    "changes": ("segops_membership_changes_total", {}),
}


class VitalsWatch:
    """Compares what workers say with what they said before."""

    def __init__(self) -> None:
        self.now = Vitals()
        self.workers: Sequence[WorkerHealth] = ()
        self.points: deque[Point] = deque(maxlen=_POINTS)
        self.gates: Mapping[str, Mapping[str, Any]] = {}
        #: Whether a delivery answered at the last poll.
        self.delivers = False
        self._before: deque[tuple[int, Mapping[str, Polled]]] = deque()
        self._delivery: deque[Polled] = deque()

    def hear(self, workers: Sequence[Polled], delivery: Polled) -> None:
        """Take what was heard in one poll."""
        self.workers = [_health(each) for each in workers]
        found = by_url(workers)
        at_ms = max((each.at_ms for each in workers), default=0)
        self._before.append((at_ms, found))
        while self._before[0][0] < at_ms - _SPAN_MS:
            self._before.popleft()
        if found:
            self.now = self._compared(at_ms, found, len(workers))
            if self.now.events_per_s is not None:
                self.points.append(Point(at_ms, self.now.events_per_s, self.now.changes_per_s or 0.0))
        else:
            self.now = self.now._replace(reached=0, known=len(workers))
        self._hear_delivery(delivery)

    def _compared(self, at_ms: int, found: Mapping[str, Polled], known: int) -> Vitals:
        sums = [each.found for each in found.values() if each.found is not None]
        clocks = [one.value for each in sums for one in each["segops_partition_clock_seconds"] if one.value]
        delays = self._observed("segops_end_to_end_seconds", found)
        late = self._observed("segops_timer_lateness_seconds", found)
        p50, p99 = (quantile(delays, share) for share in (0.5, 0.99))
        return Vitals(
            at_ms,
            self._rate("events", at_ms, found),
            self._rate("changes", at_ms, found),
            None if p50 is None else 1000 * p50,
            None if p99 is None else 1000 * p99,
            round(sum(total(each, "segops_consumer_lag_records") for each in sums)),
            round(sum(total(each, "segops_partitions_recovering") for each in sums)),
            round(late.get(float("inf"), 0) - late.get(LATE_S, 0)),
            round(1000 * min(clocks)) if clocks else None,
            round(sum(total(each, "segops_backfill_records_left") for each in sums)),
            len(found),
            known,
        )

    def _rate(self, name: str, at_ms: int, found: Mapping[str, Polled]) -> float | None:
        metric, labels = _RATES[name]
        *earlier, _ = self._before
        if not earlier:
            return None
        recent = (each for each in earlier if each[0] >= at_ms - _RATE_MS)
        then_ms, then = next(recent, earlier[-1])
        if then_ms == at_ms:
            return None
        grown = sum(
            growth(total(now.found or {}, metric, **labels), total(then[url].found or {}, metric, **labels))
            for url, now in found.items()
            if url in then
        )
        return 1000 * grown / (at_ms - then_ms)

    def _observed(self, name: str, found: Mapping[str, Polled]) -> dict[float, float]:
        """Return the buckets of what was observed since the oldest poll that is kept."""
        _, then = self._before[0]
        sums: dict[float, float] = {}
        for url, now in found.items():
            before = buckets(then[url].found or {}, name) if url in then else {}
            counts = buckets(now.found or {}, name)
            restarted = counts.get(float("inf"), 0) < before.get(float("inf"), 0)
            for bound, count in counts.items():
                then_count = 0 if restarted else before.get(bound, 0)
                sums[bound] = sums.get(bound, 0) + count - then_count
        return sums

    def _hear_delivery(self, delivery: Polled) -> None:
        self.delivers = delivery.found is not None
        if delivery.found is None:
            self.gates = {}
            return
        self._delivery.append(delivery)
        while self._delivery[0].at_ms < delivery.at_ms - _SPAN_MS:
            self._delivery.popleft()
        self.gates = _gates(delivery, self._delivery[0])


def _health(polled: Polled) -> WorkerHealth:
    found = polled.found or {}
    return WorkerHealth(
        polled.url,
        polled.at_ms,
        polled.found is not None,
        polled.reason,
        round(total(found, "segops_consumer_lag_records")),
        round(total(found, "segops_partitions_recovering")),
        total(found, "segops_broker_connected") > 0,
    )


def _gates(now: Polled, then: Polled) -> dict[str, Mapping[str, Any]]:
    found, before = now.found or {}, then.found or {}
    known = ("segops_delivery_closed", "segops_delivery_waiting")
    names = {name for metric in known for name in totals(found, metric, "destination")}
    span_ms = now.at_ms - then.at_ms
    return {
        name: {**_gate(found, before, name, span_ms), "reason": now.closed.get(name, "")}
        for name in sorted(names)
        if name
    }


def _gate(found: Scraped, before: Scraped, name: str, span_ms: int) -> Mapping[str, Any]:
    """Return the state of a destination; ``per_minute``: messages by result."""
    metric = "segops_delivery_messages_total"
    oldest = (
        each.value
        for each in found.get("segops_delivery_oldest_seconds", ())
        if each.labels.get("destination") == name
    )
    results = {
        each.labels.get("result", "")
        for each in found.get(metric, ())
        if each.labels.get("destination") == name
    }
    rates = {
        result: growth(
            total(found, metric, destination=name, result=result),
            total(before, metric, destination=name, result=result),
        )
        for result in sorted(results)
    }
    return {
        "state": "closed" if total(found, "segops_delivery_closed", destination=name) else "open",
        "waiting": round(total(found, "segops_delivery_waiting", destination=name)),
        "oldest_ms": round(1000 * max(oldest, default=0.0)),
        "per_minute": {key: 60_000 * grown / span_ms for key, grown in rates.items()} if span_ms else {},
    }
