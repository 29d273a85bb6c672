"""``segops forecast``: how segments will change by time alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click

from segops.cli._say import say, say_table, warn
from segops.cli._scans import FORMAT, WAIT, check_keys, say_json, say_when, scan_for
from segops.core.scans import MAX_INSTANTS
from segops.core.values import format_instant
from segops.schemas.scan_views import FlowView, ForecastView, SegmentForecastView, view_forecast
from segops.schemas.scans import ForecastRequest

_EPILOG = """
\b
Examples:
  segops forecast
  segops forecast high-intent --hours
  segops forecast vip lapsed --days --format json
"""


@click.command(epilog=_EPILOG)
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--hours", is_flag=True, help="Show each of the next 24 hours.")
@click.option("--days", is_flag=True, help="Show each of the next 30 days.")
@FORMAT
@WAIT
def command(keys: tuple[str, ...], hours: bool, days: bool, form: str, wait: float) -> None:
    """Show how many members will leave the segments KEY, and how many others enter, by time alone.

    Without KEY: all segments. The forecast is exact if no event arrives: windows run out, minimum stays and
    cool-downs end. It covers the rest of the current hour and the 24 hours after it, and the rest of the
    current day and the 30 days after it (UTC). It visits every profile of the running system, after live
    events. Exit status 1 if not all partitions answer in time.
    """
    if hours and days:
        raise click.UsageError("--hours and --days exclude each other")
    _, scanned = scan_for(lambda log: ForecastRequest(check_keys(keys, log)), wait_s=wait)
    view = view_forecast(scanned)
    if form == "json":
        say_json(view)
    elif hours or days:
        _print_flows(view, hours=hours)
    else:
        _print_sums(view)


def _print_sums(view: ForecastView) -> None:
    columns = ("segment", "members", "enter 24 h", "leave 24 h", "enter 30 d", "leave 30 d", "members 30 d")
    say_table(columns, [_sums(each) for each in view.segments], figures=columns[1:])
    _print_notes(view)
    hours, days = format_instant(view.hours_until_ms), format_instant(view.days_until_ms)
    say(f"24 h: until {hours}, 30 d: until {days}, if no event arrives")


def _sums(segment: SegmentForecastView) -> Sequence[str]:
    (enter, leave), (enters, leaves) = _total(segment.hours), _total(segment.days)
    figures = (segment.members, enter, leave, enters, leaves, segment.members + enters - leaves)
    return (segment.segment_key, *(f"{figure:,}" for figure in figures))


def _total(flows: Iterable[FlowView]) -> tuple[int, int]:
    found = list(flows)
    return sum(flow.entered for flow in found), sum(flow.left for flow in found)


def _print_flows(view: ForecastView, *, hours: bool) -> None:
    columns = ("segment", "hour from" if hours else "day from", "enter", "leave", "members")
    rows = [row for each in view.segments for row in _rows(each, each.hours if hours else each.days)]
    say_table(columns, rows, figures=columns[2:])
    _print_notes(view)


def _rows(segment: SegmentForecastView, flows: Iterable[FlowView]) -> Iterator[Sequence[str]]:
    members = segment.members
    for flow in flows:
        members += flow.entered - flow.left
        at = format_instant(flow.from_ms)
        yield segment.segment_key, at, f"{flow.entered:,}", f"{flow.left:,}", f"{members:,}"


def _print_notes(view: ForecastView) -> None:
    say_when(view)
    if view.cut:
        warn(
            f"{view.cut:,} profiles change at more than {MAX_INSTANTS:,} instants; later ones are not counted"
        )
