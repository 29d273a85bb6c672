"""Webhooks over HTTP: signature, shop, size, topics, and what is written; and a shop that retries."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.api.refusals import RequestRefused
from segops.collector.webhooks import MAX_WEBHOOK_BYTES, Delivered
from segops.config import load
from segops.core.errors import UserError
from segops.shopify.topics import IGNORED, MAPPED
from tests.collector.helpers import NOW, Answer, Collector, serve
from tests.klaviyo import virtual_time
from tests.rest import examples
from tests.shopify import payloads
from tests.shopify.stand_in import PAUSES_S, RETRIES, SECRET, SHOP, Shop, Webhook, sign

SETTINGS = {"secrets": SECRET, "shops": SHOP}
Steps = Callable[[Collector], Awaitable[None]]


def receiving(steps: Steps, **changed: object) -> None:
    serve(steps, shopify={**SETTINGS, **changed})


async def post(collector: Collector, webhook: Webhook, **headers: str) -> Answer:
    return await collector.post("/v1/shopify", webhook.body, key=None, headers={**webhook.headers, **headers})


def webhooks(collector: Collector, topic: str, result: str) -> float | None:
    return collector.count("segops_collector_webhooks_total", topic=topic, result=result)


def test_webhook_becomes_an_event_once_kafka_has_it() -> None:
    async def steps(collector: Collector) -> None:
        answer = await post(collector, Webhook("orders/create", payloads.order()))
        assert (answer.status, answer.json) == (200, {"success": True})
        (record,) = collector.records()
        assert (record.key, record.headers) == (
            b"115310627314723954",
            {"segops-collector-source": b"shopify"},
        )
        assert record.event["event"] == "Order Completed"
        assert (record.event["receivedAt"], record.event["context"]["shop"]) == (NOW, SHOP)
        assert webhooks(collector, "orders/create", "mapped") == 1
        assert collector.count("segops_collector_requests_total", source="shopify", code="200") == 1
        assert collector.count("segops_collector_events_total", source="shopify", result="accepted") == 1

    receiving(steps)


def test_event_without_a_time_of_its_own_has_that_of_the_webhook() -> None:
    async def steps(collector: Collector) -> None:
        await post(collector, Webhook("customers/delete", {"id": 7}))
        odd = Webhook("customers/delete", {"id": 8}, triggered_at="soon")
        await post(collector, odd)
        assert [each["timestamp"] for each in collector.events] == ["2026-03-01T11:59:00.000Z", NOW]

    receiving(steps)


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "no base64",
        sign(b"another body"),
        sign(Webhook("orders/create", payloads.order()).body, "another secret"),
        sign(Webhook("orders/create", payloads.order()).body)[:-5],
    ],
)
def test_wrong_signature_gets_401_and_nothing_is_written(signature: str | None) -> None:
    async def steps(collector: Collector) -> None:
        webhook = Webhook("orders/create", payloads.order())
        headers = {name: value for name, value in webhook.headers.items() if "Hmac" not in name}
        if signature is not None:
            headers["X-Shopify-Hmac-Sha256"] = signature
        answer = await collector.post("/v1/shopify", webhook.body, key=None, headers=headers)
        assert (answer.status, answer.json["code"]) == (401, "bad_signature")
        assert collector.producer.sent == []

    receiving(steps)


@pytest.mark.parametrize("secrets", [f"{SECRET},former", f"new, {SECRET}"])
def test_both_secrets_of_a_rotation_count(secrets: str) -> None:
    async def steps(collector: Collector) -> None:
        assert (await post(collector, Webhook("orders/create", payloads.order()))).status == 200

    receiving(steps, secrets=secrets)


def test_signature_covers_the_bytes_that_were_sent() -> None:
    async def steps(collector: Collector) -> None:
        webhook = Webhook("orders/create", payloads.order())
        spaced = json.dumps(webhook.payload, indent=1).encode()
        headers = {**webhook.headers, "X-Shopify-Hmac-Sha256": sign(spaced)}
        assert (await collector.post("/v1/shopify", spaced, key=None, headers=headers)).status == 200
        assert (await collector.post("/v1/shopify", spaced, key=None, headers=webhook.headers)).status == 401
        zipped = gzip.compress(spaced)
        headers |= {"X-Shopify-Hmac-Sha256": sign(zipped), "Content-Encoding": "gzip"}
        assert (await collector.post("/v1/shopify", zipped, key=None, headers=headers)).status == 200
        assert len(collector.records()) == 2

    receiving(steps)


def test_other_shops_get_403_and_domains_have_no_case() -> None:
    async def steps(collector: Collector) -> None:
        other = Webhook("orders/create", payloads.order(), shop="other.myshopify.com")
        assert (await post(collector, other)).status == 403
        assert collector.producer.sent == []
        assert (
            await post(collector, Webhook("orders/create", payloads.order(), shop=SHOP.upper()))
        ).status == 200

    receiving(steps, shops=f"a.myshopify.com, {SHOP}")


@pytest.mark.parametrize(
    ("topic", "label", "result"),
    [
        ("products/update", "other", "unknown"),
        ("", "other", "unknown"),
        ("refunds/create", "refunds/create", "ignored"),
    ],
)
def test_topics_without_events_get_200_and_are_counted(topic: str, label: str, result: str) -> None:
    async def steps(collector: Collector) -> None:
        assert (await post(collector, Webhook(topic, {"id": 1}))).status == 200
        assert collector.producer.sent == []
        assert webhooks(collector, label, result) == 1

    receiving(steps)


def test_test_notifications_are_no_events() -> None:
    async def steps(collector: Collector) -> None:
        answer = await post(
            collector, Webhook("orders/create", payloads.order()), **{"X-Shopify-Test": "true"}
        )
        assert (answer.status, collector.producer.sent) == (200, [])
        assert webhooks(collector, "orders/create", "test") == 1

    receiving(steps)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b'{"id": {}}', b"[" * 5_000, b'{"email": "\\ud800"}']
)
def test_what_cannot_be_read_is_a_dead_letter_and_gets_200(body: bytes) -> None:
    async def steps(collector: Collector) -> None:
        headers = {**Webhook("orders/create", {}).headers, "X-Shopify-Hmac-Sha256": sign(body)}
        assert (await collector.post("/v1/shopify", body, key=None, headers=headers)).status == 200
        (letter,) = collector.letters
        assert letter.value == body
        assert letter.headers["segops-reason"] == b"shopify_schema"
        assert letter.headers["segops-origin"] == b"shopify:hats.myshopify.com:orders/create"
        assert webhooks(collector, "orders/create", "rejected") == 1

    receiving(steps)


def test_order_without_a_person_is_a_dead_letter() -> None:
    async def steps(collector: Collector) -> None:
        found = payloads.order(
            customer=None, email="", contact_email=None, cart_token=None, checkout_token=None
        )
        assert (await post(collector, Webhook("orders/create", found))).status == 200
        assert collector.letters[0].headers["segops-reason"] == b"no_identifier"

    receiving(steps)


def test_size_is_limited_compressed_or_not() -> None:
    async def steps(collector: Collector) -> None:
        large = Webhook("orders/create", payloads.order(note="x" * 1_000_000))
        assert (await post(collector, large)).status == 200
        huge = Webhook("orders/create", payloads.order(note="x" * MAX_WEBHOOK_BYTES))
        assert (await post(collector, huge)).status == 400
        bomb = gzip.compress(huge.body)
        headers = {**huge.headers, "X-Shopify-Hmac-Sha256": sign(bomb), "Content-Encoding": "gzip"}
        answer = await collector.post("/v1/shopify", bomb, key=None, headers=headers)
        assert (answer.status, answer.json["code"]) == (400, "too_large")
        assert len(collector.producer.sent) == 1

    receiving(steps)


def test_kafka_away_is_503() -> None:
    async def steps(collector: Collector) -> None:
        collector.disconnect()
        answer = await post(collector, Webhook("orders/create", payloads.order()))
        assert (answer.status, answer.json["code"]) == (503, "kafka_unavailable")
        assert "Retry-After" in answer.headers
        collector.connect()
        collector.producer.error = ConnectionError("broker lost")
        assert (await post(collector, Webhook("orders/create", payloads.order()))).status == 503

    receiving(steps)


def test_path_is_unknown_without_a_secret_and_takes_posts_only() -> None:
    async def without(collector: Collector) -> None:
        assert (await post(collector, Webhook("orders/create", payloads.order()))).status == 404

    async def steps(collector: Collector) -> None:
        assert (await collector.get("/v1/shopify")).status == 405

    serve(without)
    receiving(steps)


def test_secret_without_shops_is_a_mistake_of_the_operator() -> None:
    with pytest.raises(UserError, match="missing SEGOPS_SHOPIFY_SHOPS"):
        load(shopify={"secrets": SECRET})
    with pytest.raises(UserError, match="SEGOPS_SHOPIFY_SHOPS: expected domains"):
        load(shopify={"shops": "https://a.myshopify.com"})


def test_log_names_neither_payload_nor_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(collector: Collector) -> None:
        for number, topic in enumerate([*MAPPED, *IGNORED, "products/update"]):
            await post(collector, Webhook(topic, payloads.redact(), number))
            await post(collector, Webhook(topic, payloads.order(), number))
        assert "customers/data_request" in caplog.text

    caplog.set_level(logging.DEBUG)
    receiving(steps)
    assert "ada@" not in caplog.text and SECRET not in caplog.text and "115310627314723954" not in caplog.text


class FlakyCollector:
    """Webhooks whose Kafka is a list; a drawn part of requests fails, or loses its answer.

    No webhook fails more often than Shopify retries it.
    """

    def __init__(self, chance: random.Random, failing: float) -> None:
        settings = load(
            topics={"prefix": "segops."}, collect={"keys": "website=wk-website-1"}, shopify=dict(SETTINGS)
        )
        self.collector = Collector(settings)
        self._chance, self._failing = chance, failing
        self._failures = Counter[str]()

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> int:
        if self._fails(headers["X-Shopify-Event-Id"]):
            return 503
        try:
            await self.collector.webhooks.accept(Delivered(headers, body))
        except RequestRefused as refused:
            return refused.status
        return 0 if self._fails(headers["X-Shopify-Event-Id"]) else 200

    def _fails(self, event: str) -> bool:
        fails = self._chance.random() < self._failing / 2 and self._failures[event] < RETRIES
        self._failures[event] += fails
        return fails


def traffic() -> list[Webhook]:
    refunded = payloads.order(
        updated_at="2026-03-01T08:00:01-05:00", current_total_price="83.00", refunds=[payloads.refund()]
    )
    found: list[tuple[str, dict[str, Any]]] = [
        ("carts/create", payloads.cart()),
        ("checkouts/create", payloads.checkout()),
        ("orders/create", payloads.order()),
        ("orders/paid", payloads.order()),
        ("orders/updated", payloads.order()),
        ("orders/updated", refunded),
        ("orders/create", payloads.order(2)),
        ("orders/cancelled", payloads.order(2, cancelled_at="2026-03-01T09:00:00-05:00")),
        ("customers_marketing_consent/update", payloads.consent("sms", "subscribed")),
    ]
    return [Webhook(topic, payload, number) for number, (topic, payload) in enumerate(found)]


#: Written by hand: what the shop did, each once.
HAPPENED = [
    "Cart Updated",
    "Checkout Started",
    "Order Cancelled",
    "Order Completed",
    "Order Completed",
    "Order Paid",
    "Order Refunded",
    "Order Updated",
    "Order Updated",
    "identify",
]


@examples(20, of=200)
@given(seed=st.integers(0, 2**32), failing=st.floats(0, 1), times=st.integers(1, 3))
def test_each_thing_that_happened_counts_once_through_failures_duplicates_and_any_order(
    seed: int, failing: float, times: int
) -> None:
    async def run() -> FlakyCollector:
        receiver = FlakyCollector(chance, failing)
        shop, sent = Shop(receiver), traffic()
        chance.shuffle(sent)
        await asyncio.gather(*(shop.send(each, times=times) for each in sent))
        assert not shop.removed
        return receiver

    chance = random.Random(seed)
    collector = virtual_time.run(run()).collector
    assert collector.letters == []
    by_id = {each["messageId"]: each for each in collector.events}
    assert sorted(each.get("event", each["type"]) for each in by_id.values()) == HAPPENED


def test_stand_in_retries_for_four_hours_and_then_removes_the_subscription() -> None:
    async def away(headers: Mapping[str, str], body: bytes) -> int:
        return 503

    async def run() -> Shop:
        shop = Shop(away)
        await shop.send(Webhook("orders/create", payloads.order()))
        await shop.send(Webhook("orders/create", payloads.order(2)))
        return shop

    shop = virtual_time.run(run())
    assert len(shop.attempts) == 9
    assert shop.attempts[-1][0] == pytest.approx(4 * 3_600) == pytest.approx(sum(PAUSES_S))
    assert shop.removed == {"orders/create"}
