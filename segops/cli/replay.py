"""``segops replay``: membership changes from a file, without Kafka."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from segops.cli._input import Input
from segops.cli._params import INSTANT
from segops.cli._say import say, say_all
from segops.config import load
from segops.core.events import Change
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.changes import encode_change
from segops.schemas.identifying import limits_of
from segops.schemas.segments import load as load_segments
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops replay --segments segments/ --events events.jsonl.gz
  zcat history.gz | segops replay --segments vip.yaml --events - --until 2026-01-31 --format table
"""


def _row(change: Change) -> str:
    flips_at = "never" if change.flips_at is None else format_instant(change.flips_at)
    begin = f"{format_instant(change.occurred_at)}  {change.action:<7}  {change.segment_key:<24}"
    return f"{begin}  {change.reason:<10}  {flips_at:<24}  {change.profile_id}"


_FORMATS: dict[str, Callable[[Change], str]] = {
    "jsonl": lambda change: encode_change(change, change.occurred_at).decode(),
    "table": _row,
}
_HEADING = f"{'occurred at':<24}  {'action':<7}  {'segment':<24}  {'reason':<10}  {'flips at':<24}  profile"


@click.command(epilog=_EPILOG)
@click.option(
    "--segments",
    "segments",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="File or folder of segments; may be repeated.",
)
@click.option(
    "--events",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="File of events (.jsonl, .jsonl.gz), or - for standard input.",
)
@click.option("--until", type=INSTANT, help="Advance the clock to this instant after the last event.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="jsonl",
    show_default=True,
    help="Output format; jsonl prints the records as they are published.",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 if an event was invalid.")
def command(segments: tuple[Path, ...], events: Path, until: int | None, form: str, strict: bool) -> None:
    """Print the membership changes that the events cause, one per line, in processing order.

    Events are in Segment's format, in order of arrival; the clock is the greatest event time so far. A line
    may be a body with a "batch" of events. Invalid events, repaired parts of events and values that the rules
    cannot read are reported on standard error.
    """
    replay = Replay(SegmentSet(load_segments(segments)), wall_ms=wall_ms(), limits=limits_of(load()))
    found = Input(events, replay)
    show = _FORMATS[form]
    if form == "table":
        say(_HEADING)
    for owner, event in found:
        _print(replay.apply(owner, event), show)
    if until is not None:
        _print(replay.advance(until), show)
    for note in found.notes():
        say(note, err=True)
    rejected = found.rejected.total()
    if rejected:
        say(f"{rejected} invalid events", err=True)
        sys.exit(1 if strict else 0)


def _print(changes: Iterable[Change], show: Callable[[Change], str]) -> None:
    say_all(map(show, changes))
