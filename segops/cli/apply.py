"""``segops apply``: publish segment definitions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from segops.cli._changes import print_changes
from segops.cli._kafka import run
from segops.cli._say import warn
from segops.operations import definitions
from segops.schemas import segments

_EPILOG = """
\b
Examples:
  segops apply segments/ --dry-run
  segops apply segments/ --prune
"""


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--prune", is_flag=True, help="Retire segments that are not in PATHS; their keys stay reserved."
)
@click.option(
    "--retire", multiple=True, metavar="KEY", help="Also retire this segment; its key stays reserved."
)
@click.option("--dry-run", is_flag=True, help="Show what would change without publishing.")
def command(paths: Sequence[Path], prune: bool, retire: Sequence[str], dry_run: bool) -> None:
    """Publish the segment definitions in PATHS (files or folders).

    All files are checked first; then all definitions are published or none. A definition's version increases
    by one when the meaning of its rule changes. Running workers adopt new definitions within seconds; a
    segment that needs past events first waits until they have been counted, and an edited one keeps its
    former rule until then.
    Workers leave out a published segment that refers to an unknown one, such as another writer may leave
    behind; it is reported here.
    """
    loaded = segments.load_checked(paths)
    for warning in loaded.warnings:
        warn(str(warning))
    steps = run(
        lambda settings: definitions.publish(
            settings, loaded.definitions, prune=prune, retire=retire, dry_run=dry_run
        )
    )
    print_changes(steps, note="; nothing was written (dry run)" if dry_run else "")
