"""From objects of Klaviyo to events of segops.

Names and properties of metrics that Segment's specification knows are translated; all others keep theirs. An
event keeps its Klaviyo id in its message id, so that it counts once however often it is pulled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import xxhash

from segops.core.values import format_instant, kind
from segops.klaviyo.pages import Account, Channel, EventItem, Identity, ProfileItem, Subscriptions

#: Metric of Klaviyo -> event of Segment's specifications of commerce and e-mail.
NAMES: Final[Mapping[str, str]] = {
    "Placed Order": "Order Completed",
    "Refunded Order": "Order Refunded",
    "Cancelled Order": "Order Cancelled",
    "Canceled Order": "Order Cancelled",
    "Started Checkout": "Checkout Started",
    "Checkout Started": "Checkout Started",
    "Viewed Product": "Product Viewed",
    "Added to Cart": "Product Added",
    "Received Email": "Email Delivered",
    "Opened Email": "Email Opened",
    "Clicked Email": "Email Link Clicked",
    "Bounced Email": "Email Bounced",
    "Marked Email as Spam": "Email Marked as Spam",
    "Unsubscribed": "Unsubscribed",
    "Unsubscribed from Email Marketing": "Unsubscribed",
}
_ORDERS: Final = frozenset(("Order Completed", "Order Refunded", "Order Cancelled"))
#: The names under which shops write the number of an order. ``$event_id`` is the one by which Klaviyo itself
#: finds the order of a refund, but for events without an order's number it is only a time.
_ORDER_IDS: Final = ("OrderId", "OrderID", "order_id", "Order ID", "$event_id")
_PRODUCT: Final[Mapping[str, str]] = {
    "ProductID": "product_id",
    "Product ID": "product_id",
    "SKU": "sku",
    "ProductName": "name",
    "Product Name": "name",
    "Brand": "brand",
    "Quantity": "quantity",
    "ItemPrice": "price",
    "Price": "price",
    "ProductURL": "url",
    "URL": "url",
    "ImageURL": "image_url",
}
#: What integrations copy of their own records: tens of kilobytes, which Klaviyo does not segment by either.
_LEFT_OUT: Final = "$extra"
_TRAITS: Final[Mapping[str, str]] = {
    "first_name": "firstName",
    "last_name": "lastName",
    "organization": "company",
    "title": "title",
    "image": "avatar",
    "locale": "locale",
    "created": "createdAt",
    "email": "email",
    "phone_number": "phone",
}
_ADDRESS: Final[Mapping[str, str]] = {
    "address1": "street",
    "city": "city",
    "region": "state",
    "zip": "postalCode",
    "country": "country",
}
#: Channel -> the field that says whether it may be used, and its name in the trait ``consent``.
_CHANNELS: Final[Mapping[str, tuple[str, str]]] = {
    "email": ("can_receive_email_marketing", "email"),
    "sms": ("can_receive_sms_marketing", "sms"),
    "mobile_push": ("can_receive_push_marketing", "push"),
    "whatsapp": ("can_receive_any", "whatsapp"),
}
#: Traits that only Klaviyo's own fields set: a custom property of that name neither identifies nor consents.
_RESERVED: Final = frozenset((*_TRAITS.values(), "address", "consent", "klaviyo"))
_LIBRARY: Final = {"name": "segops-klaviyo"}

_encode = msgspec.json.Encoder().encode


def event_of(item: EventItem, *, metric: str, identity: Identity, profile_id: str, account: Account) -> bytes:
    """Return the track call of an event; ``metric`` is the name of its metric."""
    name = NAMES.get(metric, metric)
    return _encode(
        {
            "type": "track",
            "event": name,
            "messageId": f"klaviyo:{item.id}",
            "timestamp": format_instant(item.time_ms or 0),
            **_user(identity),
            "context": {"traits": _contacts(identity), **_context(identity, profile_id)},
            "properties": _properties(item, name, account),
        }
    )


def profile_of(item: ProfileItem) -> bytes:
    """Return the identify call of a profile, as of its last update; without one, as of its arrival."""
    found, time_ms = item.attributes, item.time_ms
    traits = {
        **{name: value for name, value in (found.properties or {}).items() if name not in _RESERVED},
        **_renamed(msgspec.structs.asdict(found), _TRAITS),
        **_address(found.location),
        **_consent(found.subscriptions),
    }
    context = {**_context(found, item.id), **_location(found.location)}
    content = _encode([item.id, found.updated, found.external_id, traits, context])
    return _encode(
        {
            "type": "identify",
            "messageId": f"klaviyo:{item.id}:{xxhash.xxh3_128_hexdigest(content)}",
            **({} if time_ms is None else {"timestamp": format_instant(time_ms)}),
            **_user(found),
            "traits": traits,
            "context": context,
        }
    )


def _user(identity: Identity) -> dict[str, str]:
    return {"userId": identity.external_id} if identity.external_id else {}


def _contacts(identity: Identity) -> dict[str, str]:
    found = {"email": identity.email, "phone": identity.phone_number}
    return {name: value for name, value in found.items() if value}


def _context(identity: Identity, profile_id: str) -> dict[str, Any]:
    ids = [("klaviyo_id", profile_id), ("phone", identity.phone_number)]
    external = [{"type": name, "id": value, "collection": "users"} for name, value in ids if value]
    return {"externalIds": external, "library": _LIBRARY}


def _renamed(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that are there, under their new names; of two with one new name, the first.

    >>> _renamed({"SKU": "s1", "ProductID": 7, "Brand": None}, _PRODUCT)
    {'product_id': 7, 'sku': 's1'}
    """
    result: dict[str, Any] = {}
    for name, renamed in names.items():
        value = found.get(name)
        if value is not None:
            result.setdefault(renamed, value)
    return result


def _properties(item: EventItem, name: str, account: Account) -> dict[str, Any]:
    found = dict(item.attributes.event_properties or {})
    found.pop(_LEFT_OUT, None)
    value = found.get("$value")
    if value is not None:
        found.setdefault("value", value)
    if name in _ORDERS:
        found |= _order(item, name, found, account)
    elif name.startswith("Product "):
        found = {**_renamed(found, _PRODUCT), **found}
    return found


def _order(item: EventItem, name: str, found: Mapping[str, Any], account: Account) -> dict[str, Any]:
    """Return what segops reads of an order, a refund or a cancellation."""
    value = found.get("$value")
    order: dict[str, Any] = {
        "order_id": next((str(found[each]) for each in _ORDER_IDS if found.get(each)), None),
        "currency": found.get("$currency_code") or found.get("currency") or account.currency,
    }
    if value is not None:
        order["revenue" if name == "Order Completed" else "total"] = value
    if name == "Order Refunded":
        order["refund_id"] = item.id
    items = found.get("Items")
    if isinstance(items, list):
        order["products"] = [_renamed(each, _PRODUCT) for each in items if isinstance(each, dict)]
    coupon = found.get("DiscountCode") or found.get("Discount Code")
    if coupon:
        order["coupon"] = coupon
    return {name: value for name, value in order.items() if value is not None}


def _consent(found: Subscriptions | None) -> dict[str, Any]:
    """Return the trait ``consent``, and what Klaviyo says of each channel.

    Consent is given only where the person subscribed and nothing suppresses the address. Each channel has a
    value, so that consent in a channel that disappeared ends.
    """
    consent, said = {}, {}
    for channel, (field, name) in _CHANNELS.items():
        written: Channel | None = None if found is None else getattr(found, channel)
        marketing = None if written is None else written.marketing
        if marketing is None:
            consent[name] = False
            continue
        reasons = [each.get("reason") for each in marketing.suppression or ()]
        allowed = getattr(marketing, field) is True
        consent[name] = allowed and marketing.consent == "SUBSCRIBED" and not reasons
        said[name] = {"consent": marketing.consent, "can_receive": allowed, "suppressions": reasons}
    return {"consent": consent, "klaviyo": said}


def _address(location: Mapping[str, Any] | None) -> dict[str, Any]:
    found = _renamed(location or {}, _ADDRESS)
    return {"address": found} if found else {}


def _location(location: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return latitude and longitude, which Klaviyo writes as numbers or texts, and the time zone.

    >>> _location({"latitude": "52.5", "longitude": 13.4, "timezone": "Europe/Berlin"})
    {'location': {'latitude': 52.5, 'longitude': 13.4}, 'timezone': 'Europe/Berlin'}
    >>> _location({"latitude": "north", "longitude": 13.4})
    {}
    """
    found = location or {}
    degrees = {name: _number(found.get(name)) for name in ("latitude", "longitude")}
    zone = found.get("timezone")
    return {
        **({} if None in degrees.values() else {"location": degrees}),
        **({"timezone": zone} if isinstance(zone, str) else {}),
    }


def _number(value: Any) -> float | None:
    try:
        return float(value) if kind(value) in ("number", "string") else None
    except ValueError:
        return None
