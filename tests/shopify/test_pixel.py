"""The pixel in a sandbox of Node.js, delivering to a collector over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from segops.schemas.events import decode, route
from segops.shopify.topics import MAPPED
from tests.collector.helpers import KEY, Collector, serve
from tests.shopify import payloads

PIXEL = Path(__file__).parents[2] / "deploy" / "shopify" / "pixel.js"
SANDBOX = Path(__file__).with_name("pixel_sandbox.js")
VARIANT = {
    "id": "808950810",
    "sku": "HAT-1",
    "title": "Red",
    "price": {"amount": 49.0, "currencyCode": "EUR"},
    "product": {"id": "7", "title": "Hat", "vendor": "Acme", "type": "Hats"},
}
LINE = {"merchandise": VARIANT, "quantity": 2}
CART = {
    "id": "gid://shopify/Cart/cart1?key=9",
    "lines": [LINE],
    "cost": {"totalAmount": {"amount": 98.0, "currencyCode": "EUR"}},
}
CHECKOUT = {
    "token": "checkout1",
    "email": "ada@example.com",
    "currencyCode": "EUR",
    "totalPrice": {"amount": 103.0},
    "lineItems": [{"title": "Hat", "quantity": 2, "variant": VARIANT}],
}
ORDER = {"id": "gid://shopify/OrderIdentity/820982911946154001", "customer": {"id": "115310627314723954"}}
DATA: dict[str, dict[str, Any]] = {
    "page_viewed": {},
    "product_viewed": {"productVariant": VARIANT},
    "collection_viewed": {"collection": {"id": "3", "title": "Hats", "productVariants": [VARIANT]}},
    "search_submitted": {"searchResult": {"query": "hat", "productVariants": []}},
    "product_added_to_cart": {"cartLine": LINE},
    "product_removed_from_cart": {"cartLine": LINE},
    "cart_viewed": {"cart": CART},
    "checkout_started": {"checkout": CHECKOUT},
    "checkout_contact_info_submitted": {"checkout": CHECKOUT},
    "checkout_address_info_submitted": {"checkout": CHECKOUT},
    "checkout_shipping_info_submitted": {"checkout": CHECKOUT},
    "payment_info_submitted": {"checkout": CHECKOUT},
    "checkout_completed": {"checkout": {**CHECKOUT, "order": ORDER}},
}
NAMES = {
    "page_viewed": "page",
    "product_viewed": "Product Viewed",
    "collection_viewed": "Product List Viewed",
    "search_submitted": "Products Searched",
    "product_added_to_cart": "Product Added",
    "product_removed_from_cart": "Product Removed",
    "cart_viewed": "Cart Viewed",
    "checkout_started": "Checkout Started",
    "checkout_contact_info_submitted": "Checkout Step Completed",
    "checkout_address_info_submitted": "Checkout Step Completed",
    "checkout_shipping_info_submitted": "Checkout Step Completed",
    "payment_info_submitted": "Payment Info Entered",
    "checkout_completed": "Checkout Completed",
}


def event(name: str) -> dict[str, Any]:
    document = {
        "location": {"href": "https://hats.example/hat?a=1", "pathname": "/hat", "search": "?a=1"},
        "title": "Hat",
        "referrer": "https://search.example",
    }
    return {
        "id": f"sh-{name}",
        "clientId": "visitor-1",
        "name": name,
        "timestamp": "2026-03-01T11:58:00.000Z",
        "context": {"document": document, "navigator": {"language": "en", "userAgent": "Firefox"}},
        "data": DATA[name],
    }


async def run_pixel(
    url: str, names: list[str], *, cookie: str | None = "cart1?key=9", init: dict[str, Any] | None = None
) -> list[str]:
    """Let Shopify's sandbox publish these events; return the names that the pixel subscribed to."""
    node = shutil.which("node") or "node"
    if shutil.which(node) is None and not os.environ.get("CI"):
        pytest.skip("Node.js is not installed")
    given = {
        "collector": url,
        "writeKey": KEY,
        "cookie": cookie,
        "init": init or {"data": {"cart": None, "customer": None}},
        "events": [event(name) for name in names],
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        node, str(SANDBOX), str(PIXEL), stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, error = await process.communicate(json.dumps(given).encode())
    assert process.returncode == 0, error.decode()
    subscribed: list[str] = json.loads(out)
    return subscribed


def external(found: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["id"] for each in found["context"]["externalIds"]}


def test_each_standard_event_arrives_under_its_name() -> None:
    async def steps(collector: Collector) -> None:
        subscribed = await run_pixel(f"http://127.0.0.1:{collector.port}", list(DATA))
        assert set(subscribed) == set(NAMES)
        found = collector.events
        assert [each.get("event", each["type"]) for each in found] == list(NAMES.values())
        assert collector.letters == []
        for each in found:
            value = json.dumps(each).encode()
            decode(
                value, time_ms=route(value, now_ms=10**13, default_time_ms=None).time_ms, default_id="none"
            )
            assert each["anonymousId"] == "visitor-1"
            assert each["context"]["userAgent"] == "Firefox"
            assert external(each)["cart_token"] == "cart1"
        page = found[0]["properties"]
        assert (page["url"], page["path"], found[0]["name"]) == (
            "https://hats.example/hat?a=1",
            "/hat",
            "Hat",
        )

    serve(steps)


def test_products_have_the_fields_of_the_specification() -> None:
    async def steps(collector: Collector) -> None:
        await run_pixel(f"http://127.0.0.1:{collector.port}", ["product_added_to_cart", "cart_viewed"])
        added, viewed = (each["properties"] for each in collector.events)
        assert added == {
            "product_id": "7",
            "variant_id": "808950810",
            "sku": "HAT-1",
            "name": "Hat",
            "variant": "Red",
            "brand": "Acme",
            "category": "Hats",
            "price": 49,
            "currency": "EUR",
            "quantity": 2,
        }
        assert (viewed["cart_id"], viewed["value"], viewed["products"]) == ("cart1", 98, [added])

    serve(steps)


def test_visitor_and_buyer_are_joined_as_the_webhooks_name_them() -> None:
    async def steps(collector: Collector) -> None:
        await run_pixel(f"http://127.0.0.1:{collector.port}", ["checkout_started", "checkout_completed"])
        started, completed = collector.events
        (webhook,) = MAPPED["checkouts/create"](payloads.checkout())
        (order,) = MAPPED["orders/create"](payloads.order())
        assert started["messageId"] == webhook["messageId"]  # where both arrive, the checkout counts once
        assert external(started) == external(webhook) == external(order)
        assert completed["userId"] == order["userId"]
        assert completed["properties"]["order_id"] == order["properties"]["order_id"]
        assert completed["context"]["traits"] == order["context"]["traits"]
        assert completed["event"] != order["event"]  # orders come from webhooks only

    serve(steps)


@pytest.mark.parametrize(("cookie", "token"), [("abc%3Fkey%3D1", "abc"), ("", "cart1"), (None, "cart1")])
def test_token_of_the_cart_is_that_of_the_cookie_or_of_the_page(cookie: str | None, token: str) -> None:
    async def steps(collector: Collector) -> None:
        init = {"data": {"cart": CART, "customer": {"id": "5", "email": "bob@example.com"}}}
        url = f"http://127.0.0.1:{collector.port}"
        await run_pixel(url, ["product_viewed"], cookie=cookie, init=init)
        (found,) = collector.events
        assert external(found) == {"cart_token": token}
        assert (found["userId"], found["context"]["traits"]) == ("5", {"email": "bob@example.com"})

    serve(steps)


def test_event_is_sent_again_while_the_collector_cannot_take_it() -> None:
    async def steps(collector: Collector) -> None:
        collector.disconnect()
        running = asyncio.create_task(run_pixel(f"http://127.0.0.1:{collector.port}", ["page_viewed"]))
        while collector.count("segops_collector_requests_total", source="unknown", code="503") is None:
            await asyncio.sleep(0.01)
        collector.connect()
        await running
        assert len(collector.events) == 1

    serve(steps)
