"""One line for an indicator, as ``segops profile`` and ``segops explain`` print it."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.values import format_instant
from segops.core.views.indicators import IndicatorView


def indicator_line(found: IndicatorView) -> str:
    """Return the value of an indicator, what was published of it, and when a new value will be.

    >>> indicator_line(IndicatorView("views", "number of View", 1, 20, 15, 0, None))
    'views (number of View): 20, published 15 at 1970-01-01T00:00:00.000Z'
    """
    published = "nothing published"
    if found.published_at is not None:
        published = f"published {shown(found.published)} at {format_instant(found.published_at)}"
    coming = "" if found.publishes_at is None else f", next at {format_instant(found.publishes_at)}"
    return f"{found.indicator} ({found.label}): {shown(found.value)}, {published}{coming}"


def shown(value: Any) -> str:
    """Return a value as text: JSON, but a text as it is."""
    if value is None:
        return "missing"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
