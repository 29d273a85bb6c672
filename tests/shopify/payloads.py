"""Payloads in the form of Shopify's examples (shopify.dev/docs/api/webhooks)."""

from __future__ import annotations

from typing import Any

ADA = {
    "id": 115310627314723954,
    "email": "ada@example.com",
    "first_name": "Ada",
    "last_name": "L",
    "phone": None,
}


def line(product: int = 788032119674292922, quantity: int = 1, price: str = "49.00") -> dict[str, Any]:
    return {
        "id": 866550311766439020,
        "product_id": product,
        "variant_id": 808950810,
        "title": "Hat",
        "variant_title": None,
        "sku": "HAT-1",
        "vendor": "Acme",
        "quantity": quantity,
        "price": price,
    }


def order(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": 820982911946154000 + number,
        "name": f"#{1000 + number}",
        "email": "ada@example.com",
        "contact_email": "ada@example.com",
        "phone": None,
        "created_at": "2026-03-01T06:00:00-05:00",
        "processed_at": "2026-03-01T06:00:00-05:00",
        "updated_at": "2026-03-01T06:00:05-05:00",
        "cancelled_at": None,
        "cancel_reason": None,
        "cart_token": f"cart{number}",
        "checkout_token": f"checkout{number}",
        "currency": "EUR",
        "total_price": "103.00",
        "current_total_price": "103.00",
        "total_tax": "3.00",
        "total_discounts": "5.00",
        "total_shipping_price_set": {"shop_money": {"amount": "5.00", "currency_code": "EUR"}},
        "discount_codes": [{"code": "TEN", "amount": "5.00", "type": "fixed_amount"}],
        "financial_status": "paid",
        "source_name": "web",
        "test": False,
        "customer": ADA,
        "line_items": [line(quantity=2)],
        "refunds": [],
        **fields,
    }


def refund(number: int = 1, amount: str = "20.00", **fields: Any) -> dict[str, Any]:
    return {
        "id": 890088186047892000 + number,
        "order_id": 820982911946154001,
        "created_at": "2026-03-01T08:00:00-05:00",
        "processed_at": "2026-03-01T08:00:00-05:00",
        "user_id": 548380009,
        "refund_line_items": [{"id": 1, "quantity": 1, "line_item": line()}],
        "transactions": [
            {"id": 2, "kind": "refund", "status": "success", "amount": amount, "currency": "EUR"}
        ],
        "order_adjustments": [],
        **fields,
    }


def checkout(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": 981820079255243500 + number,
        "token": f"checkout{number}",
        "cart_token": f"cart{number}",
        "email": "ada@example.com",
        "created_at": "2026-03-01T05:50:00-05:00",
        "updated_at": "2026-03-01T05:55:00-05:00",
        "completed_at": None,
        "currency": "EUR",
        "total_price": "103.00",
        "abandoned_checkout_url": "https://hats.example/recover",
        "line_items": [line()],
        "phone": None,
        **fields,
    }


def cart(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"cart{number}",
        "token": f"cart{number}?key=1ab",
        "line_items": [{**line(quantity=3), "line_price": "59.97"}],
        "created_at": "2026-03-01T10:40:00.000Z",
        "updated_at": "2026-03-01T10:45:00.000Z",
        **fields,
    }


def customer(**fields: Any) -> dict[str, Any]:
    return {
        **ADA,
        "created_at": "2026-01-01T00:00:00-05:00",
        "updated_at": "2026-03-01T05:00:00-05:00",
        "state": "enabled",
        "tags": "vip, hats",
        "default_address": {
            "address1": "1 Road",
            "city": "Oslo",
            "zip": "0150",
            "country": "Norway",
            "province": None,
        },
        **fields,
    }


def consent(channel: str, state: str, at: str | None = "2026-03-01T05:30:00-05:00") -> dict[str, Any]:
    said = {"state": state, "opt_in_level": "single_opt_in", "consent_updated_at": at}
    contact = {"email": {"email_address": "ada@example.com"}, "sms": {"phone": "+4791234567"}}[channel]
    return {"customer_id": ADA["id"], **contact, f"{channel}_marketing_consent": said}


def redact() -> dict[str, Any]:
    return {
        "shop_id": 954889,
        "shop_domain": "hats.myshopify.com",
        "customer": {"id": ADA["id"], "email": "ada@example.com", "phone": None},
        "orders_to_redact": [820982911946154001],
    }
