"""What a compiled rule reads of a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, Final, Protocol

import msgspec

from segops.core.features import Feature
from segops.core.features.bands import Series
from segops.core.profile import Profile
from segops.core.values import exact, kind

DAY_MS: Final = 86_400_000


class Moving(Protocol):
    """A score that moves with time alone."""

    def value(self, read: Any, now_ms: int) -> Any:
        """Return the score of what was read, at ``now_ms``; None if it is missing."""

    def next_crossing(
        self, read: Any, numbers: Sequence[Any], now_ms: int, view: Callable[[Any], Any]
    ) -> int | None:
        """Return when the ``view`` of the score next reaches, passes or leaves one of the sorted numbers."""


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
    #: From what is read at an instant to the other end of all that will be read without another event: values
    #: stay between the two. None if the end is not known.
    other_end: Callable[[Any], Any] | None = None
    #: All values that may be read, if they are few and come in no order.
    values: tuple[Any, ...] = ()
    #: Of a score that moves with time: ``read`` is what it is computed from.
    moving: Moving | None = None

    def value(self, read: Any, now_ms: int) -> Any:
        """Return the value at ``now_ms`` of what was read; None if it is missing. Numbers are exact."""
        if self.moving is not None:
            return exact_number(self.moving.value(read, now_ms))
        return (now_ms - read) // DAY_MS if self.ages and read is not None else read

    def next_crossing(self, read: Any, numbers: Iterable[Any], now_ms: int) -> int | None:
        """Return when the moving value next reaches, passes or leaves one of the numbers, or None."""
        if self.moving is None:
            return None
        return self.moving.next_crossing(read, sorted(numbers), now_ms, exact_number)


def exact_number(value: Any) -> Any:
    """Return a value; a number with a fraction as the exact fraction that was written."""
    if value.__class__ is int or kind(value) != "number":
        return value
    return value if value.__class__ is Fraction else Fraction(exact(value))
