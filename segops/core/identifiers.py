"""Identifiers: ``<type>:<value>``, their rank, and the limits per type and profile."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from segops.core.errors import UserError
from segops.core.events import Event

#: The type of a known user. Two known users merge only on an explicit claim.
USER = "user_id"
#: In a priority: every type that is not listed.
OTHERS = "*"
PRIORITY = (USER, "email", "anonymous_id", "device_id", OTHERS)
DEFAULT_LIMIT = 5
#: Where an event may carry the customer's e-mail address, in the order of lookup.
EMAIL_SOURCES = ("traits", "context.traits", "properties")


def type_of(identifier: str) -> str:
    """Return the part before the first colon.

    >>> type_of("email:ada@example.com")
    'email'
    """
    return identifier.partition(":")[0]


def identifier_of(text: str) -> str:
    """Return an identifier as profiles have it. Raises UserError if it has no type or value.

    >>> identifier_of("email:Ann@Example.com"), identifier_of("user_id:Ann")
    ('email:ann@example.com', 'user_id:Ann')
    """
    kind, colon, value = text.partition(":")
    if not (kind and colon and value):
        raise UserError(f"expected an identifier <type>:<value> like user_id:ann, got {text!r}")
    return f"{kind}:{value.lower()}" if kind == "email" else text


def all_of(event: Event) -> list[str]:
    """Return every identifier that an event carries, including ignored types."""
    found = []
    if event.user_id is not None:
        found.append(f"{USER}:{event.user_id}")
    if event.email is not None:
        found.append(f"email:{event.email}")
    if event.anonymous_id is not None:
        found.append(f"anonymous_id:{event.anonymous_id}")
    return [*found, *event.others] if event.others else found


def is_user(identifier: str) -> bool:
    """Return whether an identifier names a known user."""
    return type_of(identifier) == USER


class Rules(msgspec.Struct, frozen=True):
    """Which of several identifiers is a profile's id, and how many of each type merge implicitly.

    Types that are not in ``priority`` are ignored. Known users come first: whether another profile may take
    one over depends on its id.
    """

    priority: tuple[str, ...] = PRIORITY
    limits: tuple[tuple[str, int], ...] = ((USER, 1),)
    default_limit: int = DEFAULT_LIMIT

    def rank(self, identifier: str) -> tuple[int, str]:
        """Return the sort key of the total order of identifiers: a customer's first one is the profile's id.

        >>> sorted(["email:a", "device_id:1", "user_id:u", "loyalty:7", "email:B"], key=Rules().rank)
        ['user_id:u', 'email:B', 'email:a', 'device_id:1', 'loyalty:7']
        """
        return self._priority_of(type_of(identifier)), identifier

    def _priority_of(self, kind: str) -> int:
        for name in (kind, OTHERS):
            if name in self.priority:
                return self.priority.index(name)
        return len(self.priority)

    def counts(self, kind: str) -> bool:
        """Return whether identifiers of a type are used."""
        return self.counts_all or kind in self.priority

    @property
    def counts_all(self) -> bool:
        """Whether identifiers of every type are used."""
        return OTHERS in self.priority

    def identifiers_of(self, event: Event) -> list[str]:
        """Return the identifiers that an event carries, the one that it is routed by first.

        >>> Rules().identifiers_of(Event("A", 0, "m", {}, user_id="u", anonymous_id="a", others=("card:7",)))
        ['user_id:u', 'anonymous_id:a', 'card:7']
        """
        found = all_of(event)
        return found if self.priority == PRIORITY and not event.others else self.ordered(found)

    def ordered(self, found: Iterable[str]) -> list[str]:
        """Return the used identifiers by priority, the one to route by first; one type keeps its order."""
        counted = (each for each in found if self.counts(type_of(each)))
        return sorted(dict.fromkeys(counted), key=lambda each: self._priority_of(type_of(each)))

    def limit(self, kind: str) -> int:
        """Return how many identifiers of this type one profile takes in implicitly."""
        return dict(self.limits).get(kind, self.default_limit)


def aliases_of(event: Event) -> dict[str, bool]:
    """Map the identifiers that an ``alias`` names to whether the claim is explicit, merging even known users.

    ``previousId`` names a user or an anonymous id without saying which, so it stands for both. The claim is
    explicit for the user only: several customers may share the device of an anonymous id.

    >>> aliases_of(Event("alias", 0, "m", {}, user_id="u2", previous_id="u1"))
    {'user_id:u1': True, 'anonymous_id:u1': False}
    """
    if event.previous_id is None:
        return {}
    return {f"{USER}:{event.previous_id}": True, f"anonymous_id:{event.previous_id}": False}
