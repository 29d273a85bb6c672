"""The bodies of requests to HubSpot.

Source: HubSpot's OpenAPI documents of version 2026-03: ``BatchReadInputSimplePublicObjectId``,
``SimplePublicObjectBatchInputUpsert``, ``SimplePublicObjectBatchInput`` and ``MembershipChangeRequest``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from segops.core.delivery.messages import Message

#: The addresses of a contact: the first one, and others, separated by semicolons.
EMAIL, OTHER_EMAILS = "email", "hs_additional_emails"


def look_up(values: Iterable[str], *, by_email: bool) -> dict[str, Any]:
    """Return the contacts that are looked up, by address or by record id."""
    found: dict[str, Any] = {
        "inputs": [{"id": each} for each in values],
        "properties": [EMAIL, OTHER_EMAILS],
        "propertiesWithHistory": [],
    }
    return found | ({"idProperty": EMAIL} if by_email else {})


def update(message: Message, record_id: str) -> dict[str, Any]:
    """Return the changed properties of a contact by its record id."""
    return {
        "id": record_id,
        "properties": properties_of(message.properties),
        "objectWriteTraceId": message.change_id,
    }


def upsert(message: Message) -> dict[str, Any]:
    """Return a contact that is created, or changed if another program has just created it."""
    return update(message, message.address) | {"idProperty": EMAIL}


def change(entering: Iterable[str], leaving: Iterable[str]) -> dict[str, Any]:
    """Return the records that enter and leave a list."""
    return {"recordIdsToAdd": sorted(entering), "recordIdsToRemove": sorted(leaving)}


def properties_of(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return properties by their names in HubSpot, as text.

    The address, and HubSpot's own (``hs_…``), among them those of consent, are left out.

    >>> properties_of({"AOV": 7.5, "name.first": "Ann", "hs_email_optout": True})
    {'aov': '7.5', 'name_first': 'Ann'}
    """
    named = ((name.lower().replace(".", "_"), value) for name, value in properties.items())
    return {
        name: _text(value)
        for name, value in named
        if name != EMAIL and not name.startswith(("hs_", "hubspot_"))
    }


def _text(value: Any) -> str:
    """Return a value as HubSpot takes it.

    >>> _text(True), _text(["a", 7]), _text({"a": 1})
    ('true', 'a;7', '{"a":1}')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return ";".join(_text(each) for each in value)
    return msgspec.json.encode(value).decode()
