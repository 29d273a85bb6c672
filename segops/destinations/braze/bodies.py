"""The bodies of requests to Braze: an object with attributes per user, and an event per entry.

Source: Braze's documentation, "User attributes object" and "Event object".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from segops.core.delivery.messages import Message
from segops.core.values import format_instant

#: Fields of a user that are an address, or say which messages a user gets: they are never written.
_OWN: Final = frozenset(
    (
        "external_id",
        "user_alias",
        "braze_id",
        "email",
        "phone",
        "push_tokens",
        "push_token_import",
        "email_subscribe",
        "push_subscribe",
        "subscription_groups",
        "email_open_tracking_disabled",
        "email_click_tracking_disabled",
        "marked_email_as_spam_at",
    )
)
#: Further fields of Braze's profiles, which no audience may be named like.
_FIELDS: Final = frozenset(
    (
        "alias_name",
        "alias_label",
        "bio",
        "country",
        "current_location",
        "date_of_first_session",
        "date_of_last_session",
        "dob",
        "facebook",
        "first_name",
        "gender",
        "home_city",
        "image_url",
        "language",
        "last_name",
        "time_zone",
        "twitter",
    )
)
#: Keys that make an object a command about a value instead of the value, such as ``{"inc": 1}``.
_COMMANDS: Final = frozenset(("inc", "add", "remove", "update", "$add", "$remove", "$update", "$time"))
_MAX_NAME: Final = 255


class Naming(NamedTuple):
    """How users and an audience are called: the identifier, the attribute, and the event if there is one."""

    identifier: str
    attribute: str
    event: str | None


def is_name(name: object) -> bool:
    """Return whether Braze takes a name of an attribute or an event.

    >>> is_name("winback"), is_name("$winback"), is_name("_merge_objects"), is_name("")
    (True, False, False, False)
    """
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME and not name.startswith(("$", "_"))


def is_own(name: str) -> bool:
    """Return whether a name is a field of Braze's profiles."""
    return name in _OWN or name in _FIELDS


def attributes_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties as attributes; those that Braze would understand as something else are left out.

    >>> attributes_of({"aov": 7, "email_subscribe": "opted_in", "visits": {"inc": 1}, "$x": 1})
    {'aov': 7}
    """
    return {
        name: value
        for name, value in properties.items()
        if is_name(name) and name not in _OWN and not _is_command(value)
    }


def _is_command(value: object) -> bool:
    return isinstance(value, Mapping) and not _COMMANDS.isdisjoint(value)


def tracking(messages: Sequence[Message], naming: Naming) -> dict[str, Any]:
    """Return the body that tells of messages. An array that would be empty is left out."""
    arrays = {
        "attributes": [_attributes(each, naming) for each in having("attributes", messages, naming)],
        "events": [_event(each, naming) for each in having("events", messages, naming)],
    }
    return {name: objects for name, objects in arrays.items() if objects}


def having(array: str, messages: Sequence[Message], naming: Naming) -> list[Message]:
    """Return the messages with an object in this array of a body, in the order of the objects."""
    if array == "attributes":
        return [each for each in messages if each.action != "updated" or attributes_of(each.properties)]
    if array == "events" and naming.event is not None:
        return [each for each in messages if each.action == "entered" and not each.quiet]
    return []


def _attributes(message: Message, naming: Naming) -> dict[str, Any]:
    """Return the attributes of a user. Entries alone may create a user, and say that they are a member."""
    found: dict[str, Any] = {naming.identifier: message.address}
    if message.action != "entered":
        found["_update_existing_only"] = True
    if message.action != "exited":
        found |= attributes_of(message.properties)
    if message.action != "updated":
        found[naming.attribute] = message.action == "entered"
    return found


def _event(message: Message, naming: Naming) -> dict[str, Any]:
    instants = {"since": message.since_ms, "until": message.until_ms}
    properties = {
        **{name: value for name, value in message.properties.items() if is_name(name) and value is not None},
        "audience": message.audience,
        "reason": message.reason,
        **{name: format_instant(at) for name, at in instants.items() if at is not None},
    }
    return {
        naming.identifier: message.address,
        "name": naming.event,
        "time": format_instant(message.occurred_ms),
        "properties": properties,
    }
