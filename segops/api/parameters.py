"""The parameters of a request: known, each once, and readable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from segops.core.errors import UserError
from segops.core.values import parse_instant

Read = Callable[[str], Any]


def parameters(pairs: Iterable[tuple[str, str]], reads: Mapping[str, Read]) -> dict[str, Any]:
    """Read parameters. Raises UserError for an unknown, repeated or invalid one."""
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name not in reads:
            expected = f"expected one of {', '.join(reads)}" if reads else "expected none"
            raise UserError(f"unknown parameter {name!r:.60}; {expected}")
        if name in values:
            raise UserError(f"{name}: expected once, got several")
        try:
            values[name] = reads[name](text)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None
    return values


def instant(text: str) -> int:
    """Read an instant. Raises ValueError."""
    found = parse_instant(text)
    if found is None:
        raise ValueError(f"expected an ISO-8601 instant like 2026-01-31T00:00:00Z, got {text!r:.60}")
    return found


def at_most(greatest: int) -> Read:
    """Return what reads an integer from 1 to ``greatest``, and raises ValueError for anything else."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= greatest):
            raise ValueError(f"expected an integer from 1 to {greatest:,}, got {text!r:.60}")
        return int(text)

    return read
