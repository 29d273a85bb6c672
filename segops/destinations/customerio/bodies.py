"""A message in Customer.io's terms: a person with attributes, and an event.

Sources: Customer.io's OpenAPI document of the Track API, v2 (``identify``, ``event``), and its pages
"Reserved attributes" and "Track a customer event" (properties that override the settings of messages).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from segops.core.delivery.messages import Message
from segops.core.values import format_instant

#: Attributes that are an address, or say which messages a person gets: they are never written.
_OWN: Final = frozenset(("id", "email", "phone", "anonymous_id", "unsubscribed"))
_OWN_PREFIXES: Final = ("_", "cio_")
#: Properties of an event that change from whom, and to whom, its messages are sent.
_ROUTING: Final = frozenset(("recipient", "from_address", "reply_to"))
_BASE_32: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_LENGTH: Final = 26


def person(message: Message, field: str) -> dict[str, Any]:
    """Return the call that writes a person's attributes. Entries alone may create a person."""
    attributes = attributes_of(message.properties)
    if message.action != "entered":
        attributes["_update"] = True
    return {**_who(message, field), "action": "identify", "attributes": attributes}


def event(message: Message, field: str, name: str) -> dict[str, Any]:
    """Return the call that records an event. Its ``id`` makes a repeated one the same event."""
    instants = {"since": message.since_ms, "until": message.until_ms}
    attributes = {
        **{key: value for key, value in message.properties.items() if key not in _ROUTING},
        "audience": message.audience,
        "reason": message.reason,
        **{key: format_instant(at) for key, at in instants.items() if at is not None},
    }
    return {
        **_who(message, field),
        "action": "event",
        "name": name,
        "id": ulid_of(message.change_id, message.occurred_ms),
        "timestamp": message.occurred_ms // 1000,
        "attributes": attributes,
    }


def _who(message: Message, field: str) -> dict[str, Any]:
    return {"type": "person", "identifiers": {field: message.address}}


def attributes_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties as attributes; those that have a meaning of Customer.io's own are left out.

    >>> attributes_of({"aov": 7, "unsubscribed": False, "cio_subscription_preferences.topics.topic_1": True})
    {'aov': 7}
    """
    return {
        name: value
        for name, value in properties.items()
        if name and name not in _OWN and not name.startswith(_OWN_PREFIXES)
    }


def ulid_of(change_id: str, at_ms: int) -> str:
    """Return the ULID of a change: its instant, and 80 bits of a digest of its id.

    >>> ulid_of("c1", 5_999), ulid_of("c1", 5_999) == ulid_of("c2", 5_999)
    ('00000005VFT3V33JGXVEMDPEYF', False)
    """
    digest = hashlib.sha256(change_id.encode()).digest()[:10]
    number = (at_ms % (1 << 48)) << 80 | int.from_bytes(digest)
    digits = [_BASE_32[number >> (5 * place) & 31] for place in reversed(range(_ULID_LENGTH))]
    return "".join(digits)


def inside(segment: int, field: str, addresses: Sequence[str]) -> dict[str, Any]:
    """Return the search for those of some people who are in a segment."""
    people = [{"attribute": {"field": field, "operator": "eq", "value": address}} for address in addresses]
    return {"filter": {"and": [{"segment": {"id": segment}}, {"or": people}]}}
