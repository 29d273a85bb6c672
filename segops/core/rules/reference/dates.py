"""The dates in values, for the slow and obvious evaluator."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor
from typing import Any

from segops.core.conversions import CONVERSIONS
from segops.core.rules.reference.values import exact, is_number
from segops.core.values import parse_instant


def dates_in(values: Any) -> set[int]:
    """Return the instants that values may say, as dates or as seconds or milliseconds since 1970.

    >>> sorted(dates_in({"trial": {"ends": "1970-01-02"}, "visits": [7]}))
    [7, 7000, 86400000]
    """
    dates = {parse_instant(text) for text in texts_in(values)}
    epochs = {floor(exact(number) * unit) for number in _numbers(values) for unit in (1, 1_000)}
    return {date for date in dates if date is not None} | epochs


def texts_in(value: Any) -> Iterable[str]:
    """Yield the texts in a value.

    >>> list(texts_in({"a": ["b", {"c": "d"}], "e": 1}))
    ['b', 'd']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from texts_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)


def _numbers(value: Any) -> Iterable[Any]:
    """Yield the numbers in a value, also those that are texts, which a rule may read as dates."""
    if is_number(value) or isinstance(value, str):
        number = CONVERSIONS["number"](value)
        yield from () if number is None else (number,)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
