"""Geographic distances, and the notation of lengths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import asin, cos, radians, sin, sqrt

#: The mean radius of the earth in metres (IUGG).
EARTH_RADIUS_M = 6_371_008.8
UNIT_M = {"m": 1.0, "km": 1_000.0, "mi": 1_609.344}

_LENGTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|km|mi)")


def parse_length(text: object) -> float:
    """Return the metres in ``<number><unit>``, with the unit m, km or mi.

    >>> parse_length("5km"), parse_length("1mi")
    (5000.0, 1609.344)

    Raises ValueError for anything else.
    """
    match = _LENGTH.fullmatch(text) if isinstance(text, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError(f"expected a length above 0 in m, km or mi, such as 5km, got {text!r}")
    return float(match[1]) * UNIT_M[match[2]]


def nearest_m(location: tuple[float, float], points: Iterable[tuple[float, float]]) -> float:
    """Return the distance in metres, to the millimetre, from a location to the nearest of some points.

    >>> nearest_m((0.0, 0.0), [(0.0, 1.0), (0.5, 0.0)])
    55597.54
    """
    return round(min(distance_m(location, point) for point in points), 3)


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the great-circle distance in metres between two (latitude, longitude) pairs in degrees.

    The haversine formula holds across the antimeridian and at the poles.

    >>> round(distance_m((0.0, 179.99), (0.0, -179.99)))
    2224
    """
    lat_a, lat_b = radians(a[0]), radians(b[0])
    across, along = sin((lat_b - lat_a) / 2), sin(radians(b[1] - a[1]) / 2)
    half_chord = sqrt(min(1.0, across * across + cos(lat_a) * cos(lat_b) * along * along))
    return 2 * EARTH_RADIUS_M * asin(half_chord)
