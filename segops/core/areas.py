"""Areas of the earth: points, circles, boxes and polygons, and whether they contain a location.

Boxes and polygons compare coordinates in whole billionths of a degree (0.1 mm), so that the answer is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import radians
from typing import Final

import msgspec

from segops.core.geo import EARTH_RADIUS_M, distance_m
from segops.core.values import exact

#: Latitude and longitude, in degrees.
Location = tuple[float, float]
#: Latitude and longitude, in billionths of a degree.
Whole = tuple[int, int]
_DIGITS: Final = 9
#: More than the error of a computed distance, in metres.
_ERROR_M: Final = 1.0


class Point(msgspec.Struct, frozen=True, tag="point"):
    """A point, which contains nothing: only a circle around it does."""

    at: Location


class Circle(msgspec.Struct, frozen=True, tag="circle"):
    """All within ``radius_m`` metres of the centre, by great circles."""

    at: Location
    radius_m: float


class Box(msgspec.Struct, frozen=True, tag="box"):
    """All between two parallels and two meridians, edges included; over the antimeridian if west > east."""

    southwest: Whole
    northeast: Whole


class Polygon(msgspec.Struct, frozen=True, tag="polygon"):
    """All within the closed line through some points, edges included; it is straight in degrees."""

    points: tuple[Whole, ...]


Area = Point | Circle | Box | Polygon


def whole(location: Location) -> Whole:
    """Return a location in billionths of a degree.

    >>> whole((48.8566, -0.1))
    (48856600000, -100000000)
    """
    latitude, longitude = (int(exact(degrees).scaleb(_DIGITS).to_integral_value()) for degrees in location)
    return latitude, longitude


def contains_any(areas: Sequence[Area], location: Location) -> bool:
    """Return whether one of the areas contains a location.

    >>> contains_any([Box((0, 179 * 10**9), (10**9, -179 * 10**9))], (0.5, -179.5))
    True
    """
    point = whole(location)
    return any(_contains(area, location, point) for area in areas)


def _contains(area: Area, location: Location, point: Whole) -> bool:
    match area:
        case Circle(at=center, radius_m=radius_m):
            # No two points are nearer than their latitudes.
            north_m = radians(abs(center[0] - location[0])) * EARTH_RADIUS_M
            return north_m <= radius_m + _ERROR_M and distance_m(location, center) <= radius_m
        case Box(southwest=(south, west), northeast=(north, east)):
            if not south <= point[0] <= north:
                return False
            return west <= point[1] <= east if west < east else point[1] >= west or point[1] <= east
        case Polygon(points=points):
            return _is_in_polygon(points, point)
    return False


def _is_in_polygon(points: tuple[Whole, ...], point: Whole) -> bool:
    """Count the edges that a line eastwards meets."""
    latitude, longitude = point
    odd = False
    for a, b in edges(points):
        if (a[0] > latitude and b[0] > latitude) or (a[0] < latitude and b[0] < latitude):
            continue
        side = (b[1] - a[1]) * (latitude - a[0]) - (longitude - a[1]) * (b[0] - a[0])
        if side == 0 and min(a[1], b[1]) <= longitude <= max(a[1], b[1]):
            return True
        if (a[0] > latitude) != (b[0] > latitude) and (side > 0) == (b[0] > a[0]):
            odd = not odd
    return odd


def edges(points: Sequence[Whole]) -> list[tuple[Whole, Whole]]:
    """Return the edges of a polygon, the closing one last."""
    return list(pairwise((*points, points[0])))


def crossing(points: Sequence[Whole]) -> tuple[int, int] | None:
    """Return the indexes of two edges of a polygon that meet, other than at their common corner, or None.

    >>> crossing([(0, 0), (2, 2), (2, 0), (0, 2)]), crossing([(0, 0), (2, 2), (2, 0)])
    ((0, 2), None)
    """
    numbered = sorted(enumerate(edges(points)), key=lambda each: min(each[1][0][0], each[1][1][0]))
    for at, (number, edge) in enumerate(numbered):
        top = max(edge[0][0], edge[1][0])
        for other_number, other in numbered[at + 1 :]:
            if min(other[0][0], other[1][0]) > top:
                break
            if _meet(edge, other):
                return min(number, other_number), max(number, other_number)
    return None


def _meet(one: tuple[Whole, Whole], other: tuple[Whole, Whole]) -> bool:
    common = {*one} & {*other}
    if common:  # two edges of one corner meet again only if they overlap
        (corner,) = common if len(common) == 1 else (one[0],)
        ends = [end for end in (*one, *other) if end != corner]
        return len(common) > 1 or (_side(corner, *ends) == 0 and _is_ahead(corner, *ends))
    a, b, c, d = *one, *other
    if _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0:
        return True
    return any(_is_on(edge, point) for edge, point in ((one, c), (one, d), (other, a), (other, b)))


def _side(a: Whole, b: Whole, c: Whole) -> int:
    """Return the side of c, seen from a to b: -1, 0 (on the line) or 1."""
    side = (b[1] - a[1]) * (c[0] - a[0]) - (c[1] - a[1]) * (b[0] - a[0])
    return (side > 0) - (side < 0)


def _is_ahead(corner: Whole, a: Whole, b: Whole) -> bool:
    """Whether two points on a line through the corner lie in the same direction from it."""
    return (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1]) > 0


def _is_on(edge: tuple[Whole, Whole], point: Whole) -> bool:
    (a, b), within = edge, []
    for axis in (0, 1):
        within.append(min(a[axis], b[axis]) <= point[axis] <= max(a[axis], b[axis]))
    return all(within) and _side(a, b, point) == 0
