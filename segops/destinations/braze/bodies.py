"""The bodies of requests to Braze: one object of attributes for each message, and one event for some.

Source: Braze's documentation, "Create and update users" (``/users/track``), "User attributes object" and
"Event object".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from segops.core.delivery.messages import Message
from segops.core.values import format_instant

#: Fields of a user that say who they are, which messages they get, or how a request is carried out.
_OWN: Final = frozenset(
    (
        "external_id",
        "braze_id",
        "user_alias",
        "email",
        "phone",
        "email_subscribe",
        "push_subscribe",
        "subscription_groups",
        "push_tokens",
        "push_token_import",
        "marked_email_as_spam_at",
    )
)


def track(messages: Sequence[Message], *, field: str, attribute: str, event: str | None) -> dict[str, Any]:
    """Return one request. ``field``: what Braze knows the users by. ``event``: None for no events."""
    found: dict[str, Any] = {"attributes": [_attributes(each, field, attribute) for each in messages]}
    if event is not None and (events := [_event(each, field, event) for each in told_as_events(messages)]):
        found["events"] = events
    return found


def told_as_events(messages: Sequence[Message]) -> list[Message]:
    """Return the messages that become events: entries that may trigger something."""
    return [each for each in messages if each.action == "entered" and not each.quiet]


def attribute_of(audience: str) -> str:
    """Return the name of the attribute that says whether a user is in an audience.

    >>> attribute_of("winback-email")
    'audience_winback_email'
    """
    return "audience_" + audience.replace("-", "_")


def fields_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties as attributes; those that Braze itself would take for consent or ids are left out.

    >>> fields_of({"aov": 7, "email_subscribe": "opted_in", "_update_existing_only": False})
    {'aov': 7}
    """
    return {name: value for name, value in properties.items() if name not in _OWN and name[:1] not in "_$"}


def _attributes(message: Message, field: str, attribute: str) -> dict[str, Any]:
    member = message.action != "exited"
    found = {**fields_of(message.properties), field: message.address, attribute: member}
    if not member:
        found["_update_existing_only"] = True  # a user whom Braze does not know need not be created to leave
    return found


def _event(message: Message, field: str, name: str) -> dict[str, Any]:
    instants = {"since": message.since_ms, "until": message.until_ms}
    properties = {
        **fields_of(message.properties),
        "audience": message.audience,
        "reason": message.reason,
        "change_id": message.change_id,
        **{name: format_instant(at) for name, at in instants.items() if at is not None},
    }
    return {
        field: message.address,
        "name": name,
        "time": format_instant(message.occurred_ms),
        "properties": properties,
    }
