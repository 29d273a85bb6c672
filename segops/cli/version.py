"""``segops version``."""

from __future__ import annotations

import click

from segops import __version__
from segops.cli._say import say


@click.command(epilog="Example: segops version")
def command() -> None:
    """Print the version of segops."""
    say(f"segops {__version__}")
