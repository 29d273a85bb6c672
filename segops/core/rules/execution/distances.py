"""The distance to a place in compiled rules: its value, and the node that tests it."""

from __future__ import annotations

from typing import Any

from segops.core.features.bands import Series
from segops.core.geo import nearest_m
from segops.core.profile import Profile
from segops.core.rules.execution.leaf import LOCATION, Leaf, never
from segops.core.rules.execution.leaves import exact_test
from segops.core.rules.execution.readings import Reading, exact_number
from segops.core.rules.figures import Distance, DistanceFigure


def distance_reading(figure: DistanceFigure) -> Reading:
    """Return how to read a distance: it changes with the location, and ends when that is too old."""
    points, within_ms = figure.points, figure.within_ms

    def read(profile: Profile, now_ms: int) -> Any:
        location = profile.location
        if location is None or (within_ms is not None and now_ms - profile.location_ms >= within_ms):
            return None
        return exact_number(nearest_m(location, points))

    def series(profile: Profile, now_ms: int) -> Series:
        found = read(profile, now_ms)
        yield now_ms, found
        if found is not None and within_ms is not None:
            yield profile.location_ms + within_ms, None

    return Reading(read, series, reads=(LOCATION,))


def distance(node: Distance) -> Leaf:
    """Compile a predicate of a distance."""
    reading, test = distance_reading(node.figure), exact_test("avg", node.test)

    def holds(profile: Profile, now_ms: int) -> bool:
        return test.holds(reading.read(profile, now_ms), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        later = [at for at, _ in reading.series(profile, now_ms)][1:]
        return later[0] if later else None

    return Leaf(holds, edge if node.figure.within_ms is not None else never, reads=reading.reads)
