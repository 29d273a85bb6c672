"""What all payloads of Shopify have in common: ids, money, times, products, and the people that they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
import xxhash

from segops.core.values import MAX_MS, format_instant, parse_instant

Payload = Mapping[str, Any]
_LIBRARY: Final = {"name": "segops-shopify"}
_PRODUCT: Final[Mapping[str, str]] = {
    "product_id": "product_id",
    "variant_id": "variant_id",
    "sku": "sku",
    "title": "name",
    "variant_title": "variant",
    "vendor": "brand",
    "quantity": "quantity",
}
#: Type of identifier -> the field of a payload. They join the pixel's visitor and the buyer.
_TOKENS: Final[Mapping[str, str]] = {"cart_token": "cart_token", "checkout_token": "checkout_token"}
_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


class Unreadable(Exception):
    """A payload without what its topic promises."""


def part(found: Payload, name: str) -> Payload:
    """Return an object in a payload; an empty one if it is missing, null or no object."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def items_of(found: Payload, name: str) -> list[Payload]:
    """Return the objects of a list in a payload; none if there is no list."""
    value = found.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def identifier(found: Payload, name: str = "id") -> str:
    """Return an id as text. Raises Unreadable without one.

    >>> identifier({"id": 820982911946154508})
    '820982911946154508'
    """
    value = found.get(name)
    if value.__class__ not in (int, str) or not value:
        raise Unreadable(f"expected an id at {name}")
    return str(value)


def token(value: Any) -> str | None:
    """Return the token of a cart or checkout, without the key that Shopify's cookie adds to it.

    >>> token("Z2NwLXVz?key=abc"), token("gid://shopify/Cart/Z2NwLXVz"), token(""), token(None)
    ('Z2NwLXVz', 'Z2NwLXVz', None, None)
    """
    if not isinstance(value, str):
        return None
    return value.rpartition("/")[2].partition("?")[0] or None


def money(value: Any) -> Decimal | None:
    """Return an amount, which Shopify writes as text; None for anything else.

    >>> money("49.00"), money(5), money(""), money("NaN"), money(None)
    (Decimal('49.00'), Decimal('5'), None, None, None)
    """
    if value.__class__ not in (str, int, float):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found.adjusted()) < 64 else None


def time_of(found: Payload, *names: str) -> str | None:
    """Return the first of the times that is there, in UTC; None without one that can be read."""
    for name in names:
        value = found.get(name)
        ms = parse_instant(value) if isinstance(value, str) else None
        if ms is not None and abs(ms) <= MAX_MS:
            return format_instant(ms)
    return None


def ms_of(text: str | None) -> int | None:
    """Return the instant of a time in milliseconds."""
    return None if text is None else parse_instant(text)


def products(items: Iterable[Payload]) -> list[dict[str, Any]]:
    """Return line items as Segment's products.

    >>> products([{"product_id": 7, "title": "Hat", "price": "9.50", "quantity": 2}])
    [{'product_id': '7', 'name': 'Hat', 'quantity': 2, 'price': Decimal('9.50')}]
    """
    found = []
    for item in items:
        product = {name: item[old] for old, name in _PRODUCT.items() if item.get(old) not in (None, "")}
        product |= {name: str(product[name]) for name in ("product_id", "variant_id") if name in product}
        price = money(item.get("price"))
        found.append(product if price is None else {**product, "price": price})
    return found


def without_nothing(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in found.items() if value is not None}


def track(name: str, message_id: str, time: str | None, found: Payload, properties: Any) -> dict[str, Any]:
    """Return a track call about an order, checkout or cart ``found``; without a time, as of its arrival."""
    return {
        "type": "track",
        "event": name,
        "messageId": message_id,
        **({} if time is None else {"timestamp": time}),
        **buyer(found),
        "properties": without_nothing(properties),
    }


def buyer(found: Payload) -> dict[str, Any]:
    """Return the user id and the context of the buyer in an order, checkout or cart."""
    customer = part(found, "customer")
    email = found.get("contact_email") or found.get("email") or customer.get("email")
    phone = found.get("phone") or customer.get("phone")
    tokens = {kind: token(found.get(name)) for kind, name in _TOKENS.items()}
    return identity(customer.get("id"), email=email, phone=phone, others=tokens)


def identity(
    user_id: Any, *, email: Any = None, phone: Any = None, others: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """Return the fields of an event that name a person: the user id, and the context."""
    ids = {"phone": phone, **(others or {})}
    external = [{"type": kind, "id": each, "collection": "users"} for kind, each in ids.items() if each]
    contacts = {name: each for name, each in (("email", email), ("phone", phone)) if each}
    context = {"library": _LIBRARY, "traits": contacts, **({"externalIds": external} if external else {})}
    return {**({"userId": str(user_id)} if user_id else {}), "context": context}


def digest(content: Any) -> str:
    """Return a hash of content: the same webhook delivered again has the same message id."""
    return xxhash.xxh3_128_hexdigest(_encode(content))


def encoded(event: Mapping[str, Any], max_bytes: int) -> bytes:
    """Return an event as JSON; if it is too large, without its products, which it then counts."""
    value = _encode(event)
    listed = event.get("properties", {}).get("products")
    if len(value) <= max_bytes or not listed:
        return value
    properties = {**event["properties"], "products": None, "products_omitted": len(listed)}
    return _encode({**event, "properties": without_nothing(properties)})
