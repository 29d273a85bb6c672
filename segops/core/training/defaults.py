"""The features that a model of what follows has by default, in the form of a model file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

#: What stands for the days since an event that never occurred: about log(1 + 365).
NEVER: Final = 5.9
_OF: Final[Mapping[str, str]] = {
    "views": "Product Viewed",
    "carts": "Product Added",
    "orders": "Order Completed",
    "events": "any_event",
}
_WINDOWS: Final = ("1h", "24h", "7d", "30d")

_Row = tuple[str, dict[str, Any], str]
#: Name of a feature, its figure as written, and its transform.
_OTHERS: Final[tuple[_Row, ...]] = (
    ("checkouts_24h", {"did": "Checkout Started", "within": "24h"}, "log1p"),
    ("carts_6h", {"did": "Product Added", "within": "6h"}, "log1p"),
    ("events_15m", {"did": "any_event", "within": "15m"}, "log1p"),
    ("events_6h", {"did": "any_event", "within": "6h"}, "log1p"),
    ("orders", {"did": "Order Completed"}, "log1p"),
    ("tenure", {"days_since_first": "any_event"}, "days_log1p"),
    ("order_value", {"avg": "revenue", "as": "number", "of": "Order Completed"}, "log1p"),
    ("cart_value_24h", {"sum": "price", "as": "number", "of": "Product Added", "within": "24h"}, "log1p"),
    ("price_latest", {"latest": "price", "as": "number", "of": "Product Viewed", "within": "30d"}, "log1p"),
    ("price_mean", {"avg": "price", "as": "number", "of": "Product Viewed", "within": "30d"}, "log1p"),
    (
        "in_the_evening",
        {"did": "any_event", "time_of_day": {"from": "18:00", "to": "24:00"}, "within": "1h"},
        "log1p",
    ),
    (
        "at_night",
        {"did": "any_event", "time_of_day": {"from": "00:00", "to": "08:00"}, "within": "1h"},
        "log1p",
    ),
    ("on_weekend", {"did": "any_event", "time_of_day": {"days": ["sat", "sun"]}, "within": "24h"}, "log1p"),
    # The hour and the weekday as waves, since a day and a week are circles: neighbours are alike, and two
    # numbers per wave are learnt from hundreds of decisions, of which an indicator of each hour has few.
    *((f"hour_{wave}", {"clock": "hour"}, wave) for wave in ("sine", "cosine", "sine_2", "cosine_2")),
    *((f"weekday_{wave}", {"clock": "weekday"}, wave) for wave in ("sine", "cosine")),
)


def _rows() -> Iterator[_Row]:
    for of, name in _OF.items():
        yield from ((f"{of}_{window}", {"did": name, "within": window}, "log1p") for window in _WINDOWS)
        yield f"days_since_{of}", {"days_since_last": name}, "days_log1p"
    yield from _OTHERS


def _form(row: _Row, zone: str) -> dict[str, Any]:
    name, figure, transform = row
    if "clock" in figure:
        figure = figure | {"zone": zone}
    if "time_of_day" in figure:
        figure = figure | {"time_of_day": figure["time_of_day"] | {"zone": zone}}
    form = {"name": name, "figure": figure, "transform": transform}
    return form | {"missing": NEVER} if name.startswith("days_since") else form


def default_features(zone: str) -> list[dict[str, Any]]:
    """Return the features, with days and hours by the clocks of a time zone.

    >>> default_features("Europe/Paris")[-1]["figure"]
    {'clock': 'weekday', 'zone': 'Europe/Paris'}
    """
    return [_form(row, zone) for row in _rows()]
