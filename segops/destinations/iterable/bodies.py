"""The bodies of requests to Iterable.

Source: the request types of Iterable's own client, ``Iterable/api-client`` (lists, users, events).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from segops.core.delivery.messages import Message
from segops.core.values import format_instant

#: Fields of a user that are the address, or say which messages a user gets: they are never written.
_OWN: Final = frozenset(
    (
        "email",
        "userId",
        "phoneNumber",
        "emailListIds",
        "subscribedMessageTypeIds",
        "unsubscribedMessageTypeIds",
        "unsubscribedChannelIds",
        "devices",
        "browserTokens",
        "itblInternal",
        "itblUserId",
        "itblDS",
    )
)


def subscription(messages: Sequence[Message], *, field: str, list_id: int) -> dict[str, Any]:
    """Return the users that are added to a list. ``field``: what the project knows them by."""
    return {"listId": list_id, "subscribers": [_subscriber(each, field) for each in messages]}


def removal(messages: Sequence[Message], *, field: str, list_id: int) -> dict[str, Any]:
    """Return the users that leave a list, and go on getting messages through its channel."""
    subscribers = [{field: each.address} for each in messages]
    # Said outright: sources disagree about the default, and true ends all messages of the channel.
    return {"listId": list_id, "subscribers": subscribers, "channelUnsubscribe": False}


def update(messages: Sequence[Message], *, field: str) -> dict[str, Any]:
    """Return the data of users. Iterable creates those that it does not know."""
    return {"users": [{field: each.address, "dataFields": fields_of(each.properties)} for each in messages]}


def events(messages: Sequence[Message], *, field: str, name: str) -> dict[str, Any]:
    """Return an event for each message. Its ``id`` makes a repeated one the same event."""
    return {"events": [_event(each, field, name) for each in messages]}


def fields_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties as data fields, whose names have no dots; those that are Iterable's own are left out.

    >>> fields_of({"aov": 7, "name.first": "Ann", "unsubscribedChannelIds": []})
    {'aov': 7, 'name_first': 'Ann'}
    """
    named = ((name.replace(".", "_"), value) for name, value in properties.items())
    return {name: value for name, value in named if name not in _OWN}


def _subscriber(message: Message, field: str) -> dict[str, Any]:
    found: dict[str, Any] = {field: message.address}
    if field == "userId":
        found["preferUserId"] = True  # else projects that know users by e-mail create none
    if fields := fields_of(message.properties):
        found["dataFields"] = fields
    return found


def _event(message: Message, field: str, name: str) -> dict[str, Any]:
    instants = {"since": message.since_ms, "until": message.until_ms}
    data = {
        **fields_of(message.properties),
        "audience": message.audience,
        "reason": message.reason,
        **{name: format_instant(at) for name, at in instants.items() if at is not None},
    }
    return {
        field: message.address,
        "eventName": name,
        "id": message.change_id,
        "createdAt": message.occurred_ms // 1000,
        "dataFields": data,
    }
