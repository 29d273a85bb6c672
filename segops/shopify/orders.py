"""Orders, their updates, refunds and cancellations.

An order is completed once, whatever else its webhooks report: only ``orders/create`` says so. An update
states its amount before refunds, since each refund is a statement of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from segops.shopify.values import (
    Payload,
    digest,
    identifier,
    items_of,
    money,
    ms_of,
    part,
    products,
    time_of,
    token,
    track,
)

#: Every update of an order repeats all of its refunds. One is sent with the updates of this time after it:
#: together with Shopify's retries (4 h) less than the 24 h for which workers recognise a message id.
REFUND_SENT_MS: Final = 12 * 3_600_000
_CENT: Final = Decimal("0.01")


def completed(order: Payload) -> Iterator[dict[str, Any]]:
    """Yield the completion of an order; nothing for a test order."""
    if not _is_test(order):
        time = time_of(order, "processed_at", "created_at")
        yield track(
            "Order Completed", f"{_id(order)}:completed", time, order, _properties(order, _gross(order))
        )


def paid(order: Payload) -> Iterator[dict[str, Any]]:
    """Yield that an order is paid: no second completion."""
    if not _is_test(order):
        time = time_of(order, "updated_at", "processed_at")
        properties = {**_properties(order, None), "total": _gross(order)}
        yield track("Order Paid", f"{_id(order)}:paid", time, order, properties)


def updated(order: Payload) -> Iterator[dict[str, Any]]:
    """Yield an order's present amount, and its latest refunds."""
    if _is_test(order):
        return
    refunds = list(_refunds(order))
    present = money(order.get("current_total_price"))
    refunded = sum((amount for _, amount in refunds), Decimal(0))
    gross = _gross(order) if present is None else present + refunded
    time, properties = time_of(order, "updated_at", "created_at"), _properties(order, gross)
    message_id = f"{_id(order)}:updated:{digest([time, properties])}"
    yield track("Order Updated", message_id, time, order, properties)
    now_ms = ms_of(time)
    for refund, amount in refunds:
        at = time_of(refund, "created_at", "processed_at")
        at_ms = ms_of(at)
        if now_ms is None or at_ms is None or now_ms - at_ms <= REFUND_SENT_MS:
            yield _refunded(order, refund, amount, time_of(refund, "processed_at", "created_at"))


def cancelled(order: Payload) -> Iterator[dict[str, Any]]:
    """Yield the cancellation of an order."""
    if not _is_test(order):
        time = time_of(order, "cancelled_at", "updated_at")
        properties = {**_properties(order, None), "reason": order.get("cancel_reason")}
        yield track("Order Cancelled", f"{_id(order)}:cancelled", time, order, properties)


def _id(order: Payload) -> str:
    return f"shopify:order:{identifier(order)}"


def _is_test(order: Payload) -> bool:
    return order.get("test") is True


def _gross(order: Payload) -> Decimal | None:
    return money(order.get("total_price"))


def _properties(order: Payload, revenue: Decimal | None) -> dict[str, Any]:
    codes = items_of(order, "discount_codes")
    shipping = part(part(order, "total_shipping_price_set"), "shop_money")
    return {
        "order_id": identifier(order),
        "order_name": order.get("name"),
        "checkout_id": token(order.get("checkout_token")),
        "cart_id": token(order.get("cart_token")),
        "revenue": revenue,
        "currency": order.get("currency"),
        "tax": money(order.get("total_tax")),
        "shipping": money(shipping.get("amount")),
        "discount": money(order.get("total_discounts")),
        "coupon": codes[0].get("code") if codes else None,
        "channel": order.get("source_name"),
        "financial_status": order.get("financial_status"),
        "products": products(items_of(order, "line_items")),
    }


def _refunds(order: Payload) -> Iterator[tuple[Payload, Decimal]]:
    """Yield the refunds that returned money, each with its amount in the shop's currency."""
    for refund in items_of(order, "refunds"):
        amounts = [_returned(order, each) for each in items_of(refund, "transactions")]
        amount = sum(amounts, Decimal(0))
        if amount:
            yield refund, amount


def _returned(order: Payload, transaction: Payload) -> Decimal:
    amount = money(transaction.get("amount"))
    if transaction.get("kind") != "refund" or transaction.get("status") in ("failure", "error"):
        return Decimal(0)
    if amount is None:
        return Decimal(0)
    return amount if transaction.get("currency") in (None, order.get("currency")) else _in_shop(order, amount)


def _in_shop(order: Payload, amount: Decimal) -> Decimal:
    """Convert an amount that the buyer saw into the shop's currency, at the rate of the order."""
    totals = part(order, "total_price_set")
    shop, seen = (money(part(totals, each).get("amount")) for each in ("shop_money", "presentment_money"))
    return (amount * shop / seen).quantize(_CENT) if shop and seen else amount


def _refunded(order: Payload, refund: Payload, amount: Decimal, time: str | None) -> dict[str, Any]:
    lines = items_of(refund, "refund_line_items")
    items = [{**part(each, "line_item"), "quantity": each.get("quantity")} for each in lines]
    properties = {
        "order_id": identifier(order),
        "refund_id": identifier(refund),
        "total": amount,
        "currency": order.get("currency"),
        "products": products(items),
    }
    return track("Order Refunded", f"shopify:refund:{identifier(refund)}", time, order, properties)
