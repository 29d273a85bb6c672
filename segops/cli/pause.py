"""``segops pause``: freeze the memberships of segments."""

from __future__ import annotations

import click

from segops.cli._changes import print_changes
from segops.cli._kafka import run
from segops.operations import definitions

_EPILOG = """
\b
Examples:
  segops pause high-intent
  segops segments
"""


@click.command(epilog=_EPILOG)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
def command(keys: tuple[str, ...]) -> None:
    """Freeze the memberships of segments until `segops resume`.

    No event, and no passing of time, changes the members of a paused segment; only a merge, a split or an
    erasure does. Segments that refer to it read the frozen memberships. Profiles keep their features up to
    date, so that the memberships are right as soon as it is resumed. `segops apply` does not end a pause.
    """
    print_changes(run(lambda settings: definitions.pause(settings, keys, paused=True)))
