"""The live view: redrawn in place on a terminal, a line every two seconds elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from segops.core.events import Change
from segops.core.values import format_instant
from segops.demo.dashboard import DashboardState, SegmentRow

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH: Final = 40
_PLAIN_EVERY_S: Final = 2.0
_FRAMES_PER_SECOND: Final = 8
#: Lines of the view other than segments and changes.
_FIXED_LINES: Final = 8


class Screen(Protocol):
    """Shows the dashboard."""

    def show(self, state: DashboardState) -> None:
        """Show the current state."""

    def say(self, text: str) -> None:
        """Print a permanent line."""


@contextmanager
def screen(console: Console) -> Iterator[Screen]:
    """Provide a live view on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield PlainScreen(console)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveScreen(live)


class PlainScreen:
    """A screen that prints a line every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_at = 0.0

    def show(self, state: DashboardState) -> None:
        """Print a line if one is due."""
        if monotonic() >= self._next_at:
            self._next_at = monotonic() + _PLAIN_EVERY_S
            self._console.print(plain_line(state), soft_wrap=True, highlight=False)

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


class LiveScreen:
    """A screen that draws eight frames per second."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._next_at = 0.0

    def show(self, state: DashboardState) -> None:
        """Draw a frame if one is due."""
        if monotonic() >= self._next_at:
            self._next_at = monotonic() + 1 / _FRAMES_PER_SECOND
            self._live.update(frame(state, height=self._live.console.height), refresh=True)

    def say(self, text: str) -> None:
        """Print a line above the view."""
        self._live.console.print(text, soft_wrap=True, highlight=False, markup=False)


def plain_line(state: DashboardState) -> str:
    """Return the state in one line: figures first, then the segments that have members."""
    sizes = ", ".join(f"{each.key} {each.size:,}" for each in state.segments.values() if each.size)
    return f"{date(state.clock_ms)}  {_figures(state)}  {sizes or 'no members yet'}"


def frame(state: DashboardState, *, height: int) -> RenderableType:
    """Return the whole view for a terminal with ``height`` lines."""
    room = max(0, height - _FIXED_LINES - len(state.segments))
    latest = list(state.latest)[-room:] if room else []
    return Group(_head(state), Text(), _segments(state.segments.values()), Text(), _latest(state, latest))


def _head(state: DashboardState) -> RenderableType:
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    clock = Text(date(state.clock_ms), style="bold cyan")
    bar.add_row(clock, ProgressBar(total=state.total, completed=state.done), f"{state.elapsed_s:.0f} s")
    figures = Text(f"{state.phase}: {_figures(state)}", no_wrap=True, overflow="ellipsis")
    return Group(bar, figures)


def _figures(state: DashboardState) -> str:
    timed = state.changes["time"]
    return (
        f"{state.done:,} of {state.total:,} events  {state.events_per_second:,.0f}/s  lag {state.lag:,}  "
        f"{state.changes.total():,} changes ({timed:,} by time)"
    )


def _segments(segments: Iterable[SegmentRow]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("segment", no_wrap=True)
    table.add_column("members", justify="right", no_wrap=True, min_width=7)
    table.add_column("in", justify="right", no_wrap=True, min_width=7)
    table.add_column("out", justify="right", no_wrap=True, min_width=7)
    table.add_column("week by week", no_wrap=True)
    for each in segments:
        table.add_row(
            each.name,
            Text(f"{each.size:,}", style="bold"),
            Text(f"+{each.entered:,}", style="green"),
            Text(f"-{each.exited:,}", style="red"),
            Text(curve(each.curve, each.peak), style="cyan"),
        )
    return table


def curve(sizes: list[int], peak: int) -> str:
    """Draw the latest sizes as a row of blocks, the tallest for ``peak``.

    >>> curve([0, 4, 8], 8)
    '▁▄█'
    """
    last = len(_BLOCKS) - 1
    return "".join(_BLOCKS[min(last, size * last // max(peak, 1))] for size in sizes[-_CURVE_WIDTH:])


def _latest(state: DashboardState, changes: Iterable[Change]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    name_width = max(len(segment.name) for segment in state.segments.values())
    table.add_column("latest changes", no_wrap=True, min_width=16)
    table.add_column("", no_wrap=True)
    table.add_column("segment", no_wrap=True, min_width=name_width)
    for heading in ("profile", "reason", "until, if nothing happens"):
        table.add_column(heading, no_wrap=True, min_width=10)
    for change in changes:
        table.add_row(*_row(state, change))
    return table


def _row(state: DashboardState, change: Change) -> tuple[RenderableType, ...]:
    sign = Text("+", style="green") if change.member else Text("-", style="red")
    until = (
        "indefinitely" if change.flips_at is None else format_instant(change.flips_at)[:16].replace("T", " ")
    )
    segment = state.segments.get(change.segment_key)
    name = change.segment_key if segment is None else segment.name
    time = format_instant(change.occurred_at)[:16].replace("T", " ")
    return time, sign, name, change.profile_id.partition(":")[2], change.reason, until


def date(ms: int) -> str:
    """Return the date of an instant.

    >>> date(852_105_903_844)
    '1997-01-01'
    """
    return format_instant(ms)[:10] if ms else "clock unknown"
