"""Durations, instants, property paths, exact arithmetic, and the kinds of values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache, reduce
from math import isfinite
from typing import Any

import msgspec

UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
#: The latest instant and the longest duration that a rule may use (about 31,700 years).
MAX_MS = 10**15

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UTC = datetime(1970, 1, 1)  # noqa: DTZ001 - without a zone it prints none
_MILLISECOND = timedelta(milliseconds=1)
_LOOSE = re.compile(r"\s*([\d-]+)(?:T|\s+)([\d:.,]+)\s*(?:Z|UTC|([+-][\d:]+))?\s*", re.ASCII | re.IGNORECASE)
_LONGEST = 64
_DURATION = re.compile(r"([0-9]{1,18})(ms|s|m|h|d|w)")
_EXACT = Context(prec=10_000, Emax=999_999_999, Emin=-999_999_999)
_KINDS = {
    int: "number",
    float: "number",
    Decimal: "number",
    Fraction: "number",
    str: "string",
    bool: "boolean",
    list: "list",
    dict: "object",
}


def parse_duration(text: object) -> int:
    """Return the milliseconds in ``<whole number><unit>``, with the unit ms, s, m, h, d or w.

    >>> parse_duration("48h"), parse_duration("2w")
    (172800000, 1209600000)

    Raises ValueError for anything else.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected a duration in ms, s, m, h, d or w, such as 48h, got {text!r}")
    ms = int(match[1]) * UNIT_MS[match[2]]
    if ms > MAX_MS:
        raise ValueError(f"expected a duration of at most {MAX_MS:,} ms, got {text!r}")
    return ms


def format_duration(ms: int) -> str:
    """Return the shortest notation of a duration.

    >>> format_duration(172_800_000), format_duration(90_000), format_duration(0)
    ('2d', '90s', '0ms')
    """
    for unit in ("w", "d", "h", "m", "s"):
        if ms and ms % UNIT_MS[unit] == 0:
            return f"{ms // UNIT_MS[unit]}{unit}"
    return f"{ms}ms"


def datetime_ms(time: datetime) -> int:
    """Return the milliseconds since the epoch, rounded down; a time without an offset is UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MILLISECOND


def parse_datetime(text: str) -> datetime | None:
    """Parse an ISO-8601 string, with its offset; return None if it is invalid or outside the years 1 to 9999.

    A date without a time is midnight UTC, and no offset means UTC. Lower-case ``t`` and ``z``, blanks instead
    of ``T`` and before the offset, and ``UTC`` instead of ``Z`` are accepted.

    >>> parse_datetime("2026-03-01 10:00:05 UTC") == parse_datetime("2026-03-01t11:00:05+01:00")
    True
    """
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        found = _read_loosely(text)
        if found is None:
            return None
        parsed = found
    if parsed.tzinfo is None:
        return parsed.replace(tzinfo=UTC)
    return parsed if 1 < parsed.year < MAXYEAR or _is_within_years(parsed) else None


def _read_loosely(text: str) -> datetime | None:
    found = _LOOSE.fullmatch(text) if len(text) <= _LONGEST else None
    try:
        return None if found is None else datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or 'Z'}")
    except ValueError:
        return None


def _is_within_years(parsed: datetime) -> bool:
    try:
        parsed.astimezone(UTC)
    except OverflowError:
        return False
    return True


@lru_cache(maxsize=65_536)
def parse_instant(text: str) -> int | None:
    """Return the milliseconds since the epoch of a string that ``parse_datetime`` accepts, else None.

    >>> parse_instant("1970-01-02"), parse_instant("1970-01-01T01:00:00+01:00"), parse_instant("soon")
    (86400000, 0, None)
    """
    parsed = parse_datetime(text)
    return None if parsed is None else (parsed - _EPOCH) // _MILLISECOND


def format_instant(ms: int) -> str:
    """Format an instant as ISO 8601 (and RFC 3339) in UTC with milliseconds.

    >>> format_instant(86_400_001)
    '1970-01-02T00:00:00.001Z'
    """
    return f"{(_EPOCH_UTC + timedelta(milliseconds=ms)).isoformat(timespec='milliseconds')}Z"


def kind(value: object) -> str:
    """Return ``number``, ``string``, ``boolean``, ``list`` or ``object``; ``missing`` for None.

    >>> [kind(v) for v in (20, 20.0, True, "x", None)]
    ['number', 'number', 'boolean', 'string', 'missing']
    """
    return _KINDS.get(value.__class__, "missing")


def as_text(value: Any) -> str | None:
    """Return a text as it is, a number without needless zeros, ``true`` or ``false``; None for another value.

    >>> as_text(12345.0), as_text(0.5), as_text(True), as_text("x"), as_text([1])
    ('12345', '0.5', 'true', 'x', None)
    """
    if value.__class__ is str:
        return value
    if value.__class__ is bool:
        return "true" if value else "false"
    if kind(value) != "number" or not isfinite(value):
        return None
    return str(int(value)) if value == int(value) else str(value)


def equal(a: object, b: object) -> bool:
    """Return whether two values of one kind are equal: 20 is 20.0, true is not 1, also in lists and objects.

    >>> equal(20, 20.0), equal(True, 1), equal("1", 1), equal([20], [20.0]), equal([True], [1])
    (True, False, False, True, False)
    """
    if a != b or kind(a) != kind(b):
        return False
    return a.__class__ not in (list, dict) or distinct_key(a) == distinct_key(b)


def lookup(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Return the value at a path, or None if it is missing; absent and null are the same.

    >>> lookup({"address": {"city": "Oslo"}}, ("address", "city"))
    'Oslo'
    >>> lookup({"address": "Oslo"}, ("address", "city")) is None
    True
    """
    found: Any = values
    for name in path:
        if found.__class__ is not dict:
            return None
        found = found.get(name)
    return found


def exact(value: float | int | Decimal) -> Decimal:
    """Return a number as the decimal that was written.

    >>> exact(0.1) + exact(0.2)
    Decimal('0.3')
    """
    return Decimal(repr(value)) if value.__class__ is float else Decimal(value)


def nearest(value: Fraction | Decimal) -> int | float:
    """Return the integer that an exact number is, below 2**53, or the nearest float.

    Raises OverflowError beyond the range of a float.

    >>> nearest(Fraction(6, 2)), nearest(Fraction(1, 3)), nearest(Decimal("0.30"))
    (3, 0.3333333333333333, 0.3)
    """
    near = float(value)
    return int(near) if near.is_integer() and abs(near) < 1 << 53 else near


def add_exact(a: Decimal, b: Decimal) -> Decimal:
    """Add without rounding.

    >>> add_exact(Decimal(10**40), Decimal("0.1"))
    Decimal('10000000000000000000000000000000000000000.1')
    """
    return _EXACT.add(a, b)


def subtract_exact(a: Decimal, b: Decimal) -> Decimal:
    """Subtract without rounding.

    >>> subtract_exact(Decimal("0.3"), Decimal("0.1"))
    Decimal('0.2')
    """
    return _EXACT.subtract(a, b)


def multiply_exact(a: Decimal, b: int) -> Decimal:
    """Multiply without rounding.

    >>> multiply_exact(Decimal("0.1"), 3)
    Decimal('0.3')
    """
    return _EXACT.multiply(a, b)


def numbers_of(value: Any) -> tuple[int, Decimal]:
    """Return how many numbers an event adds to a sum, and their exact total.

    >>> numbers_of(0.1), numbers_of([0.1, 0.2])
    ((1, Decimal('0.1')), (2, Decimal('0.3')))
    """
    if value.__class__ is list:
        return len(value), reduce(add_exact, map(exact, value), Decimal(0))
    return 1, exact(value)


def values_of(value: Any) -> list[Any]:
    """Return the values that an event adds to distinct values.

    >>> values_of("sx"), values_of(["sx", "sy"])
    (['sx'], ['sx', 'sy'])
    """
    return value if value.__class__ is list else [value]


def share_of(salt: str, profile_id: str) -> int:
    """Return the bucket of a profile for a salt, in hundredths of a percent: 0-9,999 (``SPEC.md#bucket``).

    >>> share_of("spring", "user_id:u1")
    2044
    """
    digest = hashlib.sha256(f"{salt}:{profile_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 10_000


def distinct_key(value: Any) -> str:
    """Return a string that two values share exactly if they are ``equal``.

    >>> distinct_key(20) == distinct_key(20.0), distinct_key(1) == distinct_key(True)
    (True, False)
    >>> distinct_key([20, {"a": 1}]) == distinct_key([20.0, {"a": 1.0}])
    True
    """
    if value.__class__ is str:
        return "s" + value
    if value.__class__ is float and value.is_integer():
        return f"n{int(value)}"
    if kind(value) == "number":
        return f"n{value!r}"
    return "j" + msgspec.json.encode(_with_whole_numbers(value), order="sorted").decode()


def _with_whole_numbers(value: Any) -> Any:
    """Return the value with each whole float as an integer."""
    if value.__class__ is list:
        return [_with_whole_numbers(item) for item in value]
    if value.__class__ is dict:
        return {name: _with_whole_numbers(item) for name, item in value.items()}
    return int(value) if value.__class__ is float and value.is_integer() else value
