"""Identifiers: ``<type>:<value>``, their order, and how many of a type one profile takes in."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from segops.core.events import Event

#: The type of a known user. Two of them become one only where somebody says so.
USER = "user_id"
#: In a priority: every type that is not named.
OTHERS = "*"
PRIORITY = (USER, "email", "anonymous_id", "device_id", OTHERS)
DEFAULT_LIMIT = 5
#: Where an event may have its person's e-mail, in the order in which they are looked at.
EMAIL_SOURCES = ("traits", "context.traits", "properties")


def type_of(identifier: str) -> str:
    """The part before the first colon.

    >>> type_of("email:ada@example.com")
    'email'
    """
    return identifier.partition(":")[0]


def all_of(event: Event) -> list[str]:
    """Every identifier that an event carries, those that do not count included."""
    found = []
    if event.user_id is not None:
        found.append(f"{USER}:{event.user_id}")
    if event.email is not None:
        found.append(f"email:{event.email}")
    if event.anonymous_id is not None:
        found.append(f"anonymous_id:{event.anonymous_id}")
    return [*found, *event.others] if event.others else found


def is_user(identifier: str) -> bool:
    """Whether it names a known user."""
    return type_of(identifier) == USER


class Rules(msgspec.Struct, frozen=True):
    """Which identifier of several is a profile's id, and how many of each type are joined unasked.

    What is not in ``priority`` is no identifier. Known users come first in it: by a profile's id it is
    told whether another may take it over.
    """

    priority: tuple[str, ...] = PRIORITY
    limits: tuple[tuple[str, int], ...] = ((USER, 1),)
    default_limit: int = DEFAULT_LIMIT

    def rank(self, identifier: str) -> tuple[int, str]:
        """The total order: the least of a person's identifiers is the profile's id.

        >>> sorted(["email:a", "device_id:1", "user_id:u", "loyalty:7", "email:B"], key=Rules().rank)
        ['user_id:u', 'email:B', 'email:a', 'device_id:1', 'loyalty:7']
        """
        return self._place(type_of(identifier)), identifier

    def _place(self, kind: str) -> int:
        for name in (kind, OTHERS):
            if name in self.priority:
                return self.priority.index(name)
        return len(self.priority)

    def counts(self, kind: str) -> bool:
        """Whether identifiers of a type are identifiers here."""
        return self.counts_all or kind in self.priority

    @property
    def counts_all(self) -> bool:
        """Whether identifiers of every type are identifiers here."""
        return OTHERS in self.priority

    def identifiers_of(self, event: Event) -> list[str]:
        """The identifiers that an event carries, the one that it is routed to first.

        >>> Rules().identifiers_of(Event("A", 0, "m", {}, user_id="u", anonymous_id="a", others=("card:7",)))
        ['user_id:u', 'anonymous_id:a', 'card:7']
        """
        found = all_of(event)
        return found if self.priority == PRIORITY and not event.others else self.ordered(found)

    def ordered(self, found: Iterable[str]) -> list[str]:
        """Those that are identifiers here, the one to route by first; of one type in their own order."""
        counted = (each for each in found if self.counts(type_of(each)))
        return sorted(dict.fromkeys(counted), key=lambda each: self._place(type_of(each)))

    def limit(self, kind: str) -> int:
        """How many identifiers of this type are joined to one profile."""
        return dict(self.limits).get(kind, self.default_limit)


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
