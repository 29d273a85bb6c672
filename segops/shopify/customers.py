"""Customers, their consent to marketing, and requests to erase them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from segops.shopify.values import (
    Payload,
    Unreadable,
    digest,
    identifier,
    identity,
    part,
    time_of,
    without_nothing,
)

#: Field of a payload -> its channel in the trait ``consent``.
_CHANNELS: Final[Mapping[str, str]] = {"email_marketing_consent": "email", "sms_marketing_consent": "sms"}
_ADDRESS: Final[Mapping[str, str]] = {
    "address1": "street",
    "city": "city",
    "province": "state",
    "zip": "postalCode",
    "country": "country",
}
_NO_CONSENT: Final[Mapping[str, bool]] = dict.fromkeys(_CHANNELS.values(), False)
#: What only Shopify knows of a customer: members of the trait ``shopify``.
_OWN: Final = ("state", "tags", "orders_count", "total_spent", "verified_email", "tax_exempt")


def changed(customer: Payload) -> Iterator[dict[str, Any]]:
    """Yield the traits of a customer that was created or changed."""
    traits = {
        "email": customer.get("email"),
        "phone": customer.get("phone"),
        "firstName": customer.get("first_name"),
        "lastName": customer.get("last_name"),
        "createdAt": customer.get("created_at"),
        "address": _address(part(customer, "default_address")),
        **_consent_traits(_consent(customer) or {}),
        "shopify": without_nothing({name: customer.get(name) for name in _OWN}) or None,
    }
    yield _identify(customer, identifier(customer), traits, time_of(customer, "updated_at", "created_at"))


def deleted(customer: Payload) -> Iterator[dict[str, Any]]:
    """Yield that a customer was deleted in the shop: no consent is left. The profile remains."""
    traits = {**_consent_traits(_NO_CONSENT), "shopify": {"deleted": True}}
    yield _identify({}, identifier(customer), traits, None)


def consented(found: Payload) -> Iterator[dict[str, Any]]:
    """Yield the consent of one channel.

    The trait ``consent`` is replaced whole, so that the other channel ends in it, but not in its own trait.
    """
    consent = _consent(found)
    if consent is None:
        raise Unreadable(f"expected one of {', '.join(_CHANNELS)}")
    times = [time_of(part(found, name), "consent_updated_at") for name in _CHANNELS]
    who = {"email": found.get("email_address") or found.get("email"), "phone": found.get("phone")}
    time = next((each for each in times if each is not None), None)
    yield _identify(who, identifier(found, "customer_id"), _consent_traits(consent), time)


def erasure_requested(found: Payload) -> Iterator[dict[str, Any]]:
    """Yield that the customer is to be erased: no consent is left, and a trait says so to the operator.

    The collector itself does not erase: the right to write events does not include that. The signature covers
    no headers, so only a body in the form of such a request counts, not another webhook sent again under its
    topic.
    """
    if not {"shop_id", "shop_domain", "orders_to_redact"} <= found.keys():
        raise Unreadable("expected shop_id, shop_domain, customer and orders_to_redact")
    customer = part(found, "customer")
    traits = {**_consent_traits(_NO_CONSENT), "erasure_requested": True}
    yield _identify(customer, customer.get("id"), traits, None)


def _consent(found: Payload) -> dict[str, bool] | None:
    """Return the consent of each channel that a payload names; given only by a subscription.

    >>> _consent({"email_marketing_consent": {"state": "pending"}, "sms_marketing_consent": None})
    {'email': False, 'sms': False}
    >>> _consent({"id": 1}) is None
    True
    """
    named = {channel: part(found, name) for name, channel in _CHANNELS.items() if name in found}
    return {channel: each.get("state") == "subscribed" for channel, each in named.items()} or None


def _consent_traits(consent: Mapping[str, bool]) -> dict[str, Any]:
    """Return consent as one trait, as Klaviyo has it, and as a trait of each channel.

    >>> _consent_traits({"sms": True}), _consent_traits({})
    ({'consent': {'sms': True}, 'consent_sms': True}, {})
    """
    single = {f"consent_{channel}": given for channel, given in consent.items()}
    return {"consent": dict(consent), **single} if consent else {}


def _address(found: Payload) -> dict[str, Any] | None:
    return without_nothing({new: found.get(old) or None for old, new in _ADDRESS.items()}) or None


def _identify(
    customer: Payload, customer_id: Any, traits: Mapping[str, Any], time: str | None
) -> dict[str, Any]:
    known = without_nothing(traits)
    return {
        "type": "identify",
        "messageId": f"shopify:customer:{customer_id}:{digest([time, known, customer.get('email')])}",
        **({} if time is None else {"timestamp": time}),
        **identity(customer_id, email=customer.get("email"), phone=customer.get("phone")),
        "traits": known,
    }
