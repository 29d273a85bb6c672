"""The formats that a schema may ask of a string, checked in time linear in its length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from segops.core.operators import pattern
from segops.core.values import parse_datetime


def matching(text: str) -> Callable[[str], bool]:
    """Return the check whether a regular expression is found in a string."""
    search = pattern(text).search
    return lambda value: search(value) is not None


def _read_by(read: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            return read(value) is not None
        except ValueError:
            return False

    return check


_DAY: Final = matching(r"^\d{4}-\d{2}-\d{2}$")
_INSTANT: Final = matching(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:?\d{2})$")
_IS_DAY: Final = _read_by(date.fromisoformat)
_IS_INSTANT: Final = _read_by(parse_datetime)

FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "date": lambda value: _DAY(value) and _IS_DAY(value),
    "date-time": lambda value: _INSTANT(value) and _IS_INSTANT(value),
    "email": matching(r"^[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)*$"),
    "hostname": matching(r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+$"),
    "ipv4": _read_by(IPv4Address),
    "ipv6": _read_by(IPv6Address),
    "uri": matching(r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$"),
    "uuid": matching(r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"),
}
