"""``segops retire``: end segments."""

from __future__ import annotations

import click

from segops.cli._changes import print_changes
from segops.cli._kafka import run
from segops.operations import definitions


@click.command(epilog="Example: segops retire high-intent")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
def command(keys: tuple[str, ...]) -> None:
    """End segments for good: all members exit, with the reason `definition`.

    A retired key stays reserved. A segment that others refer to is refused, with their keys, unless those are
    retired with it. The key of a published indicator is indicator:KEY; its values are deleted.
    """
    print_changes(run(lambda settings: definitions.retire(settings, keys)))
