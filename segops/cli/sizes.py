"""``segops sizes``: the sizes and trends of segments, now or live."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click
import msgspec

from segops.analytics.intervals import DAY_MS, MINUTE_MS
from segops.analytics.reader import TopicReader, reading_sizes
from segops.analytics.sizes import SegmentSizes
from segops.analytics.views import AsOf, Changes, SegmentsView, SegmentView
from segops.cli._chart import chart
from segops.cli._params import watchable
from segops.cli._progress import in_words
from segops.cli._refresh import refresh, run_shown
from segops.cli._say import say, say_blocks, say_text, table
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.values import format_instant

if TYPE_CHECKING:
    from rich.table import Table

_EPILOG = """
\b
Examples:
  segops sizes
  segops sizes high-intent
  segops sizes high-intent buyers --watch
"""
_COLUMNS: Final = ("segment", "members", "+1h", "-1h", "+24h", "-24h", "volatility", "state", "as of")
_STEP_MS: Final = 30 * MINUTE_MS


@click.command(epilog=_EPILOG)
@click.argument("keys", nargs=-1, metavar="[KEY...]")
@watchable("the sizes", each="line and changed segment")
def command(keys: tuple[str, ...], watch: bool, form: str) -> None:
    """Show the sizes of the segments KEY..., or of all, with entries and exits of the last hour and day.

    One KEY is shown in detail, with its trend of the last 24 hours. Volatility is the number of entries and
    exits of the last 24 hours per member. The sizes are exact at the given time: the least clock of the
    partitions.
    """
    run_shown(lambda settings: _show(settings, keys, watch=watch, json=form == "json"), watch=watch)


async def _show(settings: Settings, keys: Sequence[str], *, watch: bool, json: bool) -> None:
    async with reading_sizes(settings) as reader:
        _check_known(reader.folded, keys)
        if watch:
            await _watch(reader, keys, json=json)
        elif json:
            shown = _selected(reader.folded, keys)
            say_text(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        else:
            say_blocks(_frame(reader.folded, keys))


def _check_known(sizes: SegmentSizes, keys: Sequence[str]) -> None:
    unknown = [key for key in dict.fromkeys(keys) if sizes.segment(key) is None]
    if unknown:
        names = ", ".join(map(repr, unknown))
        noun = "segment" if len(unknown) == 1 else "segments"
        raise UserError(f"unknown {noun} {names}; `segops sizes` lists all segments with a size")
    if not keys and not sizes.keys:
        say("no sizes yet: workers publish them once a segment is in force", err=True)


async def _watch(reader: TopicReader[SegmentSizes], keys: Sequence[str], *, json: bool) -> None:
    lines = _Lines(reader.folded, keys, _json_line if json else _line)
    rows = shutil.get_terminal_size().lines  # no more of them can be seen
    await refresh(reader, lambda: _frame(reader.folded, keys, rows), lines.changed, plain=json)


def _selected(sizes: SegmentSizes, keys: Sequence[str], limit: int | None = None) -> SegmentsView:
    if not keys:
        return sizes.segments(limit=limit)
    views = (sizes.segment(key) for key in dict.fromkeys(keys))
    return SegmentsView(sizes.as_of, [view for view in views if view is not None], None)


# -- lines -----------------------------------------------------------------------------------------------


class _Lines:
    """A line for each segment whose size, or a count behind it, has changed."""

    def __init__(self, sizes: SegmentSizes, keys: Sequence[str], form: Callable[[SegmentView], str]) -> None:
        self._sizes = sizes
        self._keys = keys
        self._form = form
        self._shown: dict[str, object] = {}

    def changed(self, keys: Collection[str] | None) -> Iterator[str]:
        """Yield the lines; only of segments in ``keys``, unless that is None."""
        selected = sorted(
            {*(self._keys or self._sizes.keys)} & {*(self._sizes.keys if keys is None else keys)}
        )
        for view in filter(None, map(self._sizes.segment, selected)):
            seen = (view.version, view.state, view.members, view.reported, view.entered, view.left)
            if self._shown.get(view.key) != seen:
                self._shown[view.key] = seen
                yield self._form(view)


def _line(view: SegmentView) -> str:
    hour = view.last_hour
    return (
        f"{_instant(view.as_of.least_ms)}  {view.key}  {view.members:,} members  "
        f"+{hour.adds:,} -{hour.drops:,} in the last hour  {_state(view)}"
    )


def _json_line(view: SegmentView) -> str:
    return msgspec.json.encode(view).decode()


# -- tables ----------------------------------------------------------------------------------------------


def _frame(sizes: SegmentSizes, keys: Sequence[str], limit: int | None = None) -> list[str | Table]:
    found = _selected(sizes, keys, limit)
    if len(keys) == 1 and found.segments:
        return _detail(sizes, found.segments[0])
    return [table(_COLUMNS, map(_row, found.segments), figures=_COLUMNS[1:7])]


def _row(view: SegmentView) -> tuple[str, ...]:
    changes = (
        f"{sign}{number:,}"
        for period in (view.last_hour, view.last_day)
        for sign, number in (("+", period.adds), ("-", period.drops))
    )
    return (
        view.key,
        f"{view.members:,}",
        *changes,
        _share(view.last_day.volatility),
        _state(view),
        _instant(view.as_of.least_ms),
    )


def _detail(sizes: SegmentSizes, view: SegmentView) -> list[str | Table]:
    periods = (("1 hour", view.last_hour), ("24 hours", view.last_day), ("7 days", view.last_week))
    columns = ("last", "entered", "left", "net", "volatility")
    reasons = ("reason, since the segment began", "entered", "left")
    about = f"{view.members:,} members, {_state(view)}, version {view.version}"
    return [
        f"{view.key}: {about}, as of {_span(view.as_of)}",
        *_since(view),
        "",
        table(columns, (_period(*period) for period in periods), figures=columns[1:]),
        "",
        table(reasons, _reasons(view), figures=reasons[1:]),
        *_trend(sizes, view),
    ]


def _since(view: SegmentView) -> Iterator[str]:
    if view.complete_since_ms is not None:
        yield f"history known since {_instant(view.complete_since_ms)}"


def _period(name: str, changes: Changes) -> tuple[str, ...]:
    figures = (f"{changes.adds:,}", f"{changes.drops:,}", f"{changes.net:+,}")
    return name, *figures, _share(changes.volatility)


def _reasons(view: SegmentView) -> Iterator[tuple[str, ...]]:
    for reason in sorted({*view.entered, *view.left}):
        yield reason, f"{view.entered.get(reason, 0):,}", f"{view.left.get(reason, 0):,}"


def _trend(sizes: SegmentSizes, view: SegmentView) -> Iterator[str]:
    now_ms = view.as_of.greatest_ms or 0
    found = sizes.trend(view.key, _STEP_MS, now_ms - DAY_MS, None)
    lines = [] if found is None else chart([step.members for step in found.steps])
    if lines:
        yield ""
        yield "members in the last 24 hours, every half an hour:"
        yield from lines


def _state(view: SegmentView) -> str:
    parts = [view.state]
    if view.progress is not None and view.progress.total:
        parts.append(f"{view.progress.read / view.progress.total:.0%} of the history read")
        if view.progress.left_ms:
            parts.append(f"{in_words(view.progress.left_ms)} left")
    if not view.complete:
        parts.append(f"{view.reported} of {view.partitions} partitions reported")
    return ", ".join(parts)


def _share(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.1%}"


def _span(as_of: AsOf) -> str:
    least, greatest = _instant(as_of.least_ms), _instant(as_of.greatest_ms)
    return least if least == greatest else f"{least} (latest partition: {greatest})"


def _instant(ms: int | None) -> str:
    return "–" if ms is None else format_instant(ms)
