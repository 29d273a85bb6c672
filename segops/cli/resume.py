"""``segops resume``: end the pause of segments."""

from __future__ import annotations

import click

from segops.cli._changes import print_changes
from segops.cli._kafka import run
from segops.operations import definitions


@click.command(epilog="Example: segops resume high-intent")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
def command(keys: tuple[str, ...]) -> None:
    """End the pause of segments.

    Workers evaluate every profile and publish the exact difference from the frozen memberships, with the
    reason `definition`.
    """
    print_changes(run(lambda settings: definitions.pause(settings, keys, paused=False)))
