"""``segops version``."""

from __future__ import annotations

import click

from segops import __version__


@click.command(epilog="Example: segops version")
def command() -> None:
    """Print the version of segops."""
    click.echo(f"segops {__version__}")
