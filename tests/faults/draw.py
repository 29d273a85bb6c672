"""An SVG chart of memory and lag over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_WIDTH, _HEIGHT, _MARGIN = 900, 220, 60


class Sample(NamedTuple):
    """Measurements at one instant: memory of the largest worker, number of uncommitted input records."""

    at_s: float
    rss_bytes: int
    lag: int


def write_svg(samples: Sequence[Sample]) -> str:
    """Return an SVG document with two curves, one below the other, on the same time axis."""
    end_s = max((sample.at_s for sample in samples), default=1.0) or 1.0
    rss = [(sample.at_s / end_s, sample.rss_bytes / (1 << 20)) for sample in samples]
    lag = [(sample.at_s / end_s, float(sample.lag)) for sample in samples]
    height = 2 * (_HEIGHT + _MARGIN)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 2 * _MARGIN}" height="{height}"'
            ' font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            _curve(rss, 20, f"largest worker, MiB, over {end_s / 60:.0f} min", "#1f77b4"),
            _curve(lag, 20 + _HEIGHT + _MARGIN, "uncommitted input records", "#d62728"),
            "</svg>",
        ]
    )


def _curve(points: Sequence[tuple[float, float]], top: int, title: str, colour: str) -> str:
    most = max((value for _, value in points), default=1.0) or 1.0
    line = " ".join(f"{_MARGIN + x * _WIDTH:.1f},{top + _HEIGHT * (1 - y / most):.1f}" for x, y in points)
    return (
        f'<text x="{_MARGIN}" y="{top - 5}">{title} (top: {most:,.0f})</text>'
        f'<rect x="{_MARGIN}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>'
        f'<polyline points="{line}" fill="none" stroke="{colour}"/>'
    )
