"""The parsers of ``distance_to``, as a node and as a figure."""

from __future__ import annotations

from functools import partial

from segops.core.areas import Circle, Location, Point
from segops.core.operators import Predicate
from segops.core.rules.figures import Distance, DistanceFigure
from segops.core.rules.parsing.areas import areas_of, read_degrees
from segops.core.rules.parsing.reader import Reader, Reads

DISTANCE_OPERATORS = ("lt", "lte", "gt", "gte", "between")


def read_distance(node: Reader) -> DistanceFigure:
    """Parse the figure ``distance_to``: a place of points and circles, or a point; and ``within``."""
    within = node.at("within").positive_duration if "within" in node else lambda: None
    (name, points), within_ms = node.gather(partial(_points, node.at("distance_to")), within)
    return DistanceFigure(name, points, within_ms)


def _points(form: Reader) -> tuple[str, tuple[Location, ...]]:
    if isinstance(form.raw, dict) and "lat" in form:
        reads: Reads = {"lat": partial(read_degrees, 90), "lon": partial(read_degrees, 180)}
        lat, lon = form.record(reads, "{lat: 48.86, lon: 2.35}")
        return f"{lat:g}, {lon:g}", ((lat, lon),)
    if not isinstance(form.raw, dict):
        return _centres(form.with_raw(form.text()))
    (found,) = form.record({"places": lambda name: _centres(name.with_raw(name.text()))}, "{places: stores}")
    return found[0], found[1]


def _centres(name: Reader) -> tuple[str, tuple[Location, ...]]:
    areas = areas_of(name)
    points = tuple(area.at for area in areas if isinstance(area, (Point, Circle)))
    if len(points) != len(areas):
        name.fail(f"{name.raw} is not only points and circles, to whose centres a distance leads")
    return name.raw, points


def read_distance_node(node: Reader) -> Distance:
    """Parse a ``distance_to`` node."""
    return Distance(*node.gather(partial(read_distance, node), partial(read_lengths, node.at("is"))))


def read_lengths(form: Reader) -> Predicate:
    """Read a predicate over lengths, whose operands become metres.

    >>> read_lengths(Reader({"lte": "5km"}, "when.is"))
    Predicate(ops=(('lte', 5000),))
    """
    reads = dict.fromkeys(DISTANCE_OPERATORS[:-1], _metres)
    return Predicate(tuple(sorted(form.fields({**reads, "between": _span}).items())))


def _metres(form: Reader) -> int | float:
    metres = form.length()
    return int(metres) if metres.is_integer() else metres


def _span(form: Reader) -> tuple[int | float, int | float]:
    if not isinstance(form.raw, list) or len(form.raw) != 2:
        form.fail("expected two lengths, such as [500m, 5km]")
    low, high = form.gather(*(partial(_metres, item) for item in form.values("two lengths")))
    if low > high:
        form.fail(f"never holds: {form.raw[0]} is above {form.raw[1]}")
    return low, high
