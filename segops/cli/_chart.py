"""A curve in block characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_EIGHTHS: Final = 8


def chart(values: Sequence[int | None], height: int = 5) -> list[str]:
    """Draw one column per value, from the least value in the lowest line to the greatest in the first.

    A value that is None leaves its column empty. Returns ``height`` lines, or none without values.

    >>> chart([100, 100, None, 150, 200], height=2)
    ['200 ┤    █', '100 ┤▁▁ ██']
    """
    known = [value for value in values if value is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    steps = [None if value is None else _step(value - low, high - low, height) for value in values]
    labels = (
        [f"{high:,}", *[""] * (height - 2), f"{low:,}"] if high > low else [*[""] * (height - 1), f"{low:,}"]
    )
    width = max(map(len, labels))
    return [
        f"{label:>{width}} ┤{line}".rstrip()
        for label, line in zip(labels, _lines(steps, height), strict=True)
    ]


def _step(value: int, span: int, height: int) -> int:
    """Return the height of a column in eighths of a line, at least one."""
    return 1 + value * (height * _EIGHTHS - 1) // span if span else 1


def _lines(steps: Sequence[int | None], height: int) -> Iterator[str]:
    for line in reversed(range(height)):
        yield "".join(_BLOCKS[max(0, min(_EIGHTHS, (step or 0) - line * _EIGHTHS))] for step in steps)
