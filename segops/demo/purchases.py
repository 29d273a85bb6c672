"""CDNOW's purchase history as ``Order Completed`` events.

A line of the file is a customer, a day, a number of CDs and an amount in dollars. The time of day is missing:
each customer's day gets one between 08:00 and 20:00 UTC, determined by customer and day alone, and further
purchases on the same day follow at intervals of seven minutes, in the order of the file. Each customer has an
e-mail address, and nine of ten have agreed to be written to; both are determined by the customer alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from segops.core.errors import UserError
from segops.core.values import datetime_ms
from segops.demo.input_events import InputEvent, input_event
from segops.demo.wheels import data_file

_OPENS_MS: Final = 8 * 3_600_000
_OPEN_FOR_MS: Final = 12 * 3_600_000
_APART_MS: Final = 7 * 60_000
_PROFILE: Final = "user_id:"


def purchases_file() -> Path:
    """Return the path of the history. Raises UserError if it is not installed."""
    return data_file("lifetimes", "CDNOW_master.txt")


def read_purchases(path: Path) -> Iterator[InputEvent]:
    """Yield every purchase of the file in order. Raises UserError for an invalid line."""
    with path.open(encoding="ascii") as file:
        next(file, None)  # the header
        yield from purchases(file)


def purchases(lines: Iterable[str]) -> Iterator[InputEvent]:
    """Yield the purchases in lines without the header.

    >>> [order] = purchases(["00001 19970101  1   11.77"])
    >>> order.message_id, order.profile
    ('cdnow-00001', 'c00001')

    Raises UserError for an invalid line.
    """
    per_day: Counter[tuple[str, str]] = Counter()
    for number, line in enumerate(lines, 1):
        try:
            customer, day, quantity, amount = line.split()
            time_ms = _day_ms(day) + _time_of_day_ms(customer, day, per_day[customer, day])
            yield _order(number, time_ms, customer, int(quantity), float(amount))
        except ValueError as error:
            raise UserError(f"invalid purchase {number} {line.strip()!r}: {error}") from None
        per_day[customer, day] += 1


def _order(number: int, time_ms: int, customer: str, quantity: int, amount: float) -> InputEvent:
    properties = {
        "order_id": f"order-{number:05d}",
        "revenue": amount,
        "currency": "USD",
        "quantity": quantity,
    }
    profile = f"c{customer}"
    call: dict[str, Any] = {
        "type": "track",
        "event": "Order Completed",
        "userId": profile,
        "properties": properties,
    }
    traits = {"email": _address(profile), "consent": {"marketing": _has_agreed(profile)}}
    call["context"] = {"traits": traits}
    return input_event(time_ms, f"cdnow-{number:05d}", profile, call)


def reachable_at(profile_id: str) -> str | None:
    """Return the e-mail address of a profile; None of a profile that must not be written to.

    >>> reachable_at("user_id:c00004"), reachable_at("user_id:w0815")
    ('c00004@shop.example', None)
    """
    customer = profile_id.removeprefix(_PROFILE)
    return _address(customer) if customer.startswith("c") and _has_agreed(customer) else None


def _address(customer: str) -> str:
    return f"{customer}@shop.example"


def _has_agreed(customer: str) -> bool:
    return crc32(f"{customer}|consent".encode()) % 10 != 0


@lru_cache(maxsize=1_000)
def _day_ms(day: str) -> int:
    return datetime_ms(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC))


def _time_of_day_ms(customer: str, day: str, earlier: int) -> int:
    return _OPENS_MS + crc32(f"{customer}|{day}".encode()) % _OPEN_FOR_MS + earlier * _APART_MS
