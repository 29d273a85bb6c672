"""Identifiers: ``<type>:<value>``, their order, and how many of a type one profile takes in."""

from __future__ import annotations

import msgspec

from segops.core.events import Event

#: The type of a known user. Two of them become one only where somebody says so.
USER = "user_id"
PRIORITY = (USER, "email", "anonymous_id", "device_id")
DEFAULT_LIMIT = 5


def type_of(identifier: str) -> str:
    """The part before the first colon.

    >>> type_of("email:ada@example.com")
    'email'
    """
    return identifier.partition(":")[0]


def is_user(identifier: str) -> bool:
    """Whether it names a known user."""
    return type_of(identifier) == USER


class Rules(msgspec.Struct, frozen=True):
    """Which identifier of several is a profile's id, and how many of each type are joined unasked."""

    priority: tuple[str, ...] = PRIORITY
    limits: tuple[tuple[str, int], ...] = ((USER, 1),)
    default_limit: int = DEFAULT_LIMIT

    def rank(self, identifier: str) -> tuple[int, str]:
        """The total order: the least of a person's identifiers is the profile's id.

        >>> sorted(["email:a", "device_id:1", "user_id:u", "loyalty:7", "email:B"], key=Rules().rank)
        ['user_id:u', 'email:B', 'email:a', 'device_id:1', 'loyalty:7']
        """
        kind = type_of(identifier)
        place = self.priority.index(kind) if kind in self.priority else len(self.priority)
        return place, identifier

    def limit(self, identifier: str) -> int:
        """How many identifiers of this one's type are joined to one profile."""
        return dict(self.limits).get(type_of(identifier), self.default_limit)


def identifiers_of(event: Event) -> list[str]:
    """The identifiers that an event carries, the one that it is routed to first."""
    found = ((USER, event.user_id), ("email", event.email), ("anonymous_id", event.anonymous_id))
    return [f"{kind}:{value}" for kind, value in found if value is not None]


def aliases_of(event: Event) -> dict[str, bool]:
    """What an ``alias`` says was this person before -> whether that joins even two known users.

    ``previousId`` names a user or an anonymous id, it does not say which, so it stands for both. That the
    one is the other is said of users only: an anonymous id may be a device that several share.

    >>> aliases_of(Event("alias", 0, "m", {}, user_id="u2", previous_id="u1"))
    {'user_id:u1': True, 'anonymous_id:u1': False}
    """
    if event.previous_id is None:
        return {}
    return {f"{USER}:{event.previous_id}": True, f"anonymous_id:{event.previous_id}": False}
