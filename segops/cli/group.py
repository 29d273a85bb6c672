"""``segops group``: the workers that share the partitions."""

from __future__ import annotations

import click

from segops.cli._kafka import run
from segops.cli._say import say, say_table
from segops.core.errors import UserError
from segops.operations import group

_EPILOG = """
\b
Examples:
  segops group list
  segops group remove segops-3
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Show the workers that share the partitions, or take one out.

    SEGOPS_APP_ID names the group; a worker's name in it is SEGOPS_INSTANCE_ID.
    """


@command.command("list", epilog="Example: segops group list")
def list_() -> None:
    """Show the members: their names, and the hosts that they joined from."""
    found = run(group.describe)
    say_table(("member", "host"), found.members)
    say(f"state: {found.state}", err=True)


@command.command(epilog="Example: segops group remove segops-3")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove(names: tuple[str, ...]) -> None:
    """Give the partitions of stopped workers to the others now, not after SEGOPS_SESSION_TIMEOUT.

    A worker that runs is not stopped by this: it joins again, or ends and is started again.
    """
    removed = run(lambda settings: group.remove(settings, names))
    for name in removed:
        say(f"removed {name}")
    missing = [name for name in names if name not in removed]
    if missing:
        raise UserError(f"not in the group: {', '.join(missing)} (segops group list shows who is)")
