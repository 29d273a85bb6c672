"""``segops segments``: the published segments."""

from __future__ import annotations

import click
import msgspec

from segops.cli._kafka import run
from segops.cli._say import say, say_table
from segops.operations.segments import PublishedSegment, published

_EPILOG = """
\b
Examples:
  segops segments
  segops segments --all --format jsonl
"""


@click.command(epilog=_EPILOG)
@click.option("--all", "with_retired", is_flag=True, help="Also list retired segments.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    show_default=True,
    help="Output format.",
)
def command(with_retired: bool, format_: str) -> None:
    """List the published segments: version, state, and the segments that refer to each.

    States: live; paused (memberships are frozen); left out (it refers to an unknown segment, so workers
    ignore it); retired (with --all).
    """
    found = [each for each in run(published) if with_retired or each.state != "retired"]
    if format_ == "jsonl":
        for each in found:
            say(msgspec.json.encode(each).decode())
        return
    say_table(("segment", "version", "state", "used by", "name"), map(_row, found), figures=["version"])


def _row(each: PublishedSegment) -> tuple[str, ...]:
    state = f"{each.state}: {each.reason}" if each.reason else each.state
    return each.key, str(each.version), state, ", ".join(each.used_by), each.name
