"""A shop that sends webhooks as Shopify does, in virtual time.

Its rules and their public sources (below shopify.dev/docs/apps/build/webhooks, unless named otherwise):

- ``X-Shopify-Hmac-Sha256`` is the base64 HMAC-SHA256 of the raw body with the client secret
  (verify-deliveries).
- Answers outside 2xx are failures: 8 retries within 4 hours, with exponential backoff and the original
  payload (changelog "Updates to webhook retry mechanism", 2024-09-10). The single pauses are **unverified
  against the service**: they double, and add up to 4 hours.
- After 8 retries the subscription is removed; that webhooks of other topics go on is **unverified against
  the service**.
- A retry keeps ``X-Shopify-Webhook-Id`` and ``X-Shopify-Event-Id``; the same webhook may arrive twice
  (ignore-duplicates), and webhooks may arrive in any order (the page itself).
- Headers: ``X-Shopify-Topic``, ``-Shop-Domain``, ``-API-Version``, ``-Triggered-At`` (delivery-structure).
- Since version 2025-01 customers come without consent, which has topics of its own (changelog "New customer's
  webhook and changes to existing customer's webhooks payload"). The form of those payloads is **unverified
  against the service**.
- A refund causes ``orders/updated``, whose payload lists all refunds: **unverified against the service**.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SECRET = "shpss_0123456789abcdef"
SHOP = "hats.myshopify.com"
RETRIES = 8
#: 4 hours in pauses that double.
PAUSES_S = [4 * 3_600 * 2**n / (2**RETRIES - 1) for n in range(RETRIES)]

Headers = Mapping[str, str]
Receiver = Callable[[Headers, bytes], Awaitable[int]]


def sign(body: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


@dataclass
class Webhook:
    topic: str
    payload: dict[str, Any]
    number: int = 1
    secret: str = SECRET
    shop: str = SHOP
    triggered_at: str = "2026-03-01T11:59:00.000Z"

    @property
    def body(self) -> bytes:
        return json.dumps(self.payload).encode()

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": self.topic,
            "X-Shopify-Hmac-Sha256": sign(self.body, self.secret),
            "X-Shopify-Shop-Domain": self.shop,
            "X-Shopify-API-Version": "2026-10",
            "X-Shopify-Webhook-Id": f"b54557e4-bdd9-4b37-8a5f-{self.number:012}",
            "X-Shopify-Event-Id": f"98880550-7158-44d4-b7cd-{self.number:012}",
            "X-Shopify-Triggered-At": self.triggered_at,
        }


@dataclass
class Shop:
    """Sends webhooks to a receiver. ``removed``: topics whose subscription is gone."""

    receive: Receiver
    removed: set[str] = field(default_factory=set)
    attempts: list[tuple[float, str, int]] = field(default_factory=list)

    async def send(self, webhook: Webhook, *, times: int = 1) -> None:
        """Deliver a webhook ``times`` times, each with its retries."""
        await asyncio.gather(*(self._deliver(webhook) for _ in range(times)))

    async def _deliver(self, webhook: Webhook) -> None:
        for pause_s in [*PAUSES_S, None]:
            if webhook.topic in self.removed:
                return
            status = await self.receive(webhook.headers, webhook.body)
            self.attempts.append((asyncio.get_running_loop().time(), webhook.topic, status))
            if 200 <= status < 300:
                return
            if pause_s is None:
                self.removed.add(webhook.topic)
            else:
                await asyncio.sleep(pause_s)
