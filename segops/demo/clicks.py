"""A shop's clickstream as calls of the Segment spec, shifted into the time of the purchase history.

Visitors are anonymous until they log in, which they do before viewing their account or entering payment
details. Steps get the event names of Segment's e-commerce spec. An ``identify`` with the acquisition channel
precedes a visitor's first step.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from segops.core.errors import UserError
from segops.core.values import datetime_ms
from segops.demo.input_events import InputEvent, input_event
from segops.demo.wheels import data_file

#: Shifts the log's first day, Thursday 2024-01-04, to Thursday 1997-09-04: whole weeks keep the weekdays.
SHIFT_MS: Final = 9_618 * 86_400_000

#: Step in the log -> type and name of the call.
CALLS: Final[Mapping[str, tuple[str, str]]] = {
    "home": ("page", "Home"),
    "account_page": ("page", "Account"),
    "review_page": ("page", "Reviews"),
    "error_page": ("page", "Error"),
    "promo_page": ("track", "Promotion Viewed"),
    "catalog": ("track", "Product List Viewed"),
    "search": ("track", "Products Searched"),
    "filter_results": ("track", "Product List Filtered"),
    "product_view": ("track", "Product Viewed"),
    "compare": ("track", "Products Compared"),
    "wishlist_add": ("track", "Product Added to Wishlist"),
    "add_to_cart": ("track", "Product Added"),
    "cart": ("track", "Cart Viewed"),
    "shipping_details": ("track", "Checkout Started"),
    "payment_details": ("track", "Payment Info Entered"),
    "payment_error": ("track", "Payment Failed"),
    "checkout_bug": ("track", "Checkout Failed"),
    "purchase": ("track", "Order Completed"),
    "support_chat": ("track", "Support Chat Started"),
}

#: Steps that require a log-in first.
_KNOWN_AT: Final = frozenset({"account_page", "payment_details"})


def clicks_file() -> Path:
    """Return the path of the clickstream. Raises UserError if it is not installed."""
    return data_file("retentioneering", "ecom.csv.gz")


def read_clicks(path: Path) -> Iterator[InputEvent]:
    """Yield every step of the log in order. Raises UserError for an invalid row."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from clicks(csv.DictReader(file))


def clicks(rows: Iterable[Mapping[str, str]]) -> Iterator[InputEvent]:
    """Yield the steps of the rows, with an ``identify`` before each visitor's first step and each log-in.

    Raises UserError for an invalid row.
    """
    known: set[str] = set()
    members: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 1):
        try:
            time_ms = _instant_ms(row["timestamp"]) - SHIFT_MS
            if row["user_id"] not in known:
                known.add(row["user_id"])
                yield _identify(time_ms - 1, row)
            if row["event"] in _KNOWN_AT and row["user_id"] not in members:
                members[row["user_id"]] = {"userId": f"w{row['user_id'].removeprefix('user_')}"}
                yield _login(number, time_ms, row["user_id"], members[row["user_id"]])
            yield _step(number, time_ms, row, members.get(row["user_id"], {}))
        except (KeyError, ValueError) as error:
            raise UserError(f"clickstream: invalid row {number}: {error!r}") from None


def _identify(time_ms: int, row: Mapping[str, str]) -> InputEvent:
    visitor = row["user_id"]
    traits = {"acquisition_channel": row["acquisition_channel"], "cohort": row["user_cohort"]}
    call = {"type": "identify", "anonymousId": visitor, "traits": traits}
    return input_event(time_ms, f"shop-{visitor}", visitor, call)


def _login(number: int, time_ms: int, visitor: str, member: Mapping[str, str]) -> InputEvent:
    call = {"type": "identify", "anonymousId": visitor, "traits": {"registered": True}, **member}
    # Sorts after the visitor's previous step, even within the same second, and before this one.
    return input_event(time_ms, f"shop-{number - 1:05d}-login", visitor, call)


def _step(number: int, time_ms: int, row: Mapping[str, str], member: Mapping[str, str]) -> InputEvent:
    kind, name = CALLS[row["event"]]
    visitor = row["user_id"]
    properties = {
        "session_id": row["session_id"],
        "platform": row["platform"],
        "lifecycle": row["user_lifecycle"],
    }
    call: dict[str, Any] = {"type": kind, "event" if kind == "track" else "name": name}
    call |= {"anonymousId": visitor, "properties": properties, **member}
    return input_event(time_ms, f"shop-{number:05d}", visitor, call)


def _instant_ms(written: str) -> int:
    return datetime_ms(datetime.fromisoformat(written).replace(tzinfo=UTC))
