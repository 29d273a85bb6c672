"""``segops version``."""

from __future__ import annotations

import click

from segops import __version__
from segops.cli._say import say
from segops.config import load
from segops.kernel import running


@click.command(epilog="Example: segops version")
def command() -> None:
    """Print the version of segops, and whether workers run the kernel."""
    say(f"segops {__version__}, {running(load().engine.kernel)}")
