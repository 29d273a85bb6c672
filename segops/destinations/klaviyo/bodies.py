"""The bodies of requests to Klaviyo.

Source: Klaviyo's OpenAPI document, revision 2026-07-15, operations ``bulk_import_profiles``,
``create_or_update_profile``, ``add_profiles_to_list``, ``remove_profiles_from_list``, ``bulk_create_events``
and ``create_event``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from segops.core.delivery.messages import Message
from segops.core.values import format_instant

#: A request takes 5 MB; the rest is for what stands around the records.
_MAX_BYTES: Final = 4_500_000
#: The properties that each event has, whatever the audience sends along.
_OF_EVENT: Final = frozenset(("audience", "change", "reason", "since", "until"))


def import_job(messages: Iterable[Message], list_id: str | None) -> dict[str, Any]:
    """Return the job that creates or updates profiles, and adds them to a list."""
    profiles = {"data": [_profile(each) for each in messages]}
    data: dict[str, Any] = {"type": "profile-bulk-import-job", "attributes": {"profiles": profiles}}
    if list_id is not None:
        data["relationships"] = {"lists": {"data": [{"type": "list", "id": list_id}]}}
    return {"data": data}


def profile(message: Message) -> dict[str, Any]:
    """Return one profile that is created or updated by itself."""
    return {"data": _profile(message)}


def _profile(message: Message) -> dict[str, Any]:
    attributes: dict[str, Any] = {"email": message.address}
    if properties := properties_of(message):
        attributes["properties"] = properties
    return {"type": "profile", "attributes": attributes}


def properties_of(message: Message) -> dict[str, Any]:
    """Return the properties that are written to a profile: names that begin with ``$`` are Klaviyo's own."""
    return {name: value for name, value in message.properties.items() if not name.startswith("$")}


def profile_ids(ids: Iterable[str]) -> dict[str, Any]:
    """Return the profiles that are added to a list, or removed from it."""
    return {"data": [{"type": "profile", "id": each} for each in ids]}


def events_job(messages: Iterable[Message], metric: str) -> dict[str, Any]:
    """Return the job that records an event for each message."""
    entries = [_bulk_entry(each, metric) for each in messages]
    attributes = {"events-bulk-create": {"data": entries}}
    return {"data": {"type": "event-bulk-create-job", "attributes": attributes}}


def _bulk_entry(message: Message, metric: str) -> dict[str, Any]:
    event = {"type": "event", "attributes": _event(message, metric)}
    attributes = {"profile": _who(message), "events": {"data": [event]}, "backfill": message.quiet}
    return {"type": "event-bulk-create", "attributes": attributes}


def event(message: Message, metric: str) -> dict[str, Any]:
    """Return one event by itself."""
    attributes = {**_event(message, metric), "profile": _who(message)}
    return {"data": {"type": "event", "attributes": attributes}}


def _event(message: Message, metric: str) -> dict[str, Any]:
    """Return an event: ``backfill`` records it without triggering flows, ``unique_id`` drops repetitions."""
    instants = {"since": message.since_ms, "until": message.until_ms}
    properties = {
        "audience": message.audience,
        "change": message.action,
        "reason": message.reason,
        **{name: format_instant(at) for name, at in instants.items() if at is not None},
    }
    for name, value in properties_of(message).items():
        properties[f"property_{name}" if name in _OF_EVENT else name] = value
    return {
        "properties": properties,
        "time": format_instant(message.occurred_ms),
        "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
        "unique_id": message.change_id,
        "backfill": message.quiet,
    }


def _who(message: Message) -> dict[str, Any]:
    return {"data": {"type": "profile", "attributes": {"email": message.address}}}


def divided(
    messages: Iterable[Message], body_of: Callable[[Message], dict[str, Any]], most: int
) -> Iterator[list[Message]]:
    """Yield messages in groups of at most ``most`` whose bodies fit into one request of 5 MB."""
    group: list[Message] = []
    size = 0
    for each in messages:
        length = len(msgspec.json.encode(body_of(each)))
        if group and (len(group) == most or size + length > _MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(each)
        size += length
    if group:
        yield group


def any_of(field: str, values: Sequence[str]) -> str:
    """Return the filter of the profiles with one of these values of a field.

    >>> any_of("email", ["ann@shop.example", "ben@shop.example"])
    'any(email,["ann@shop.example","ben@shop.example"])'
    """
    return f"any({field},{json.dumps(list(values), separators=(',', ':'))})"
