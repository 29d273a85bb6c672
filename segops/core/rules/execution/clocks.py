"""The hour and the weekday in compiled rules: what clocks show while a profile's latest event is recent."""

from __future__ import annotations

from segops.core.clocks import CLOCK_MS, next_shown, shown
from segops.core.features.bands import Series
from segops.core.profile import Profile
from segops.core.rules.execution.leaf import FIRST, LATEST
from segops.core.rules.execution.readings import Reading
from segops.core.rules.figures import ClockFigure


def clock_reading(figure: ClockFigure) -> Reading:
    """Return how to read a clock.

    >>> reading = clock_reading(ClockFigure("hour", "UTC"))
    >>> list(reading.series(Profile("user_id:u1", first_ms=0, latest_ms=3), 0))[-2:]
    [(604800000, 0), (604800003, None)]
    """
    unit, zone = figure.unit, figure.zone

    def read(profile: Profile, now_ms: int) -> int | None:
        if profile.first_ms is None or now_ms - profile.latest_ms >= CLOCK_MS:
            return None
        return shown(unit, zone, now_ms)

    def series(profile: Profile, now_ms: int) -> Series:
        value = read(profile, now_ms)
        yield now_ms, value
        end_ms = profile.latest_ms + CLOCK_MS
        at = now_ms if value is not None else None
        while at is not None and (at := next_shown(unit, zone, at)) is not None and at < end_ms:
            yield at, shown(unit, zone, at)
        if value is not None:
            yield end_ms, None

    return Reading(read, series, reads=(FIRST, LATEST), values=(None, *range(figure.circle)))
