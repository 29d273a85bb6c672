"""Conversions of values before a test or an aggregate reads them (``SPEC.md#conversions``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from segops.core.operators import Predicate
from segops.core.values import as_text, exact, format_instant, kind, parse_instant

#: 0001-01-01 and the end of 9999, in milliseconds: the dates that ISO 8601 can say.
_FIRST_MS: Final = -62_135_596_800_000
_LAST_MS: Final = 253_402_300_799_999
_NUMBER = re.compile(r"\s*([+-]?[0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*", re.ASCII)
_LONGEST: Final = 64
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


class Converted(Predicate, frozen=True):
    """A predicate of the value that a conversion makes of another; a value that it cannot read is missing.

    >>> Converted((("gte", 50),), "number").holds("59.90", 0)
    True
    """

    convert: str

    @property
    def plain(self) -> Predicate:
        """The predicate of a value that is already ``converted``."""
        return Predicate(self.ops)

    def converted(self, value: Any) -> Any:
        """Return what the operators read of a value."""
        return CONVERSIONS[self.convert](value)

    def holds(self, value: Any, now_ms: int) -> bool:
        """Return whether the converted value satisfies every operator at ``now_ms``."""
        return Predicate.holds(self, self.converted(value), now_ms)

    def next_edge(self, value: Any, now_ms: int) -> int | None:
        """Return the earliest instant after ``now_ms`` at which the verdict could change, or None."""
        return Predicate.next_edge(self, self.converted(value), now_ms)


def as_number(value: Any) -> Any:
    """Return a number as it is, and a text that is a decimal number as JSON reads it; None for another value.

    >>> as_number("59.90"), as_number(" -7 "), as_number("1e3"), as_number("5 EUR"), as_number(True)
    (59.9, -7, 1000.0, None, None)
    """
    if kind(value) == "number":
        return value
    found = _NUMBER.fullmatch(value) if value.__class__ is str and len(value) <= _LONGEST else None
    if found is None:
        return None
    if found[2] is None and found[3] is None and _LEAST <= (whole := int(found[1])) <= _MOST:
        return whole
    number = float(value)
    return number if isfinite(number) else None


def as_date(value: Any) -> str | None:
    """Return a date, in any notation that date operators read, as an instant in UTC; None for another value.

    >>> as_date("2026-01-31"), as_date("soon")
    ('2026-01-31T00:00:00.000Z', None)
    """
    return _instant(parse_instant(value)) if value.__class__ is str else None


def as_epoch_s(value: Any) -> str | None:
    """Return a number of seconds since 1970, as a number or a text, as an instant in UTC.

    >>> as_epoch_s(1_767_225_600), as_epoch_s("0.0015"), as_epoch_s(1e300)
    ('2026-01-01T00:00:00.000Z', '1970-01-01T00:00:00.001Z', None)
    """
    return _epoch(value, 1_000)


def as_epoch_ms(value: Any) -> str | None:
    """Return a number of milliseconds since 1970, as a number or a text, as an instant in UTC.

    >>> as_epoch_ms("1767225600000")
    '2026-01-01T00:00:00.000Z'
    """
    return _epoch(value, 1)


def _epoch(value: Any, unit_ms: int) -> str | None:
    number = as_number(value)
    if number is None or not abs(number) <= _LAST_MS:
        return None
    return _instant(int((exact(number) * unit_ms).__floor__()))


def _instant(ms: int | None) -> str | None:
    return None if ms is None or not _FIRST_MS <= ms <= _LAST_MS else format_instant(ms)


#: The word after ``as`` -> the conversion; it returns None for a value that it cannot read.
CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "number": as_number,
    "epoch_s": as_epoch_s,
    "epoch_ms": as_epoch_ms,
    "date": as_date,
    "text": as_text,
}
