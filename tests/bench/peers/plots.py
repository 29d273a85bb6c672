"""Bar charts as plain SVG, readable in any browser and in diffs."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

_WIDTH, _ROW, _LEFT, _RIGHT = 760, 30, 170, 90
_STYLE = "font-family='sans-serif' font-size='13'"


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """Return a chart with one bar per row, the first in another colour."""
    most = max((value for _, value in rows), default=1.0) or 1.0
    height = 50 + _ROW * len(rows)
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' {_STYLE}>",
        "<rect width='100%' height='100%' fill='white'/>",
        f"<text x='12' y='24' font-weight='bold'>{escape(title)}, {escape(unit)}</text>",
    ]
    for number, (name, value) in enumerate(rows):
        lines += _bar(name, value, value / most, 42 + number * _ROW, first=number == 0)
    return "\n".join([*lines, "</svg>", ""])


def _bar(name: str, value: float, share: float, top: int, *, first: bool) -> list[str]:
    length = max(1.0, share * (_WIDTH - _LEFT - _RIGHT))
    colour = "#2f6f4f" if first else "#9aa5ad"
    return [
        f"<text x='{_LEFT - 8}' y='{top + 15}' text-anchor='end'>{escape(name)}</text>",
        f"<rect x='{_LEFT}' y='{top}' width='{length:.0f}' height='20' fill='{colour}'/>",
        f"<text x='{_LEFT + length + 6:.0f}' y='{top + 15}'>{value:,.0f}</text>",
    ]
