"""From a request to records: who sends, what is valid, and the answer once Kafka has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from msgspec import Raw

from segops.api.refusals import RequestRefused
from segops.collector.body import divide, unpack, write_key_of
from segops.collector.delivery import Delivery
from segops.collector.metrics import CollectorMetrics
from segops.collector.plans import Plans
from segops.collector.refusals import unavailable
from segops.collector.sources import Source, Sources
from segops.collector.stamping import ADDED_BYTES, Stamper, without_key
from segops.collector.writer import Outgoing
from segops.config import TopicSettings
from segops.core.errors import RejectedEvent
from segops.metrics import Metrics
from segops.schemas.events import route
from segops.schemas.identifying import IdentityLimits
from segops.schemas.quarantine import ORIGIN_HEADER, REASON_HEADER
from segops.schemas.record_keys import record_key
from segops.schemas.records import COLLECTOR_HEADER, Headers, partition_of

#: What the events of one batch may be together, once each has the context that they share.
MAX_STAMPED_BYTES: Final = 4 << 20
_DEAD_LETTER_BYTES: Final = 400_000
#: The field at fault, by the reason for which an event is rejected.
_FIELDS: Final = {
    "unknown_type": ".type",
    "no_name": ".event",
    "bad_time": ".timestamp",
    "no_identifier": ".userId",
    "blocked_identifier": ".userId",
}


class Call(NamedTuple):
    """A request with events. ``key``: the write key of its header; ``kind``: the event type of its path."""

    path: str
    kind: str | None
    body: bytes
    encoding: str = ""
    key: str | None = None
    origin: str | None = None
    address: str | None = None
    user_agent: str | None = None
    sent_at: str | None = None


class Rejection(NamedTuple):
    """An event that is not accepted: where it is in the body, and why."""

    path: str
    reason: str
    detail: str


class Accepted(NamedTuple):
    """What has become of a request: its source, the number of valid events, and the others."""

    source: str
    events: int
    rejections: list[Rejection]


class Ingest:
    """Accepts requests: ``accept`` returns once Kafka has their events. ``passed``: called at failpoints.

    Invalid events go to the dead-letter topic, so that a sender's mistake loses nothing.
    """

    def __init__(
        self,
        sources: Sources,
        delivery: Delivery,
        plans: Plans,
        *,
        topics: TopicSettings,
        limits: IdentityLimits,
        metrics: Metrics,
        counts: CollectorMetrics,
        wall_ms: Callable[[], int],
        now: Callable[[], float],
        passed: Callable[[str], None],
    ) -> None:
        self.sources = sources
        self.delivery = delivery
        self._plans = plans
        self._topics = topics
        self._limits = limits
        self._max_bytes = max(limits.max_bytes - ADDED_BYTES, limits.max_bytes // 2)
        self._metrics = metrics
        self._counts = counts
        self._wall_ms = wall_ms
        self._now = now
        self._passed = passed

    async def accept(self, call: Call) -> Accepted:
        """Deliver the events of a request. Raises RequestRefused; Kafka may have them even so."""
        text = unpack(call.body, call.encoding)
        source = self._source(call, text)
        body = divide(text)
        self._check_rate(source, max(len(body.events), 1))
        if not self._plans.known:
            raise unavailable("the tracking plans are not read yet")
        received_ms = self._wall_ms()
        stamper = Stamper(
            received_ms=received_ms,
            min_skew_ms=self._limits.min_skew_ms,
            kind=call.kind,
            shared=body.shared,
            sent_at=call.sent_at,
            address=call.address if source.keeps_ip else None,
            user_agent=call.user_agent,
        )
        paths = (f"batch[{n}]" for n in range(len(body.events))) if body.is_batch else ["body"]
        records, rejections = self._records(
            source, zip(paths, body.events, strict=False), stamper, received_ms
        )
        await self.delivery.deliver(records)
        self._passed("collect_after_ack")
        events = len(records) - len(rejections)
        self._count(source, events, rejections)
        return Accepted(source.name, events, rejections)

    def _source(self, call: Call, text: bytes) -> Source:
        key = call.key if call.key is not None else write_key_of(text)
        if not key:
            raise RequestRefused(401, "no_write_key", "no write key: expected Basic credentials, or writeKey")
        source = self.sources.get(key)
        if source is None:
            raise RequestRefused(401, "unknown_write_key", "unknown write key")
        if not source.allows(call.origin):
            raise RequestRefused(403, "origin", f"this origin may not send to {source.name}")
        return source

    def _check_rate(self, source: Source, events: int) -> None:
        wait_s = source.bucket.take(events, now_s=self._now())
        if wait_s:
            raise RequestRefused(
                429, "rate", f"{source.name} sends more events than allowed", retry_after_s=1 + int(wait_s)
            )

    def _records(
        self,
        source: Source,
        events: Iterable[tuple[str, bytes | Raw]],
        stamper: Stamper,
        received_ms: int,
    ) -> tuple[list[Outgoing], list[Rejection]]:
        partitions = self.delivery.partitions(self._topics.events)
        headers: Headers = [(COLLECTOR_HEADER, source.name.encode())]
        records: list[Outgoing] = []
        rejections: list[Rejection] = []
        left, plan = MAX_STAMPED_BYTES, self._plans.of(source.name)
        for path, event in events:
            value = stamper.stamp(event)
            left -= len(value)
            if left < 0:
                raise RequestRefused(400, "too_large", f"{path}: with its context, the batch is too large")
            try:
                profile_id = self._check(event, value, received_ms)
                if plan is not None:
                    value = self._plans.check(plan, value, now_ms=received_ms)
            except RejectedEvent as error:
                rejections.append(Rejection(path + _FIELDS.get(error.reason, ""), error.reason, error.detail))
                records.append(self._dead_letter(source, bytes(event), rejections[-1]))
                continue
            key = record_key(value)
            to = partition_of(key or profile_id.encode(), partitions)
            records.append(Outgoing((self._topics.events, to), key, value, headers))
        return records, rejections

    def _check(self, event: bytes | Raw, value: bytes, received_ms: int) -> str:
        """Return the profile that an event is of. Raises RejectedEvent, for what the engine would reject."""
        size = len(memoryview(event))
        if size > self._max_bytes:
            raise RejectedEvent("too_large", f"{size:,} bytes, {self._max_bytes:,} are allowed")
        return route(value, now_ms=received_ms, default_time_ms=received_ms, limits=self._limits).profile_id

    def _dead_letter(self, source: Source, event: bytes, rejection: Rejection) -> Outgoing:
        topic = self._topics.dead_letters
        value = without_key(event, self.sources.keys)
        headers = [
            (REASON_HEADER, rejection.reason.encode()),
            ("segops-detail", rejection.detail[:1_000].encode(errors="replace")),
            (ORIGIN_HEADER, f"collector:{source.name}:{rejection.path}".encode()),
            (COLLECTOR_HEADER, source.name.encode()),
        ]
        if len(value) > _DEAD_LETTER_BYTES:
            headers.append(("segops-cut", b"0:%d" % len(value)))
            value = value[:_DEAD_LETTER_BYTES]
        partition = partition_of(value, self.delivery.partitions(topic))
        return Outgoing((topic, partition), None, value, headers)

    def _count(self, source: Source, events: int, rejections: list[Rejection]) -> None:
        metrics = self._counts
        metrics.events.labels(source.name, "accepted").inc(events)
        if rejections:
            metrics.events.labels(source.name, "rejected").inc(len(rejections))
            for reason, number in Counter(each.reason for each in rejections).items():
                self._metrics.events_rejected.labels(reason).inc(number)
                self._metrics.dead_letters.labels(reason).inc(number)
