"""The nodes about who and where the customer is: identifiers, static lists, places, buckets."""

from __future__ import annotations

import msgspec

from segops.core.areas import Area
from segops.core.paths import Path
from segops.core.windows import Window


class HasIdentifier(msgspec.Struct, frozen=True, tag="has_identifier"):
    """The profile has an identifier of one of these types."""

    types: tuple[str, ...]


class ListInForce(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The version of a static list that rules read. From ``expires_ms`` on (None: never) it names no one."""

    version: int
    expires_ms: int | None = None


class OnList(msgspec.Struct, frozen=True, tag="list", omit_defaults=True):
    """The profile is on the static list ``key``.

    ``version``: the one in force (0: none); ``expires_ms``: the instant from which it names no one. A rule as
    written has neither: they are bound to it when definitions come into force.
    """

    key: str
    version: int = 0
    expires_ms: int | None = None


class Near(msgspec.Struct, frozen=True, tag="near", omit_defaults=True):
    """The last known location, younger than ``within_ms``, is at most ``radius_m`` metres away.

    ``by``: the path of the postal code that locates an event without coordinates.
    """

    lat: float
    lon: float
    radius_m: float
    within_ms: int | None
    by: Path | None = None


class Located(msgspec.Struct, frozen=True, tag="inside", omit_defaults=True):
    """The last known location, younger than ``within_ms``, is in one of the areas of the place ``name``.

    ``by``: the path of the postal code that locates an event without coordinates.
    """

    name: str
    areas: tuple[Area, ...]
    within_ms: int | None
    by: Path | None = None


class Visited(msgspec.Struct, frozen=True, tag="visited", omit_defaults=True):
    """An event in the window was located in one of the areas of the place ``name``.

    ``by``: the path of the postal code that locates an event without coordinates.
    """

    name: str
    areas: tuple[Area, ...]
    window: Window
    by: Path | None = None


class Bucket(msgspec.Struct, frozen=True, tag="bucket"):
    """The profile's share of 100 under ``salt`` lies in ``[low, high)``; both in hundredths of a percent."""

    salt: str
    low: int
    high: int
