"""The parser of a segment's ``membership`` block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.policy import Policy


def read_policy(raw: Any, path: str, context: Context) -> Policy:
    """Parse a ``membership`` block. Raises DefinitionError with every mistake.

    >>> read_policy({"min_stay": "1d", "max_entries": 3}, "membership", Context())
    Policy(min_stay_ms=86400000, cool_down_ms=None, max_entries=3)
    """
    found = Reader(raw, path, context).fields(_FIELDS)
    return Policy(found.get("min_stay"), found.get("cool_down"), found.get("max_entries"))


_FIELDS: dict[str, Callable[[Reader], int]] = {
    "min_stay": Reader.positive_duration,
    "cool_down": Reader.positive_duration,
    "max_entries": lambda reader: reader.integer(1),
}
