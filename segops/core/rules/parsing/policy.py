"""The ``membership`` block of a segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.policy import Policy


def read_policy(raw: Any, path: str, context: Context) -> Policy:
    """The limits in a ``membership`` block. Raises DefinitionError with every mistake.

    >>> read_policy({"min_stay": "1d", "max_entries": 3}, "membership", Context())
    Policy(min_stay_ms=86400000, cool_down_ms=None, max_entries=3)
    """
    found = Reader(raw, path, context).fields(_FIELDS)
    return Policy(found.get("min_stay"), found.get("cool_down"), found.get("max_entries"))


def _length(reader: Reader) -> int:
    return reader.duration("a duration of 0 limits nothing")


_FIELDS: dict[str, Callable[[Reader], int]] = {
    "min_stay": _length,
    "cool_down": _length,
    "max_entries": lambda reader: reader.whole(1),
}
