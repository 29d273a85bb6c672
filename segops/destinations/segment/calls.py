"""The calls that tell of an audience, as Segment's own audiences do.

Source: Segment's documentation of Engage, "Using Engage data", and of its specification ("Common fields").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from segops.core.delivery.messages import Message, Person
from segops.core.values import format_instant

_EVENTS: Final = {"entered": "Audience Entered", "exited": "Audience Exited"}
_USER: Final = "user:"
_ANONYMOUS: Final = "anonymous:"


def address_of(person: Person) -> str | None:
    """Return the id by which Segment knows a person.

    >>> address_of(Person("p", "u1", "a1")), address_of(Person("p", None, "a1")), address_of(Person("p"))
    ('user:u1', 'anonymous:a1', None)
    """
    if person.user_id is not None:
        return _USER + person.user_id
    return None if person.anonymous_id is None else _ANONYMOUS + person.anonymous_id


def calls_of(message: Message, *, space: str) -> Iterator[dict[str, Any]]:
    """Yield the calls of a message: an ``identify`` with the trait of the audience, and a ``track``.

    A quiet message, and an update, have no ``track``: nothing is triggered.
    """
    member, key = message.action != "exited", trait_of(message.audience)
    common = _common(message, key, space)
    email = {} if message.person.email is None else {"email": message.person.email}
    yield {
        **common,
        "type": "identify",
        "messageId": f"{message.change_id}-identify",
        "traits": {**email, **message.properties, key: member},
    }
    if message.action in _EVENTS and not message.quiet:
        yield {
            **common,
            "type": "track",
            "messageId": f"{message.change_id}-track",
            "event": _EVENTS[message.action],
            "properties": {"audience_key": key, key: member, **_membership(message), **message.properties},
        }


def trait_of(audience: str) -> str:
    """Return the name of the trait that says whether a person is in an audience.

    >>> trait_of("winback-email")
    'winback_email'
    """
    return audience.replace("-", "_")


def _common(message: Message, key: str, space: str) -> dict[str, Any]:
    personas = {
        "computation_class": "audience",
        "computation_id": f"aud_{key}",
        "computation_key": key,
        "namespace": space,
        "space_id": space,
    }
    return {
        **_ids(message.address),
        "timestamp": format_instant(message.occurred_ms),
        "context": {"library": {"name": "segops"}, "personas": personas},
    }


def _ids(address: str) -> Mapping[str, str]:
    if address.startswith(_USER):
        return {"userId": address.removeprefix(_USER)}
    return {"anonymousId": address.removeprefix(_ANONYMOUS)}


def _membership(message: Message) -> dict[str, Any]:
    instants = {"since": message.since_ms, "until": message.until_ms}
    found = {name: format_instant(at) for name, at in instants.items() if at is not None}
    return {**found, "reason": message.reason}
