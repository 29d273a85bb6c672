"""The bodies of requests to Customer.io's Track API.

Source: Customer.io's documentation of the Track API (``/api/v2/batch``; ``add_customers`` and
``remove_customers`` of manual segments), and of events, whose ``id`` is a ULID that drops repeated ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from segops.core.delivery.messages import Message
from segops.core.values import format_instant

#: Attributes that say who people are, or which messages they get.
_OWN: Final = frozenset(("id", "cio_id", "email", "phone", "unsubscribed", "cio_subscription_preferences"))
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_BITS: Final = 128


def identify(message: Message, field: str) -> dict[str, Any]:
    """Return the operation that writes the attributes of a person, whom it creates if there is none."""
    attributes = fields_of(message.properties) | {attribute_of(message.audience): message.action != "exited"}
    return {
        "type": "person",
        "action": "identify",
        "identifiers": {field: message.address},
        "attributes": attributes,
    }


def event(message: Message, field: str, name: str) -> dict[str, Any]:
    """Return the operation that records an event; a repeated one has the same id."""
    instants = {"since": message.since_ms, "until": message.until_ms}
    attributes = {
        **fields_of(message.properties),
        "audience": message.audience,
        "reason": message.reason,
        **{name: format_instant(at) for name, at in instants.items() if at is not None},
    }
    return {
        "type": "person",
        "action": "event",
        "identifiers": {field: message.address},
        "id": ulid_of(message.change_id),
        "name": name,
        "timestamp": message.occurred_ms // 1000,
        "attributes": attributes,
    }


def people(messages: Sequence[Message]) -> dict[str, Any]:
    """Return those who are added to a segment, or removed from it."""
    return {"ids": [each.address for each in messages]}


def attribute_of(audience: str) -> str:
    """Return the name of the attribute that says whether a person is in an audience.

    >>> attribute_of("winback-email")
    'audience_winback_email'
    """
    return "audience_" + audience.replace("-", "_")


def fields_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties as attributes; addresses, subscriptions and reserved names are left out.

    >>> fields_of({"aov": 7, "email": "x@shop.example", "unsubscribed": False, "_update": True})
    {'aov': 7}
    """
    return {
        name: value for name, value in properties.items() if name not in _OWN and not name.startswith("_")
    }


def ulid_of(change_id: str) -> str:
    """Return the first 128 bits of a change's id as a ULID: 26 digits of Crockford's base 32.

    >>> ulid_of("f" * 64), ulid_of("0" * 63 + "1")
    ('7ZZZZZZZZZZZZZZZZZZZZZZZZZ', '00000000000000000000000000')
    """
    number = int(change_id, 16) >> (4 * len(change_id) - _ULID_BITS)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(_ULID_BITS - 3, -1, -5))
