"""Webhooks of Shopify: who signed them, from which shop, and their events; 200 once Kafka has these."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from segops.api.refusals import RequestRefused
from segops.collector.body import unpack
from segops.collector.delivery import Delivery
from segops.collector.ingest import Accepted, Rejection
from segops.collector.metrics import CollectorMetrics
from segops.collector.stamping import ADDED_BYTES
from segops.collector.writer import Outgoing
from segops.config import Settings
from segops.core.errors import RejectedEvent
from segops.core.values import format_instant
from segops.metrics import Metrics
from segops.schemas.events import route
from segops.schemas.identifying import limits_of
from segops.schemas.quarantine import ORIGIN_HEADER, REASON_HEADER
from segops.schemas.record_keys import record_key
from segops.schemas.records import COLLECTOR_HEADER, Headers, partition_of
from segops.shopify.signature import is_signed
from segops.shopify.topics import IGNORED, MANUAL, MAPPED
from segops.shopify.values import Unreadable, encoded, time_of

log = logging.getLogger(__name__)

SHOPIFY_PATH: Final = "/v1/shopify"
#: The name of the source, in metrics and in the header of events.
SHOPIFY: Final = "shopify"
#: Orders of many items are far larger than the batches of SDKs.
MAX_WEBHOOK_BYTES: Final = 4 << 20
#: The reason of a dead letter whose payload does not have what its topic promises.
UNREADABLE: Final = "shopify_schema"
_DEAD_LETTER_BYTES: Final = 400_000
_HEADERS: Final[Headers] = [(COLLECTOR_HEADER, SHOPIFY.encode())]
_payload = msgspec.json.Decoder(dict[str, Any])


class Delivered(NamedTuple):
    """A webhook as it was received: its headers, of which names have no case, and the bytes of its body."""

    headers: Mapping[str, str]
    body: bytes


class Webhooks:
    """Accepts webhooks that one of the secrets signed: ``accept`` returns once Kafka has their events.

    A webhook that no retry can repair is accepted, too, and becomes a dead letter: Shopify removes a
    subscription that keeps failing.
    """

    def __init__(
        self,
        settings: Settings,
        delivery: Delivery,
        *,
        metrics: Metrics,
        counts: CollectorMetrics,
        wall_ms: Callable[[], int],
        passed: Callable[[str], None],
    ) -> None:
        self._secrets = settings.shopify.keys
        self._shops = settings.shopify.domains
        self._delivery = delivery
        self._topics = settings.topics
        self._limits = limits_of(settings)
        self._metrics = metrics
        self._counts = counts
        self._wall_ms = wall_ms
        self._passed = passed

    async def accept(self, webhook: Delivered) -> Accepted:
        """Deliver the events of a webhook. Raises RequestRefused; Kafka may have them even so."""
        topic, shop = self._check(webhook)
        test = webhook.headers.get("X-Shopify-Test") == "true"
        if test or topic not in MAPPED:
            result = "test" if test else "ignored" if topic in IGNORED else "unknown"
            self._count(topic, result, shop)
            return Accepted(SHOPIFY, 0, [])
        records, rejection = self._records(webhook, topic, shop)
        await self._delivery.deliver(records)
        self._passed("collect_after_ack")
        self._count(topic, "mapped" if rejection is None else "rejected", shop)
        if rejection is None:
            self._counts.events.labels(SHOPIFY, "accepted").inc(len(records))
            return Accepted(SHOPIFY, len(records), [])
        self._counts.events.labels(SHOPIFY, "rejected").inc()
        self._metrics.dead_letters.labels(rejection.reason).inc()
        return Accepted(SHOPIFY, 0, [rejection])

    def _check(self, webhook: Delivered) -> tuple[str, str]:
        """Return topic and shop of a webhook. Raises RequestRefused for a wrong signature or shop."""
        if not is_signed(webhook.body, webhook.headers.get("X-Shopify-Hmac-Sha256"), self._secrets):
            raise RequestRefused(401, "bad_signature", "invalid or missing X-Shopify-Hmac-Sha256")
        shop = webhook.headers.get("X-Shopify-Shop-Domain", "").strip().lower()
        if shop not in self._shops:
            raise RequestRefused(403, "unknown_shop", "this shop is not in SEGOPS_SHOPIFY_SHOPS")
        return webhook.headers.get("X-Shopify-Topic", "").strip().lower(), shop

    def _records(self, webhook: Delivered, topic: str, shop: str) -> tuple[list[Outgoing], Rejection | None]:
        """Return the events of a webhook, or the dead letter that it becomes, with the reason."""
        try:
            text = unpack(webhook.body, webhook.headers.get("Content-Encoding", ""), MAX_WEBHOOK_BYTES)
            payload = _payload.decode(text)
            return [self._event(each, webhook, shop) for each in MAPPED[topic](payload)], None
        except (Unreadable, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            rejection = Rejection(topic, UNREADABLE, str(error))
        except RejectedEvent as error:
            rejection = Rejection(topic, error.reason, error.detail)
        return [self._dead_letter(webhook, rejection, shop)], rejection

    def _event(self, event: dict[str, Any], webhook: Delivered, shop: str) -> Outgoing:
        """Return the record of an event. Raises RejectedEvent, for what the engine would reject."""
        now_ms, topic = self._wall_ms(), self._topics.events
        triggered = time_of(webhook.headers, "X-Shopify-Triggered-At")
        event.setdefault("timestamp", triggered or format_instant(now_ms))
        event["context"]["shop"] = shop
        event["receivedAt"] = format_instant(now_ms)
        value = encoded(event, self._limits.max_bytes - ADDED_BYTES)
        routed = route(value, now_ms=now_ms, default_time_ms=now_ms, limits=self._limits)
        key = record_key(value)
        to = partition_of(key or routed.profile_id.encode(), self._delivery.partitions(topic))
        return Outgoing((topic, to), key, value, _HEADERS)

    def _dead_letter(self, webhook: Delivered, rejection: Rejection, shop: str) -> Outgoing:
        topic, value = self._topics.dead_letters, webhook.body[:_DEAD_LETTER_BYTES]
        headers = [
            (REASON_HEADER, rejection.reason.encode()),
            ("segops-detail", rejection.detail[:1_000].encode(errors="replace")),
            (ORIGIN_HEADER, f"shopify:{shop}:{rejection.path}".encode()),
            *_HEADERS,
        ]
        if len(value) < len(webhook.body):
            headers.append(("segops-cut", b"0:%d" % len(webhook.body)))
        return Outgoing((topic, partition_of(value, self._delivery.partitions(topic))), None, value, headers)

    def _count(self, topic: str, result: str, shop: str) -> None:
        known, metrics = topic in MAPPED or topic in IGNORED, self._counts
        metrics.webhooks.labels(topic if known else "other", result).inc()
        if topic in MANUAL and result != "test":
            log.warning("%s sent %s: an operator has to answer it (deploy/README.md)", shop, topic)
