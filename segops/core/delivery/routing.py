"""From the memberships of a profile to the targets of its audiences' destinations.

The address decides the partition of a target: what concerns one address of a destination is decided in one
place, whichever profiles it belongs to. What was routed last is remembered, so that a target leaves the
address that it had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from segops.core.audiences.model import PREFIX, Audience
from segops.core.delivery.deciding import properties_of
from segops.core.delivery.messages import Person
from segops.core.delivery.model import Delivery, Target, delivery_of
from segops.core.events import Change

AddressOf = Callable[[Person], str | None]


class Route(msgspec.Struct, frozen=True, array_like=True):
    """Where a profile is a target of a delivery, and a digest of the target."""

    address: str
    digest: bytes


class Routed(msgspec.Struct, array_like=True):
    """What is known of a profile: its latest changes by audience, values by indicator, routes by delivery.

    Changes are those by which it is a member, and the latest exits until they are routed.
    """

    changes: dict[str, Change] = {}
    indicators: dict[str, Any] = {}
    routes: dict[str, Route] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be remembered."""
        return not (self.changes or self.indicators or self.routes)


class Delivering(NamedTuple):
    """A delivery that targets are routed to: its audience, and how its destination knows people."""

    id: Delivery
    audience: Audience
    address_of: AddressOf


class Step(NamedTuple):
    """A change of one route: the target at an address, and the route that is remembered; None: no more.

    ``target`` None: the membership has left no trace.
    """

    delivery: Delivery
    address: str
    target: Target | None
    route: Route | None


def steps(routed: Routed, deliverings: Mapping[str, Delivering]) -> Iterator[Step]:
    """Yield how the routes of a profile change, given the deliveries by their text. Call ``take`` with each.

    A route of a delivery that is no longer made stays until the membership ends.
    """
    for name in routed.routes.keys() - deliverings.keys():
        of = delivery_of(name)
        if (change := routed.changes.get(of.audience)) is None or not change.member:
            yield _left(of, routed.routes[name], change)
    persons: dict[str, Person] = {}
    for name, delivering in deliverings.items():
        key, route = delivering.audience.key, routed.routes.get(name)
        if (change := routed.changes.get(key)) is not None and change.member:
            person = persons.get(key) or persons.setdefault(key, person_of(change))
            yield from _stayed(delivering, route, change, person, routed.indicators)
        elif route is not None:
            yield _left(delivering.id, route, change)


def _stayed(
    delivering: Delivering, route: Route | None, change: Change, person: Person, indicators: Mapping[str, Any]
) -> Iterator[Step]:
    """Yield the steps of a membership that lasts: to another address, or with other values."""
    address = delivering.address_of(person)
    if route is not None and route.address != address:
        yield _left(delivering.id, route, change)
    if address is None:
        return
    properties = properties_of(delivering.audience.properties, person.traits, indicators)
    target = _member(change, person, properties)
    digest = _digest(target)
    if route is None or (route.address, route.digest) != (address, digest):
        yield Step(delivering.id, address, target, Route(address, digest))


def take(routed: Routed, step: Step) -> None:
    """Remember a step."""
    name = str(step.delivery)
    if step.route is None:
        routed.routes.pop(name, None)
    else:
        routed.routes[name] = step.route


def forget_exits(routed: Routed) -> None:
    """Forget the exits, once they are routed."""
    routed.changes = {key: each for key, each in routed.changes.items() if each.member}


def person_of(change: Change) -> Person:
    """Return the person as a change names them."""
    traits = msgspec.json.decode(change.traits_json) if change.traits_json else {}
    return Person(change.profile_id, change.user_id, change.anonymous_id, change.email, traits)


def audience_of(key: bytes) -> tuple[str, str] | None:
    """Return the profile and the audience of a record of the state topic; None for that of a segment.

    What measures the lift of an audience is not delivered.

    >>> audience_of(b"user_id:u|1|audience.winback"), audience_of(b"user_id:u1|at-risk")
    (('user_id:u|1', 'winback'), None)
    >>> audience_of(b"user_id:u1|audience.winback.sent")
    """
    profile_id, _, name = key.decode(errors="replace").rpartition("|")
    audience = name.removeprefix(PREFIX)
    return (profile_id, audience) if name.startswith(PREFIX) and "." not in audience else None


def _member(change: Change, person: Person, properties: Mapping[str, Any]) -> Target:
    return Target(
        True,
        change.change_id,
        change.sequence,
        change.reason,
        change.occurred_at,
        change.evaluated_at,
        person,
        change.occurred_at,
        change.flips_at,
        properties,
    )


def _left(delivery: Delivery, route: Route, change: Change | None) -> Step:
    """Return the end of a route. While a membership lasts, its address has changed."""
    if change is None:
        return Step(delivery, route.address, None, None)
    reason = "address" if change.member else change.reason
    target = Target(
        False,
        change.change_id if not change.member else _moved_id(change.change_id, route.address),
        change.sequence,
        reason,
        change.occurred_at,
        change.evaluated_at,
        person_of(change),
    )
    return Step(delivery, route.address, target, None)


def _moved_id(change_id: str, address: str) -> str:
    return hashlib.sha256(f"{change_id}|{address}".encode()).hexdigest()


def _digest(target: Target) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(target, order="sorted"), digest_size=8).digest()
