"""Lines of a few figures over days, as points of an SVG that a template draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

WIDTH: Final = 720
HEIGHT: Final = 200
_TICKS: Final = (1, 2, 2.5, 5, 10)


class Line(NamedTuple):
    """A figure over time."""

    key: str
    label: str
    values: Sequence[int]


def chart_data(lines: Sequence[Line], days: Sequence[int]) -> dict[str, Any]:
    """Return the points of each line, and the ticks of the axis of figures.

    >>> found = chart_data([Line("a", "A", [0, 10])], [0, 86_400_000])
    >>> found["lines"][0]["points"], found["ticks"][-1]["value"]
    ('0.0,200.0 720.0,0.0', 10)
    """
    greatest = max((value for line in lines for value in line.values), default=0)
    step = _step(greatest)
    top = max(step, -(-greatest // step) * step)
    ticks = [step * number for number in range(int(top // step) + 1)]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "ticks": [{"value": each, "y": HEIGHT - HEIGHT * each / top} for each in ticks],
        "lines": [
            {
                "key": line.key,
                "label": line.label,
                "points": _points(line.values, top),
                "latest": line.values[-1] if line.values else None,
                "tone": f"series-{number}",
            }
            for number, line in enumerate(lines, 1)
        ],
        "from_ms": days[0] if days else None,
        "to_ms": days[-1] if days else None,
    }


def _step(greatest: int) -> int:
    """Return a round step of which four or fewer reach ``greatest``."""
    least, power = max(1, greatest / 4), 1
    while power * 10 < least:
        power *= 10
    return next(
        int(power * each) for each in _TICKS if power * each >= least and power * each == int(power * each)
    )


def _points(values: Sequence[int], top: int) -> str:
    if len(values) == 1:
        values = [values[0], values[0]]
    last = max(1, len(values) - 1)
    return " ".join(
        f"{WIDTH * number / last:.1f},{HEIGHT - HEIGHT * value / top:.1f}"
        for number, value in enumerate(values)
    )
