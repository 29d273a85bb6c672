"""Whether an area contains a location, for the reference evaluator, computed the obvious way."""

from __future__ import annotations

from fractions import Fraction

from segops.core.areas import Area, Box, Circle, Polygon
from segops.core.rules.reference.values import distance_m, exact

_Exact = tuple[Fraction, Fraction]
_BILLION = 10**9


def contains(area: Area, location: tuple[float, float]) -> bool:
    """Return whether an area contains a location (latitude and longitude in degrees), its edge included.

    >>> contains(Polygon(((0, 0), (4 * 10**9, 0), (0, 4 * 10**9))), (2.0, 2.0))
    True
    """
    point = Fraction(round(exact(location[0]) * _BILLION)), Fraction(round(exact(location[1]) * _BILLION))
    match area:
        case Circle(at=center, radius_m=radius_m):
            return distance_m(location, center) <= radius_m
        case Box(southwest=(south, west), northeast=(north, east)):
            spans = [(west, east)] if west < east else [(west, 180 * _BILLION), (-180 * _BILLION, east)]
            return south <= point[0] <= north and any(low <= point[1] <= high for low, high in spans)
        case Polygon(points=points):
            return _in_polygon([(Fraction(lat), Fraction(lon)) for lat, lon in points], point)
    return False


def _in_polygon(points: list[_Exact], point: _Exact) -> bool:
    """Whether the parallel of the point meets the line an odd number of times to the west of it, or at it."""
    latitude, longitude = point
    meets = 0
    for at, (lat, lon) in enumerate(points):
        next_lat, next_lon = points[(at + 1) % len(points)]
        if lat == next_lat:
            if lat == latitude and min(lon, next_lon) <= longitude <= max(lon, next_lon):
                return True
            continue
        share = (latitude - lat) / (next_lat - lat)
        met = lon + share * (next_lon - lon)
        if 0 <= share <= 1 and met == longitude:
            return True
        meets += min(lat, next_lat) <= latitude < max(lat, next_lat) and met < longitude
    return meets % 2 == 1
