"""``segops split``: undo a merge."""

from __future__ import annotations

import click

from segops.cli._kafka import run
from segops.cli._say import say
from segops.core.errors import UserError
from segops.operations import split as splitting

_EPILOG = """
\b
Examples:
  segops split anonymous_id:a1
  segops profile anonymous_id:a1
"""


@click.command(epilog=_EPILOG)
@click.argument("profile_id", metavar="ID")
def command(profile_id: str) -> None:
    """Undo the merge of the profile ID into another, as long as its hand-over record is retained.

    The profile returns to its state at the hand-over, with the identifiers that led to it. Everything since
    then stays with the other profile, and so does what that profile has counted. Only an alias merges the two
    again.
    """
    kind, colon, value = profile_id.partition(":")
    if not (kind and colon and value):
        raise UserError(f"expected an identifier <type>:<value> like anonymous_id:a1, got {profile_id!r}")
    found = run(lambda settings: splitting.split(settings, profile_id))
    state = "an identifier without events" if found.state is None else "its state"
    say(f"request sent: {profile_id} gets back {state} of hand-over {found.sequence}")
