"""Durations, instants, property paths, and what kind a value is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import msgspec

UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
#: Latest instant that a rule may speak of, and the longest duration (about 31,700 years).
MAX_MS = 10**15

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UTC = datetime(1970, 1, 1)  # noqa: DTZ001 - without a zone it prints none
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
    """Milliseconds of ``<whole number><unit>``, unit one of ms s m h d w.

    >>> parse_duration("48h"), parse_duration("2w")
    (172800000, 1209600000)

    Raises ValueError for anything else.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is no duration: write a whole number and ms, s, m, h, d or w, as in 48h")
    ms = int(match[1]) * UNIT_MS[match[2]]
    if ms > MAX_MS:
        raise ValueError(f"{text!r} is longer than any window can be")
    return ms


def format_duration(ms: int) -> str:
    """The shortest way to write a duration.

    >>> format_duration(172_800_000), format_duration(90_000), format_duration(0)
    ('2d', '90s', '0ms')
    """
    for unit in ("w", "d", "h", "m", "s"):
        if ms and ms % UNIT_MS[unit] == 0:
            return f"{ms // UNIT_MS[unit]}{unit}"
    return f"{ms}ms"


def datetime_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, rounded down; a moment without an offset is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000 + delta.microseconds // 1_000


@lru_cache(maxsize=65_536)
def parse_instant(text: str) -> int | None:
    """Milliseconds since the epoch of an ISO-8601 string; None if it is none.

    A date alone is midnight UTC, and no offset means UTC.

    >>> parse_instant("1970-01-02"), parse_instant("1970-01-01T01:00:00+01:00"), parse_instant("soon")
    (86400000, 0, None)
    """
    try:
        return datetime_ms(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def format_instant(ms: int) -> str:
    """ISO-8601 (and RFC 3339) in UTC with milliseconds.

    >>> format_instant(86_400_001)
    '1970-01-02T00:00:00.001Z'
    """
    return f"{(_EPOCH_UTC + timedelta(milliseconds=ms)).isoformat(timespec='milliseconds')}Z"


def kind(value: object) -> str:
    """``number``, ``string``, ``boolean``, ``list`` or ``object``; ``missing`` for None.

    >>> [kind(v) for v in (20, 20.0, True, "x", None)]
    ['number', 'number', 'boolean', 'string', 'missing']
    """
    return _KINDS.get(value.__class__, "missing")


def equal(a: object, b: object) -> bool:
    """Equality within a kind: 20 is 20.0, true is not 1.

    >>> equal(20, 20.0), equal(True, 1), equal("1", 1)
    (True, False, False)
    """
    return a == b and kind(a) == kind(b)


def lookup(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path, or None when it is missing. Absent and null are the same.

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
    """A number as the decimal that it was written as.

    >>> exact(0.1) + exact(0.2)
    Decimal('0.3')
    """
    return Decimal(repr(value)) if value.__class__ is float else Decimal(value)


def add_exact(a: Decimal, b: Decimal) -> Decimal:
    """A sum that never rounds.

    >>> add_exact(Decimal(10**40), Decimal("0.1"))
    Decimal('10000000000000000000000000000000000000000.1')
    """
    return _EXACT.add(a, b)


def subtract_exact(a: Decimal, b: Decimal) -> Decimal:
    """A difference that never rounds.

    >>> subtract_exact(Decimal("0.3"), Decimal("0.1"))
    Decimal('0.2')
    """
    return _EXACT.subtract(a, b)


def multiply_exact(a: Decimal, b: int) -> Decimal:
    """A product that never rounds.

    >>> multiply_exact(Decimal("0.1"), 3)
    Decimal('0.3')
    """
    return _EXACT.multiply(a, b)


def share_of(salt: str, profile_id: str) -> int:
    """Where a profile falls under a salt, in hundredths of a percent: 0 to 9,999 (RULES section 2, bucket).

    >>> share_of("spring", "user_id:u1")
    2044
    """
    digest = hashlib.sha256(f"{salt}:{profile_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 10_000


def distinct_key(value: Any) -> str:
    """A text that two values share exactly when they are equal (``equal``).

    >>> distinct_key(20) == distinct_key(20.0), distinct_key(1) == distinct_key(True)
    (True, False)
    """
    if value.__class__ is str:
        return "s" + value
    if value.__class__ is float and value.is_integer():
        return f"n{int(value)}"
    if kind(value) == "number":
        return f"n{value!r}"
    return "j" + msgspec.json.encode(value, order="sorted").decode()
