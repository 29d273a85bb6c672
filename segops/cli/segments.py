"""``segops segments``: the published segments."""

from __future__ import annotations

import click
import msgspec

from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._progress import in_words
from segops.cli._say import say, say_table
from segops.core.values import format_instant
from segops.operations.segments import PublishedSegment, measured

_EPILOG = """
\b
Examples:
  segops segments
  segops segments --all --format jsonl
"""


@click.command(epilog=_EPILOG)
@click.option("--all", "with_retired", is_flag=True, help="Also list retired segments.")
@formats(["table", "jsonl"])
def command(with_retired: bool, form: str) -> None:
    """List the published segments: version, state, members, trend, and the segments that refer to each.

    States: live; building (its history is being read); paused (memberships are frozen); left out (it refers
    to an unknown segment, so workers ignore it); retired (with --all). The trend is the change of the members
    in 24 hours; "as of" is the least clock of the partitions.
    """
    found = [each for each in run(measured) if with_retired or each.state != "retired"]
    if form == "jsonl":
        for each in found:
            say(msgspec.json.encode(each).decode())
        return
    columns = ("segment", "version", "state", "members", "24 h", "as of", "used by", "name")
    say_table(columns, map(_row, found), figures=["version", "members", "24 h"])


def _row(each: PublishedSegment) -> tuple[str, ...]:
    return (
        each.key,
        str(each.version),
        _state(each),
        "" if each.members is None else f"{each.members:,}",
        "" if each.net_day is None else f"{each.net_day:+,}",
        "" if each.as_of_ms is None else format_instant(each.as_of_ms),
        ", ".join(each.used_by),
        each.name,
    )


def _state(each: PublishedSegment) -> str:
    if each.reason:
        return f"{each.state}: {each.reason}"
    if each.progress is not None:
        left = "" if each.left_ms is None else f", {in_words(each.left_ms)} left"
        return f"{each.state} {each.progress:.0%}{left}"
    if each.complete_since_ms is not None:
        return f"{each.state}, history since {format_instant(each.complete_since_ms)}"
    return each.state
