"""The split of decisions by time: what a model is fitted on, calibrated on, and measured on.

Between two periods lies a gap of one horizon, so that everything that was known of one was known before the
next began. A split by row would put decisions with the same outcome on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from segops.core.training.decisions import Decision

#: The parts of the time after which calibration and measuring begin, of that in which outcomes are known.
CALIBRATED_FROM: Final = 0.5
MEASURED_FROM: Final = 0.7


class Leak(ValueError):
    """The model would know what it is to foretell."""


class Periods(msgspec.Struct, frozen=True):
    """Decisions before ``calibrated_ms`` are fitted, those before ``measured_ms`` calibrate, less a gap."""

    calibrated_ms: int
    measured_ms: int


class Split(msgspec.Struct, frozen=True):
    """The decisions of each period, by their instants."""

    fitted: list[Decision]
    calibrated: list[Decision]
    measured: list[Decision]


def periods(first_ms: int, last_ms: int, horizon_ms: int) -> Periods:
    """Return the periods of decisions between two instants.

    >>> periods(0, 100, 10)
    Periods(calibrated_ms=50, measured_ms=70)
    """
    span = last_ms - first_ms
    calibrated = max(first_ms + round(span * CALIBRATED_FROM), first_ms + horizon_ms)
    return Periods(calibrated, max(first_ms + round(span * MEASURED_FROM), calibrated + horizon_ms))


def split(decisions: Iterable[Decision], of: Periods, horizon_ms: int) -> Split:
    """Split decisions by time. Those in a gap are in no period."""
    found = Split([], [], [])
    for each in sorted(decisions, key=lambda each: each.at_ms):
        if each.at_ms >= of.measured_ms:
            found.measured.append(each)
        elif each.at_ms >= of.calibrated_ms:
            if each.at_ms + horizon_ms < of.measured_ms:
                found.calibrated.append(each)
        elif each.at_ms + horizon_ms < of.calibrated_ms:
            found.fitted.append(each)
    return found


def check_split(found: Split, horizon_ms: int) -> None:
    """Raise Leak unless all of each period was known before the next one began."""
    _check_gap("fitted", found.fitted, [*found.calibrated, *found.measured], horizon_ms)
    _check_gap("calibrated", found.calibrated, found.measured, horizon_ms)


def _check_gap(name: str, before: Sequence[Decision], after: Sequence[Decision], horizon_ms: int) -> None:
    if not before or not after:
        return
    known_ms = max(each.at_ms for each in before) + horizon_ms
    begins_ms = min(each.at_ms for each in after)
    if known_ms >= begins_ms:
        late = (known_ms - begins_ms) / 3_600_000
        raise Leak(
            f"decisions that are {name} were known {late:,.1f} h after later ones began: split by time"
        )
