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
    """Undo the merge of the profile ID into another, for as long as its hand-over is retained.

    The profile is again what it was when it was handed over, with the identifiers that led to it. What came
    since stays with the other one, and so does what that one has counted. They are joined again only by an
    alias.
    """
    kind, colon, value = profile_id.partition(":")
    if not (kind and colon and value):
        raise UserError(f"{profile_id!r} is no identifier: <type>:<value> is wanted, as in anonymous_id:a1")
    found = run(lambda settings: splitting.split(settings, profile_id))
    what = "an identifier without events" if found.state is None else "the state"
    say(f"{profile_id} gets back {what} of hand-over {found.sequence}: the request is sent")
