"""``segops replay``: membership changes from a file, without Kafka."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from segops.cli._params import INSTANT
from segops.cli._say import say, say_all
from segops.config import load
from segops.core.errors import RejectedEvent, UserError
from segops.core.events import Change
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.changes import encode_change
from segops.schemas.identifying import limits_of
from segops.schemas.segments import load as load_segments
from segops.streaming.clock import wall_ms

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
    help="A file or folder of segments; give it again for more.",
)
@click.option(
    "--events",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file of events (.jsonl, .jsonl.gz), or - for the standard input.",
)
@click.option("--until", type=INSTANT, help="Move the clock on to this instant at the end.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="jsonl",
    show_default=True,
    help="jsonl: the records as they are published.",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 if a line was no event.")
def command(segments: tuple[Path, ...], events: Path, until: int | None, form: str, strict: bool) -> None:
    """Print the membership changes that the events cause, one a line, in the order in which they are decided.

    Events are of the Segment form, in the order of arrival; the clock is the greatest event time so far. A
    line that is no event is named on the standard error, and counted.
    """
    replay = Replay(SegmentSet(load_segments(segments)), wall_ms=wall_ms(), limits=limits_of(load()))
    rejected = 0
    show = _FORMATS[form]
    if form == "table":
        say(_HEADING)
    with open_bytes(events) as file:
        for number, line in enumerate(lines(events, file), 1):
            if not line.strip():
                continue
            try:
                _print(replay.feed(line, default_id=f"line:{number}"), show)
            except RejectedEvent as error:
                rejected += 1
                say(f"{events}: line {number}: {error}", err=True)
    if until is not None:
        _print(replay.advance(until), show)
    if rejected:
        say(f"{rejected} lines were no events", err=True)
        sys.exit(1 if strict else 0)


def _print(changes: Iterable[Change], show: Callable[[Change], str]) -> None:
    say_all(map(show, changes))


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked if its name ends in .gz; ``-``: the standard input. Raises UserError."""
    if str(path) == "-":
        return sys.stdin.buffer
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file without their ends. Raises UserError when it cannot be read to its end."""
    try:
        for line in file:
            yield line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read to its end: {error}") from None
