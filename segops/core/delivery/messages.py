"""A message to a destination about one person and one audience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Action = Literal["entered", "exited", "updated"]


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member as their profile names them; ``traits`` as of their latest change."""

    profile_id: str
    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    traits: Mapping[str, Any] = {}


class Message(msgspec.Struct, frozen=True):
    """A message to a destination about one person and one audience.

    ``address``: the person as the destination knows them. ``quiet``: no flow may be triggered. ``updated``: a
    member whose ``properties`` have changed. ``since_ms``, ``until_ms``: the membership, as far as it is
    known. Of an ``exited`` message of an erased person, ``person`` has nothing but the profile's id.
    """

    action: Action
    audience: str
    address: str
    person: Person
    change_id: str
    sequence: int
    reason: str
    occurred_ms: int
    since_ms: int | None = None
    until_ms: int | None = None
    quiet: bool = False
    properties: Mapping[str, Any] = {}
