"""Carts and checkouts, which lead from the pixel's visitor to the buyer."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from segops.shopify.values import (
    Payload,
    Unreadable,
    digest,
    items_of,
    money,
    products,
    time_of,
    token,
    track,
)


def checkout_started(checkout: Payload) -> Iterator[dict[str, Any]]:
    """Yield the start of a checkout; the pixel's event has the same message id, and they count once."""
    time = time_of(checkout, "created_at")
    yield _checkout("Checkout Started", f"shopify:checkout:{_token(checkout)}:started", time, checkout)


def checkout_updated(checkout: Payload) -> Iterator[dict[str, Any]]:
    """Yield what a checkout has become."""
    time = time_of(checkout, "updated_at", "created_at")
    message_id = f"shopify:checkout:{_token(checkout)}:updated:{digest([time, dict(checkout)])}"
    yield _checkout("Checkout Updated", message_id, time, checkout)


def cart_updated(cart: Payload) -> Iterator[dict[str, Any]]:
    """Yield the content of a cart. Carts name no person: without the pixel each is a profile of its own."""
    items, time = items_of(cart, "line_items"), time_of(cart, "updated_at", "created_at")
    prices = [money(each.get("line_price")) or Decimal(0) for each in items]
    found = _token(cart)
    yield track(
        "Cart Updated",
        f"shopify:cart:{found}:{digest([time, items])}",
        time,
        {"cart_token": found},
        {"cart_id": found, "value": sum(prices, Decimal(0)), "products": products(items)},
    )


def _token(found: Payload) -> str:
    value = token(found.get("token"))
    if value is None:
        raise Unreadable("expected a token")
    return value


def _checkout(name: str, message_id: str, time: str | None, checkout: Payload) -> dict[str, Any]:
    found = _token(checkout)
    properties = {
        "checkout_id": found,
        "cart_id": token(checkout.get("cart_token")),
        "value": money(checkout.get("total_price")),
        "currency": checkout.get("currency") or checkout.get("presentment_currency"),
        "url": checkout.get("abandoned_checkout_url"),
        "completed": checkout.get("completed_at") is not None,
        "products": products(items_of(checkout, "line_items")),
    }
    return track(name, message_id, time, {**checkout, "checkout_token": found}, properties)
