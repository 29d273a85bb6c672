"""A shop's traffic through the collector becomes live segments, equal to an independent computation."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from segops.core.values import format_instant
from tests.collector.helpers import batch
from tests.collector.processes import CollectorProcess
from tests.rest import few_of
from tests.shopify import payloads
from tests.shopify.stand_in import SECRET, SHOP, Webhook

from .helpers import DAY_MS, START_MS, Stack, wait_until

pytestmark = pytest.mark.broker

MINUTE_MS = 60_000
SEGMENTS = """
version: 1
segments:
  - key: abandoned-cart
    when:
      all:
        - {did: Product Added, within: 30d}
        - {did_not: Order Completed, within: 30d}
  - key: buyers
    when: {did: Order Completed}
  - key: refunded
    when: {did: Order Refunded, count: {eq: 1}}
"""
#: How far a visitor gets: each step is taken after those before it.
STEPS = ("cart", "checkout", "order", "refund")


def visitor_event(number: int, name: str, at_ms: int) -> dict[str, Any]:
    """Return what the pixel sends: the visitor, and the token of the cart."""
    token = {"type": "cart_token", "id": f"cart{number}", "collection": "users"}
    return {
        "type": "track",
        "event": name,
        "anonymousId": f"visitor{number}",
        "messageId": f"shopify:pixel:{number}-{name}",
        "timestamp": format_instant(at_ms),
        "context": {"externalIds": [token]},
    }


def webhooks_of(number: int, got_to: str, at_ms: int) -> Iterator[Webhook]:
    """Yield the webhooks of a visitor who got so far; none names the visitor."""
    email, steps = f"buyer{number}@example.com", STEPS[: STEPS.index(got_to) + 1]
    at = {step: format_instant(at_ms + n * MINUTE_MS) for n, step in enumerate(STEPS)}
    person = {"email": email, "contact_email": email, "customer": {"id": 9_000 + number, "email": email}}
    ordered = {"created_at": at["order"], "processed_at": at["order"], "updated_at": at["order"]}
    refund = payloads.refund(number, created_at=at["refund"], processed_at=at["refund"])
    yield Webhook("carts/create", payloads.cart(number, created_at=at["cart"], updated_at=at["cart"]))
    if "checkout" in steps:
        times = {"created_at": at["checkout"], "updated_at": at["checkout"]}
        yield Webhook("checkouts/create", payloads.checkout(number, email=email, **times))
    if "order" in steps:
        for topic in ("orders/create", "orders/paid", "orders/updated"):
            yield Webhook(topic, payloads.order(number, **person, **ordered))
    if "refund" in steps:
        ordered["updated_at"] = at["refund"]
        yield Webhook("orders/updated", payloads.order(number, **person, **ordered, refunds=[refund]))


def expected(visitors: dict[int, str]) -> dict[str, set[str]]:
    """Return the members from what each visitor did, under the identifier that ranks first."""
    names = {"cart": "anonymous_id:visitor{0}", "checkout": "email:buyer{0}@example.com"}
    people = {n: names.get(got_to, "user_id:{1}").format(n, 9_000 + n) for n, got_to in visitors.items()}
    bought = {people[n] for n, got_to in visitors.items() if got_to in ("order", "refund")}
    refunded = {people[n] for n, got_to in visitors.items() if got_to == "refund"}
    return {"abandoned-cart": set(people.values()) - bought, "buyers": bought, "refunded": refunded}


def send(collector: CollectorProcess, webhook: Webhook) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=30)
    try:
        connection.request("POST", "/v1/shopify", webhook.body, webhook.headers)
        return connection.getresponse().status
    finally:
        connection.close()


def members(stack: Stack) -> dict[str, set[str]]:
    lines = {key: stack.segops("members", key, "--format", "jsonl").stdout for key in expected({})}
    return {
        key: {json.loads(line)["profile_id"] for line in text.splitlines()} for key, text in lines.items()
    }


@pytest.mark.parametrize("seed", few_of([1, 2, 3, 4, 5]))
def test_carts_without_a_purchase_are_a_live_segment(
    stack: Stack, reserve: Callable[[int], list[int]], seed: int
) -> None:
    chance = random.Random(seed)
    stack.publish(SEGMENTS)
    variables = {"SEGOPS_SHOPIFY_SECRETS": f"new,{SECRET}", "SEGOPS_SHOPIFY_SHOPS": SHOP}
    collector = CollectorProcess(stack, reserve(2), **variables)
    stack.start()
    collector.wait_until_ready()
    visitors = {number: chance.choice(STEPS) for number in range(1, 25)}
    sent: list[Any] = []
    for number, got_to in visitors.items():
        at_ms = START_MS + number * MINUTE_MS
        sent += [visitor_event(number, name, at_ms) for name in ("Product Viewed", "Product Added")]
        sent += [each for each in webhooks_of(number, got_to, at_ms) for _ in range(chance.randint(1, 2))]
    chance.shuffle(sent)  # Shopify promises no order
    for each in sent:
        status = send(collector, each) if isinstance(each, Webhook) else collector.post(batch(each))
        assert status == 200
    assert send(collector, Webhook("orders/create", payloads.order(), secret="wrong")) == 401
    stack.send([], final_ms=START_MS + DAY_MS)
    wanted = expected(visitors)
    wait_until(
        lambda: members(stack) == wanted, f"members {wanted}", lambda: f"{members(stack)}{stack.diagnosis()}"
    )
    assert SECRET not in collector.log.read_text() and "buyer" not in collector.log.read_text()
