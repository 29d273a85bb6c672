"""The parsers of ``places``, and of the nodes ``near`` and ``inside`` that read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from segops.core.areas import Area, Box, Circle, Point, Polygon, Whole, crossing, whole
from segops.core.rules import model
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.lookups import read_code
from segops.core.rules.parsing.reader import Reader, Reads
from segops.core.rules.parsing.windows import TIME_KEYS, read_window
from segops.core.windows import Window

#: Limits on the areas of one place and on the points of one polygon.
MAX_AREAS: Final = 1_000
MAX_CORNERS: Final = 1_000
#: Limit on the areas of a file, and on the points of its polygons: a definition carries what its rule reads.
MAX_POINTS: Final = 10_000
_HALF_TURN: Final = 180 * 10**9
_EXAMPLES: Final = (
    "{lat: 48.86, lon: 2.35, radius: 5km}, {south: 48, west: 2, north: 49, east: 3}, "
    "{polygon: [[48, 2], [49, 2], [49, 3]]}, or a list of those"
)


def read_areas(raw: Any, path: str, context: Context) -> dict[str, tuple[Area, ...]]:
    """Parse a ``places`` block: name -> areas. Raises DefinitionError with every mistake.

    >>> read_areas({"paris": {"lat": 48.86, "lon": 2.35, "radius": "5km"}}, "places", Context())
    {'paris': (Circle(at=(48.86, 2.35), radius_m=5000.0),)}
    """
    block = Reader(raw, path, context)
    if not isinstance(raw, dict) or not raw:
        block.fail("expected a non-empty map of names to places")
    found = block.gather(*(partial(_named, block, name) for name in raw))
    areas = [area for named in found for area in named]
    corners = sum(len(area.points) for area in areas if isinstance(area, Polygon))
    if max(len(areas), corners) > MAX_POINTS:
        block.fail(
            f"expected at most {MAX_POINTS:,} places and {MAX_POINTS:,} points of polygons in one file"
        )
    return dict(zip(raw, found, strict=True))


def _named(block: Reader, name: Any) -> tuple[Area, ...]:
    form = block.at(name)
    if not isinstance(name, str) or not 1 <= len(name) <= 64:
        form.fail(f"expected a name of 1 to 64 characters, got {name!r}")
    several = isinstance(form.raw, list)
    items = form.items(f"a list of 1 to {MAX_AREAS:,} places", MAX_AREAS) if several else [form]
    return tuple(form.gather(*(partial(_area, item) for item in items)))


def _area(form: Reader) -> Area:
    for key, read in _AREAS.items():
        if isinstance(form.raw, dict) and key in form:
            return read(form)
    return form.fail(f"expected a place, such as {_EXAMPLES}")


def _point(form: Reader) -> Area:
    reads: Reads = {"lat": partial(read_degrees, 90), "lon": partial(read_degrees, 180)}
    lat, lon, radius_m = form.record(reads, "{lat: 48.86, lon: 2.35}", {"radius": Reader.length})
    return Point((lat, lon)) if radius_m is None else Circle((lat, lon), radius_m)


def _box(form: Reader) -> Area:
    sides = {side: partial(read_degrees, limit) for side, limit in _SIDES.items()}
    south, west, north, east = form.record(sides, "{south: 48, west: 2, north: 49, east: 3}")
    if south >= north:
        form.fail(f"expected south below north, got {south:g} and {north:g}")
    if west == east:
        form.fail(f"expected west to differ from east, got {west:g} twice")
    return Box(whole((south, west)), whole((north, east)))


def _polygon(form: Reader) -> Area:
    form.only("polygon")
    line = form.at("polygon")
    corners = line.items(f"a list of 3 to {MAX_CORNERS:,} points [lat, lon]", MAX_CORNERS + 1)
    points: list[Whole] = line.gather(*(partial(_corner, corner) for corner in corners))
    if points[0] == points[-1]:  # closed, as in GeoJSON
        points.pop()
    if not 3 <= len(points) <= MAX_CORNERS:
        line.fail(f"expected a list of 3 to {MAX_CORNERS:,} points [lat, lon]")
    _check_line(line, points)
    return Polygon(tuple(points))


def _check_line(line: Reader, points: list[Whole]) -> None:
    for number, (former, point) in enumerate(zip(points[-1:] + points[:-1], points, strict=True)):
        if former == point:
            line.fail(f"the same point twice in a row, at {number}")
        if abs(former[1] - point[1]) > _HALF_TURN:
            line.fail("crosses the antimeridian: split it there into two polygons")
    crossed = crossing(points)
    if crossed is not None:
        line.fail(f"crosses itself: the edges from points {crossed[0]} and {crossed[1]} (from 0) meet")


def _corner(reader: Reader) -> Whole:
    if not isinstance(reader.raw, list) or len(reader.raw) != 2:
        reader.fail(f"expected [lat, lon] in degrees, got {reader.raw!r:.40}")
    lat, lon = (Reader(raw, reader.path, reader.context) for raw in reader.raw)
    return whole((read_degrees(90, lat), read_degrees(180, lon)))


def read_degrees(limit: int, reader: Reader) -> float:
    """Read a latitude or longitude of at most ``limit`` degrees."""
    return float(reader.number(-limit, limit, f"degrees from -{limit} to {limit}"))


_SIDES: Final = {"south": 90, "west": 180, "north": 90, "east": 180}
#: Key that tells an area -> the parser of the area.
_AREAS: dict[str, Callable[[Reader], Area]] = {"lat": _point, "south": _box, "polygon": _polygon}


# -- nodes -------------------------------------------------------------------------------------------------


def read_near(node: Reader) -> model.Node:
    """Parse a ``near`` node: a circle, a named one, or a radius around named points."""
    form = node.at("near")
    if isinstance(form.raw, str):
        return _located(node, partial(_circles, form, form, None))
    if isinstance(form.raw, dict) and "places" in form:
        reads: Reads = {"places": Reader.text, "radius": Reader.length}
        return _located(node, partial(_around, form, reads))
    return _near(node)


def _near(node: Reader) -> model.Near | model.Visited:
    def circle() -> list[Any]:
        lat, lon = partial(read_degrees, 90), partial(read_degrees, 180)
        reads: Reads = {"lat": lat, "lon": lon, "radius": Reader.length}
        return node.at("near").record(reads, "{lat: 48.86, lon: 2.35, radius: 5km}")

    (lat, lon, radius_m), window, by = node.gather(circle, partial(_window, node), partial(read_code, node))
    if isinstance(window, _Last):
        return model.Near(lat, lon, radius_m, window.within_ms, by)
    name = f"{radius_m:g} m around {lat:g}, {lon:g}"
    return model.Visited(name, (Circle((lat, lon), radius_m),), window, by)


def read_inside(node: Reader) -> model.Node:
    """Parse an ``inside`` node: the name of a place."""
    return _located(node, partial(_insides, node.at("inside")))


class _Last(NamedTuple):
    """The last known location counts, while it is younger than ``within_ms``."""

    within_ms: int | None


def _window(node: Reader) -> Window | _Last:
    """Read the window of locations: with ``anytime``, of all of them; else how old the last one may be."""
    if "anytime" in node and node.at("anytime").boolean():
        return read_window(node)
    keys = ("near", "inside", "within", "anytime", "located_by")
    node.only(*keys, *(node.raw.keys() - {*keys, *TIME_KEYS}))  # the node itself reports unknown keys
    return _Last(node.at("within").positive_duration() if "within" in node else None)


def _located(node: Reader, read: Callable[[], tuple[str, tuple[Area, ...]]]) -> model.Located | model.Visited:
    (name, areas), window, by = node.gather(read, partial(_window, node), partial(read_code, node))
    if isinstance(window, _Last):
        return model.Located(name, areas, window.within_ms, by)
    return model.Visited(name, areas, window, by)


def _around(form: Reader, reads: Reads) -> tuple[str, tuple[Area, ...]]:
    _, radius_m = form.record(reads, "{places: stores, radius: 5km}")
    return _circles(form, form.at("places"), radius_m)


def _circles(form: Reader, name: Reader, radius_m: float | None) -> tuple[str, tuple[Area, ...]]:
    found: list[Area] = []
    for area in areas_of(name):
        if not isinstance(area, (Point, Circle)):
            form.fail(f"{name.raw} is not only points and circles; use inside: {name.raw}")
        if radius_m is None and isinstance(area, Point):
            form.fail(f"{name.raw} has points without a radius; use {{places: {name.raw}, radius: 5km}}")
        found.append(area if radius_m is None else Circle(area.at, radius_m))
    return name.raw, tuple(found)


def _insides(name: Reader) -> tuple[str, tuple[Area, ...]]:
    areas = areas_of(name)
    if any(isinstance(area, Point) for area in areas):
        name.fail(f"{name.raw} has points without a radius, which contain nothing")
    return name.raw, areas


def areas_of(name: Reader) -> tuple[Area, ...]:
    """Return the areas of a named place; none if the block is invalid, which is reported once."""
    known = name.context.areas
    return () if known is None else known[name.known("place", known or ("(none: the file has no places)",))]
