"""The parser of a segment's ``alert`` block."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from segops.core.rules.alerts import DEFAULT_FLOOR, WHOLE, Alert, Direction, Figure
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.reader import Reader, Reads
from segops.core.values import format_duration

#: Limit on the alerts of one segment.
MAX_ALERTS: Final = 10
#: Limits on windows; longer ones than ``_DAY_MS`` are whole hours, shorter ones whole minutes.
MAX_WINDOW_MS: Final = 7 * 86_400_000
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
#: A percentage above 0 with at most two decimals.
PERCENTAGE: Final = r"([+-]?)([0-9]{1,7})(?:\.([0-9]{1,2}))?%"
_EXAMPLES: Final = "such as {size: 30%, over: 1d} or {entries: {at_most: 5000, per: 1h}}"


def read_alerts(raw: Any, path: str, context: Context) -> tuple[Alert, ...]:
    """Parse an ``alert`` block, one alert or a list of them. Raises DefinitionError with every mistake.

    >>> [alert.text for alert in read_alerts({"size": "-30%", "over": "24h"}, "alert", Context())]
    ['size -30% over 1d']
    """
    reader = Reader(raw, path, context)
    if not isinstance(raw, list):
        return (_alert(reader),)
    items = reader.items(f"a list of 1 to {MAX_ALERTS} alerts", MAX_ALERTS)
    found: list[Alert] = reader.gather(*(partial(_alert, item) for item in items))
    for i, (item, alert) in enumerate(zip(items, found, strict=True)):
        if alert in found[:i]:
            item.fail(f"the same alert twice: {alert.text}")
    return tuple(found)


def _alert(reader: Reader) -> Alert:
    raw = reader.raw
    heads = [head for head in _HEADS if head in raw] if isinstance(raw, dict) else []
    if len(heads) != 1:
        reader.fail(f"expected a map with one of {', '.join(_HEADS)}, {_EXAMPLES}")
    return _HEADS[heads[0]](reader)


def _size(reader: Reader) -> Alert:
    reads: Reads = {"size": _change, "over": _window}
    (share, direction), window_ms, floor = reader.record(reads, _EXAMPLES, {"floor": _positive})
    return Alert("size", window_ms, share, direction, DEFAULT_FLOOR if floor is None else floor)


def _change(reader: Reader) -> tuple[int, Direction]:
    found = re.fullmatch(PERCENTAGE, reader.raw) if isinstance(reader.raw, str) else None
    share = 0 if found is None else int(found[2]) * 100 + int((found[3] or "").ljust(2, "0"))
    if found is None or not share:
        reader.fail(
            "expected a percentage above 0% with at most two decimals, such as 30%, +30% or -30%, "
            f"got {reader.raw!r}"
        )
    direction: Direction = found[1]  # type: ignore[assignment]
    if direction == "-" and share > WHOLE:
        reader.fail(f"never holds: a size cannot fall by more than 100%, got {reader.raw!r}")
    return share, direction


def _window(reader: Reader) -> int:
    length_ms = reader.positive_duration()
    unit_ms, unit = (_MINUTE_MS, "minutes") if length_ms <= _DAY_MS else (_HOUR_MS, "hours")
    if length_ms > MAX_WINDOW_MS:
        reader.fail(f"expected at most {format_duration(MAX_WINDOW_MS)}, got {reader.raw!r}")
    if length_ms % unit_ms:
        reader.fail(f"expected whole {unit}, got {reader.raw!r}")
    return length_ms


def _positive(reader: Reader) -> int:
    return reader.integer(1)


def _bounded(figure: Figure, reader: Reader) -> Alert:
    reader.only(figure)
    block = reader.at(figure)
    is_rate = figure != "members"
    bounds: Reads = {"at_least": _positive, "at_most": lambda each: each.integer(0)}
    found = block.fields({**bounds, **({"per": _window} if is_rate else {})})
    if is_rate and "per" not in found:
        block.fail("missing key per: within which time the number counts, such as 1h")
    if not found.keys() & bounds.keys():
        block.fail("expected at_least, at_most or both")
    low, high = found.get("at_least"), found.get("at_most")
    if low is not None and high is not None and low > high:
        block.fail(f"always holds: at_least {low:,} is above at_most {high:,}")
    return Alert(figure, found.get("per", 0), at_least=low, at_most=high)


#: The key that says which figure an alert is about -> the parser of the alert.
_HEADS: dict[str, Callable[[Reader], Alert]] = {
    "size": _size,
    "members": partial(_bounded, "members"),
    "entries": partial(_bounded, "entries"),
    "exits": partial(_bounded, "exits"),
}
