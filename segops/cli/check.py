"""``segops check``: every mistake in segment files."""

from __future__ import annotations

from pathlib import Path

import click

from segops.core.segments import SegmentSet
from segops.schemas.segments import load_checked

_EPILOG = """
\b
Example:
  segops check segments/
"""


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
def command(paths: tuple[Path, ...]) -> None:
    """Check segment files and folders of them, and report every mistake with its file, place and reason.

    Exit status 0: they can be applied. 2: they would be refused. Warnings do not refuse.
    """
    loaded = load_checked(paths)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    segments = SegmentSet(loaded.definitions)
    plural = "segment" if len(loaded.definitions) == 1 else "segments"
    click.echo(f"{len(loaded.definitions)} {plural}, {len(segments.feature_ids)} features: no mistakes")
