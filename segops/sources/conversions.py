"""The conversions of mapped values: ``as: cents``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from math import floor
from typing import Any, Final
from uuid import UUID

import msgspec

from segops.core.values import MAX_MS, exact, format_instant, kind, parse_instant

_EPOCH_DAY: Final = date(1970, 1, 1)
_LONGEST_NUMBER: Final = 64
#: ISO 8601 knows the years 1 to 9999.
_LEAST_MS: Final = -62_135_596_800_000
_GREATEST_MS: Final = 253_402_300_799_999


def plain(value: Any) -> Any:
    """Return a decoded value as JSON has it: times as ISO-8601 text in UTC, bytes as text where they are.

    >>> plain({"at": datetime(2026, 3, 1, 10, tzinfo=UTC), "day": date(2026, 3, 1), "raw": b"x"})
    {'at': '2026-03-01T10:00:00.000Z', 'day': '2026-03-01', 'raw': 'x'}
    """
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    convert = _PLAIN.get(value.__class__)
    return value if convert is None else convert(value)


def _from_datetime(value: datetime) -> str:
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return format_instant((aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))


def _from_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    datetime: _from_datetime,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
    bytes: _from_bytes,
    UUID: str,
}


def _string(value: Any) -> str:
    if value.__class__ is str:
        return str(value)
    if value.__class__ is bool:
        return "true" if value else "false"
    if value.__class__ is float and value.is_integer():
        return str(int(value))
    if kind(value) == "number":
        return str(value)
    raise ValueError("a text, a number or a boolean")


def _number(value: Any) -> int | float | Decimal:
    if kind(value) == "number":
        return exact(value) if value.__class__ is float else value
    text = value.strip() if value.__class__ is str else ""
    try:
        number = Decimal(text) if len(text) <= _LONGEST_NUMBER else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
        raise ValueError("a number")
    return int(number) if number == number.to_integral_value() and "." not in text else number


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower() if value.__class__ in (bool, int, str) else ""
    if word not in _BOOLEANS:
        raise ValueError("true, false, yes, no, 1 or 0")
    return _BOOLEANS[word]


_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "t", "y", "1"), True),
    **dict.fromkeys(("false", "no", "f", "n", "0"), False),
}


def _since_epoch(unit: str, per_ms: Decimal) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        try:
            ms = floor(Decimal(_number(value)) * per_ms)
        except (ValueError, InvalidOperation):
            raise ValueError(f"{unit} since 1970") from None
        if not _LEAST_MS <= ms <= _GREATEST_MS:
            raise ValueError(f"{unit} since 1970, up to the year 9999")
        return format_instant(ms)

    return convert


def _iso_time(value: Any) -> str:
    ms = parse_instant(value) if value.__class__ is str else None
    if ms is None or abs(ms) > MAX_MS:
        raise ValueError("an ISO-8601 date or time")
    return format_instant(ms)


def _day(value: Any) -> str:
    if value.__class__ is not int:
        raise ValueError("days since 1970")
    try:
        return (_EPOCH_DAY + timedelta(days=value)).isoformat()
    except OverflowError:
        raise ValueError("days since 1970, up to the year 9999") from None


def _cents(value: Any) -> Decimal:
    try:
        return Decimal(_number(value)).scaleb(-2)
    except ValueError:
        raise ValueError("a number of cents") from None


def _json(value: Any) -> Any:
    if value.__class__ is not str:
        raise ValueError("a text with JSON")
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise ValueError("a text with JSON") from None


#: Name -> the conversion. Each raises ValueError with what it expected.
CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "string": _string,
    "number": _number,
    "boolean": _boolean,
    "unix_seconds": _since_epoch("seconds", Decimal(1_000)),
    "unix_millis": _since_epoch("milliseconds", Decimal(1)),
    "unix_micros": _since_epoch("microseconds", Decimal("0.001")),
    "unix_days": _day,
    "iso_time": _iso_time,
    "cents": _cents,
    "json": _json,
}
