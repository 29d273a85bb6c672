"""The state of a delivery: what an audience wants a destination to know, and what it was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from segops.core.delivery.messages import Person

#: Why a change is not told: the membership began before the audience was activated; the person had been told
#: as often as allowed; a person discarded it; the destination refused it.
EXISTING: Final = "existing"
CAPPED: Final = "capped"
DISCARDED: Final = "discarded"
DEAD: Final = "dead"
#: A person has dropped what the destination refused.
DROPPED: Final = "dropped"
#: The reason of an exit whose membership has left no trace: its profile was erased, or the change forgotten.
ERASED: Final = "erasure"


class Delivery(NamedTuple):
    """One destination of one audience; written ``destination|audience``."""

    destination: str
    audience: str

    def __str__(self) -> str:
        return f"{self.destination}|{self.audience}"


def delivery_of(name: str) -> Delivery:
    """Return the delivery that is written ``destination|audience``.

    >>> delivery_of("crm|winback")
    Delivery(destination='crm', audience='winback')
    """
    destination, _, audience = name.partition("|")
    return Delivery(destination, audience)


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an audience wants a destination to know of one profile, as of the profile's change ``change_id``.

    ``since_ms``: when the membership began; of an exit None. ``published_ms``: when the change was published.
    """

    member: bool
    change_id: str
    sequence: int
    reason: str
    occurred_ms: int
    published_ms: int
    person: Person
    since_ms: int | None = None
    until_ms: int | None = None
    properties: Mapping[str, Any] = {}


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a destination was told last about an address, and the change up to which all is decided.

    ``skipped``: why the change was not told; ``member`` and ``properties`` are those told before. ``detail``:
    of a dead one, what the destination answered. ``tried``: a message of this kind was sent since, or will be
    at once, and whether the destination took it is unknown.
    """

    member: bool
    change_id: str
    profile_id: str
    at_ms: int
    since_ms: int | None = None
    properties: Mapping[str, Any] = {}
    skipped: str = ""
    detail: str = ""
    tried: Literal["", "entered", "exited", "updated"] = ""

    @property
    def may_be_member(self) -> bool:
        """Whether the destination knows a member there, or may do so."""
        return self.member or self.tried != ""


class Entry(msgspec.Struct):
    """An address of a delivery: its targets by profile, the latest exit, and what was told.

    An address that several profiles share is a member while any of them is one.
    """

    targets: dict[str, Target] = {}
    gone: Target | None = None
    told: Told | None = None

    def take(self, profile_id: str, target: Target | None) -> None:
        """Take over the latest target of a profile; None: it has left no trace."""
        if target is not None and target.member:
            self.targets[profile_id] = target
            return
        left = self.targets.pop(profile_id, None)
        if target is not None:
            self.gone = target
        elif left is not None:
            self.gone = None

    @property
    def wanted(self) -> Target | None:
        """The target that decides: of the profile that was told, else of the earliest membership."""
        if not self.targets:
            return None
        if self.told is not None and self.told.profile_id in self.targets:
            return self.targets[self.told.profile_id]
        return min(self.targets.values(), key=lambda each: (each.since_ms or 0, each.person.profile_id))

    @property
    def is_over(self) -> bool:
        """Whether nothing of the address has to be remembered."""
        return not self.targets and (self.told is None or not self.told.may_be_member)
