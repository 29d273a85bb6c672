"""``segops check``: every mistake in segment files, and what the segments cost."""

from __future__ import annotations

from pathlib import Path

import click

from segops.cli._say import say, say_table, warn
from segops.core.cost import TYPICAL_ENTRIES, Cost, costs
from segops.core.segments import SegmentSet
from segops.schemas.segments import load_checked

_EPILOG = """
\b
Examples:
  segops check segments/
  segops check --cost segments/
"""
_FIGURES = ("leaves", "features", "shared", "timed", "bytes per profile")


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
        warn(str(warning))
    segments = SegmentSet(loaded.definitions)
    plural = "segment" if len(loaded.definitions) == 1 else "segments"
    say(f"{len(loaded.definitions)} {plural}, {len(segments.features)} features: no mistakes")
    if cost:
        _print_costs(segments)


def _print_costs(segments: SegmentSet) -> None:
    found = costs(segments)
    rows = [(cost.segment_key, *_figures(cost)) for cost in found.segments]
    rows.append(("all, shared once", "", str(found.features), "", "", f"{found.state_bytes:,}"))
    say()
    say_table(("segment", *_FIGURES), rows, figures=_FIGURES)
    say()
    say(f"bytes: an estimate, with {TYPICAL_ENTRIES} entries where nothing bounds them")


def _figures(cost: Cost) -> tuple[str, ...]:
    counts = (cost.leaves, cost.features, cost.shared, cost.timed_leaves, cost.state_bytes)
    return tuple(f"{count:,}" for count in counts)
