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
    """List the workers that share the partitions, or remove one.

    SEGOPS_APP_ID names the group, SEGOPS_INSTANCE_ID a worker in it.
    """


@command.command("list", epilog="Example: segops group list")
def list_() -> None:
    """List the members with their names and the hosts they joined from."""
    found = run(group.describe)
    say_table(("member", "host"), found.members)
    say(f"state: {found.state}", err=True)


@command.command(epilog="Example: segops group remove segops-3")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove(names: tuple[str, ...]) -> None:
    """Reassign the partitions of stopped workers now instead of after SEGOPS_SESSION_TIMEOUT.

    This does not stop a running worker: it rejoins, or exits and is restarted.
    """
    removed = run(lambda settings: group.remove(settings, names))
    for name in removed:
        say(f"removed {name}")
    missing = [name for name in names if name not in removed]
    if missing:
        raise UserError(f"not in the group: {', '.join(missing)} (see segops group list)")
