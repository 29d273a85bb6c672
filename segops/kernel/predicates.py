"""Predicates in the form that the kernel reads (``src/predicate.rs``), and questions about the others."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from segops.core.operators import Predicate
from segops.core.refresh import Refresh
from segops.core.values import exact, kind
from segops.core.windows import Calendar

_ORDERED: Final = frozenset(("eq", "ne", "lt", "lte", "gt", "gte"))
_SEVERAL: Final = frozenset(("in", "not_in", "between"))
_TEXTS: Final = frozenset(("contains", "starts_with", "ends_with"))
#: The operators of dates.
DATES: Final = frozenset(("before", "after", "in_last", "in_next", "older_than", "newer_than"))


class LeftToPythonError(Exception):
    """A node, a predicate or a feature that the kernel does not evaluate."""


class OtherFloatsError(LeftToPythonError):
    """A score that the kernel would evaluate, if it computed floats as this Python does."""


class LocationTest:
    """A predicate of a location: its latitude and longitude in degrees."""

    timed = False

    def __init__(self, fits: Callable[[tuple[float, float]], bool]) -> None:
        self._fits = fits

    def holds(self, value: Any, _now_ms: int) -> bool:
        """Return whether a location satisfies it."""
        return self._fits((value[0], value[1]))

    def next_edge(self, _value: Any, _now_ms: int) -> int | None:
        """Return None: time alone changes nothing."""


class Asked:
    """What Python is asked about, each once, by number."""

    def __init__(self) -> None:
        #: In order; not united, since 1 and true are equal.
        self.tests: list[Predicate | LocationTest] = []
        self.calendars: dict[Calendar, int] = {}
        self.refreshes: dict[Refresh, int] = {}

    def test(self, test: Predicate | LocationTest) -> int:
        """Return the number of a predicate."""
        self.tests.append(test)
        return len(self.tests) - 1

    def calendar(self, calendar: Calendar) -> int:
        """Return the number of a calendar."""
        return self.calendars.setdefault(calendar, len(self.calendars))

    def refresh(self, refresh: Refresh) -> int:
        """Return the number of a refresh."""
        return self.refreshes.setdefault(refresh, len(self.refreshes))


def plain_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path that the kernel reads. Raises LeftToPythonError for one outside of the properties."""
    if not path or not path[0]:
        raise LeftToPythonError(path)  # of the context, of a look-up, or the time
    return path


def condition(test: Predicate, asked: Asked, *, dates: bool = False) -> list[Any] | int:
    """Return a predicate, or its number if Python is asked about it."""
    try:
        return predicate(test, dates=dates)
    except LeftToPythonError:
        return asked.test(test)


def predicate(test: Predicate, *, dates: bool = False) -> list[Any]:
    """Return a predicate of a value. Raises LeftToPythonError."""
    if test.__class__ is not Predicate:
        raise LeftToPythonError(test)  # of a converted value
    return [[name, _operand(name, operand, dates=dates)] for name, operand in test.ops]


def _operand(name: str, operand: Any, *, dates: bool) -> Any:
    if name in _ORDERED:
        return literal(operand)
    if name in _SEVERAL:
        return [literal(each) for each in operand]
    if name in _TEXTS or name == "exists" or (dates and name in DATES):
        return operand
    raise LeftToPythonError(name)


def literal(value: Any) -> Any:
    """Return an operand that the kernel compares exactly. Raises LeftToPythonError."""
    of = kind(value)
    if of in ("string", "boolean"):
        return value
    if of != "number" or not isinstance(value, int | float) or not isfinite(value):
        raise LeftToPythonError(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise LeftToPythonError(value)
    return value


def exact_predicate(test: Predicate) -> list[Any]:
    """Return a predicate of a sum, its numbers as texts of the decimals that were written."""
    found = []
    for name, operand in test.ops:
        if name == "exists":
            found.append([name, operand])
        elif name in _ORDERED:
            found.append([name, decimal_text(operand)])
        elif name in _SEVERAL:
            found.append([name, [decimal_text(each) for each in operand]])
        else:
            raise LeftToPythonError(name)
    return found


def decimal_text(value: Any) -> str:
    """Return the text of a number as the decimal that was written. Raises LeftToPythonError."""
    if kind(value) != "number":
        raise LeftToPythonError(value)
    return str(exact(value))
