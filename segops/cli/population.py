"""``segops population``: how many profiles are known, active, new and dormant."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from segops.analytics.reader import TopicReader, reading_sizes
from segops.analytics.sizes import SegmentSizes
from segops.analytics.views import PopulationView
from segops.cli._params import watchable
from segops.cli._refresh import refresh, run_shown
from segops.cli._say import say_blocks, say_text, table
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.values import format_instant

if TYPE_CHECKING:
    from rich.table import Table

_EPILOG = """
\b
Examples:
  segops population
  segops population --watch
"""


@click.command(epilog=_EPILOG)
@watchable("the figures", each="line")
def command(watch: bool, form: str) -> None:
    """Show how many profiles are known, and how many are active, new, returning, resurrected and dormant.

    Days are UTC days. Stickiness is the number of profiles active within a day per profile active within 30
    days.
    """
    run_shown(lambda settings: _show(settings, watch=watch, json=form == "json"), watch=watch)


async def _show(settings: Settings, *, watch: bool, json: bool) -> None:
    async with reading_sizes(settings) as reader:
        if watch:
            lines = _Lines(reader, json=json)
            await refresh(reader, lambda: _frame(reader.folded.population()), lines.changed, plain=json)
            return
        found = reader.folded.population()
        if found is None:
            raise SegopsError("no figures yet: no worker has published any")
        if json:
            say_text(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        else:
            say_blocks(_frame(found))


class _Lines:
    """A line after each change of a figure."""

    def __init__(self, reader: TopicReader[SegmentSizes], *, json: bool) -> None:
        self._reader = reader
        self._json = json
        self._shown: object = None

    def changed(self, keys: Collection[str] | None) -> Iterator[str]:
        """Yield the line, unless only segments have changed."""
        found = self._reader.folded.population()
        seen = None if found is None else msgspec.structs.replace(found, as_of=None)
        if found is not None and seen != self._shown:
            self._shown = seen
            yield msgspec.json.encode(found).decode() if self._json else _line(found)


def _line(found: PopulationView) -> str:
    figures = ", ".join(f"{name} {figure}" for name, figure, _ in _rows(found))
    return f"{_as_of(found)}  {figures}"


def _frame(found: PopulationView | None) -> list[str | Table]:
    if found is None:
        return ["no figures yet: no worker has published any"]
    missing = "" if found.complete else f", {found.reported} of {found.partitions} partitions reported"
    head = f"profiles on {format_instant(found.day_ms)[:10]} (UTC), as of {_as_of(found)}{missing}"
    return [head, "", table(("figure", "profiles", "meaning"), _rows(found), figures=["profiles"])]


def _rows(found: PopulationView) -> Iterator[tuple[str, str, str]]:
    share = "–" if found.stickiness is None else f"{found.stickiness:.1%}"
    yield "known", f"{found.known:,}", "all profiles"
    yield "daily", f"{found.daily:,}", "active within a day (DAU)"
    yield "weekly", f"{found.weekly:,}", "active within 7 days (WAU)"
    yield "monthly", f"{found.monthly:,}", "active within 30 days (MAU)"
    yield "stickiness", share, "daily per monthly"
    yield "new", f"{found.new:,}", "active within a day for the first time"
    yield "returning", f"{found.returning:,}", "active within a day, and in the 30 days before"
    yield "resurrected", f"{found.resurrected:,}", "active within a day, not in the 30 days before"
    yield "dormant", f"{found.dormant:,}", "not active within 30 days"


def _as_of(found: PopulationView) -> str:
    return "–" if found.as_of.least_ms is None else format_instant(found.as_of.least_ms)
