"""``segops check``: every mistake in segment files, and what the segments cost."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from segops.core.cost import TYPICAL_ENTRIES, Cost, costs
from segops.core.segments import SegmentSet
from segops.schemas.segments import load_checked

_EPILOG = """
\b
Examples:
  segops check segments/
  segops check --cost segments/
"""


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--cost", is_flag=True, help="Show what each segment keeps of a profile, and what time moves.")
def command(paths: tuple[Path, ...], cost: bool) -> None:
    """Check segment files and folders of them, and report every mistake with its file, place and reason.

    Exit status 0: they can be applied. 2: they would be refused. Warnings do not refuse.

    With --cost, per segment: its leaves; the features that they read, and how many of those other segments
    read too; the leaves whose verdict time changes; the bytes that a busy profile stores for it (estimated).
    """
    loaded = load_checked(paths)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    segments = SegmentSet(loaded.definitions)
    plural = "segment" if len(loaded.definitions) == 1 else "segments"
    click.echo(f"{len(loaded.definitions)} {plural}, {len(segments.features)} features: no mistakes")
    if cost:
        _print_costs(segments)


def _print_costs(segments: SegmentSet) -> None:
    from segops.cli._kafka import print_table

    found = costs(segments)
    table = Table(box=None, pad_edge=False)
    table.add_column("segment", no_wrap=True)
    for column in ("leaves", "features", "shared", "timed", "bytes per profile"):
        table.add_column(column, justify="right", no_wrap=True)
    for cost in found.segments:
        table.add_row(cost.segment_key, *_figures(cost))
    table.add_row("all, shared once", "", str(found.features), "", "", f"{found.state_bytes:,}")
    click.echo()
    print_table(table)
    click.echo(f"\nbytes: an estimate, with {TYPICAL_ENTRIES} entries where nothing bounds them")


def _figures(cost: Cost) -> tuple[str, ...]:
    counts = (cost.leaves, cost.features, cost.shared, cost.timed_leaves, cost.state_bytes)
    return tuple(f"{count:,}" for count in counts)
