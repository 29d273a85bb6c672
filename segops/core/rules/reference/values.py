"""Values, distances and shares for the reference evaluator, computed the obvious way."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from fractions import Fraction
from math import atan2, cos, radians, sin, sqrt
from typing import Any

from segops.core.events import Event
from segops.core.lookups import LOOKUP, key_path, rows_of

_EARTH_RADIUS_M = 6_371_008.8


def is_number(value: Any) -> bool:
    """Return whether a value is a number; ``True`` is not."""
    return isinstance(value, (int, float, Decimal, Fraction)) and not isinstance(value, bool)


def exact(number: Any) -> Fraction:
    """Return a number as the exact decimal as written.

    >>> exact(0.1) + exact(0.2)
    Fraction(3, 10)
    """
    return Fraction(str(number))


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal: numbers by value, others within one type, recursively.

    >>> same(20, 20.0), same([20], [20.0]), same(1, True), same([1], [True])
    (True, True, False, False)
    """
    if is_number(a) and is_number(b):
        return bool(a == b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return type(a) is type(b) and bool(a == b)


def different(values: list[Any]) -> int:
    """Return the number of distinct values.

    >>> different([1, 1.0, "1", True, [1], [1.0]])
    4
    """
    return sum(not any(same(value, former) for former in values[:at]) for at, value in enumerate(values))


def most_frequent(values: list[Any]) -> Any:
    """Return the value that most of these equal; of several such values, the one that occurs last.

    >>> most_frequent(["a", "b", "b", "a", "c"]), most_frequent([1, "x", 1.0]), most_frequent([])
    ('a', 1.0, None)
    """
    often = max((sum(same(value, other) for other in values) for value in values), default=0)
    winners = [value for value in values if sum(same(value, other) for other in values) == often]
    return winners[-1] if winners else None


def lookup(values: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path through objects; None if missing.

    >>> lookup({"address": {"city": "Oslo"}}, ("address", "city"))
    'Oslo'
    >>> lookup({"address": ["Oslo"]}, ("address", "city")) is None
    True
    """
    for name in path:
        values = values.get(name) if isinstance(values, dict) else None
    return values


def value_at(event: Event, path: tuple[str, ...]) -> Any:
    """Return the value of an event at a path: of its context if the path begins so, else a property.

    >>> event = Event("page", 5, "m", {"a": {"b": 1}}, context={"os": {"name": "iOS"}})
    >>> value_at(event, ("a", "b")), value_at(event, ("", "context", "os", "name"))
    (1, 'iOS')
    """
    if path[:2] == LOOKUP:
        return _in_table(path, value_at(event, key_path(path)))
    return lookup(*_root(event, path))


def values_at(event: Event, path: tuple[str, ...]) -> list[Any]:
    """Return the values of an event at a path, which also leads through the elements of lists.

    >>> event = Event("Order Completed", 5, "m", {"a": [{"b": 1}, {"b": [2]}, {}]})
    >>> values_at(event, ("a", "b")), values_at(event, ("a",))
    ([1, [2]], [[{'b': 1}, {'b': [2]}, {}]])
    """
    if path[:2] == LOOKUP:
        found = [_in_table(path, key) for key in values_at(event, key_path(path))]
        return [value for value in found if value is not None]
    values, names = _root(event, path)
    reached = [values]
    for name in names:
        reached = [lookup(item, (name,)) for value in reached for item in _items(value)]
    return [value for value in reached if value is not None]


def _in_table(path: tuple[str, ...], key: Any) -> Any:
    """Return the value of a column in the row that has this key; None without one, or for another type."""
    if is_number(key):
        key = str(int(key)) if key == int(key) else str(key)
    elif isinstance(key, bool):
        key = "true" if key else "false"
    return next((value for name, value in rows_of(path).items() if name == key), None)


def location_of(event: Event, by: tuple[str, ...] | None) -> tuple[float, float] | None:
    """Return the coordinates of an event, else the point of the postal code at a path, if there is one."""
    if event.location is not None or by is None:
        return event.location
    point = value_at(event, by)
    return None if point is None else (point[0], point[1])


def _items(value: Any) -> list[Any]:
    """Return the elements of a list, also of lists in it; another value is its own only element."""
    return [below for item in value for below in _items(item)] if isinstance(value, list) else [value]


def _root(event: Event, path: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    if path[0] != "":
        return event.properties, path
    return {"context": event.context, "time": event.time_ms}[path[1]], path[2:]


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the great-circle distance in metres of two points, each (latitude, longitude) in degrees.

    It is computed from the angle between the two directions from the centre of the earth.

    >>> round(distance_m((0.0, 179.99), (0.0, -179.99))), round(distance_m((90.0, 0.0), (-90.0, 5.0)))
    (2224, 20015114)
    """
    (ax, ay, az), (bx, by, bz) = _direction(a), _direction(b)
    across = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    along = ax * bx + ay * by + az * bz
    return _EARTH_RADIUS_M * atan2(sqrt(sum(part * part for part in across)), along)


def _direction(point: tuple[float, float]) -> tuple[float, float, float]:
    latitude, longitude = radians(point[0]), radians(point[1])
    return cos(latitude) * cos(longitude), cos(latitude) * sin(longitude), sin(latitude)


def percent(salt: str, profile_id: str) -> Fraction:
    """Return the percentile of a profile under a salt, in [0, 100): from the first 8 bytes of a SHA-256.

    >>> percent("spring", "user_id:u1")
    Fraction(511, 25)
    """
    sixteen = hashlib.sha256(f"{salt}:{profile_id}".encode()).hexdigest()[:16]
    return Fraction(int(sixteen, 16) % 10_000, 100)
