"""What a compiled rule reads of a figure."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import msgspec

from segops.core.features import Feature
from segops.core.features.bands import Series
from segops.core.profile import Profile
from segops.core.values import exact, kind

DAY_MS: Final = 86_400_000


class Reading(msgspec.Struct, frozen=True):
    """How a rule reads a figure: its value on a profile at an instant, and its values from an instant on.

    A figure in days (``ages``) is read as the instant from which the days count: ``value`` converts it.
    """

    read: Callable[[Profile, int], Any]
    series: Callable[[Profile, int], Series]
    ages: bool = False
    features: tuple[Feature, ...] = ()
    traits: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def value(self, read: Any, now_ms: int) -> Any:
        """Return the value at ``now_ms`` of what was read; None if it is missing. Numbers are exact."""
        return (now_ms - read) // DAY_MS if self.ages and read is not None else read


def exact_number(value: Any) -> Any:
    """Return a value; a number with a fraction as the exact fraction that was written."""
    if value.__class__ is int or kind(value) != "number":
        return value
    return value if value.__class__ is Fraction else Fraction(exact(value))
