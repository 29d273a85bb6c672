"""``segops check``: every mistake in segment files, and what the segments cost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from segops.cli._input import Input
from segops.cli._say import say, say_table, warn
from segops.config import load
from segops.core.rules.analysis import TYPICAL_ENTRIES, Cost, costs
from segops.core.rules.execution import features_of
from segops.core.segments import SegmentSet
from segops.replay import Replay
from segops.schemas.identifying import limits_of
from segops.schemas.segments import load_checked
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops check segments/
  segops check --cost segments/
  segops check segments/ --events events.jsonl
"""
_FIGURES = ("leaves", "features", "shared", "timed", "bytes per profile")


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--cost", is_flag=True, help="Show what each segment keeps of a profile, and what time moves.")
@click.option(
    "--events",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Try them on the events of a file, or -: what do the rules not find, or cannot read?",
)
def command(paths: tuple[Path, ...], cost: bool, events: Path | None) -> None:
    """Check segment files and folders of them, and report every mistake with its file, place and reason.

    Exit status 0: they can be applied. 2: they would be refused. Warnings do not refuse.

    With --cost, per segment: its leaves; the features that they read, and how many of those other segments
    read too; the leaves whose verdict time changes; the bytes that a busy profile stores for it (estimated).

    With --events, what is odd about the events of a file; values that the rules cannot read, as texts where
    they want numbers; and events, paths and traits that the rules speak of and none of the events had.
    """
    loaded = load_checked(paths)
    for warning in loaded.warnings:
        warn(str(warning))
    features = {feature.id for each in loaded.definitions for feature in features_of(each.when)}
    plural = "segment" if len(loaded.definitions) == 1 else "segments"
    say(f"{len(loaded.definitions)} {plural}, {len(features)} features: no mistakes")
    if cost:
        _print_costs(SegmentSet(loaded.definitions))
    if events is not None:
        _try(SegmentSet(loaded.definitions), events)


def _try(segments: SegmentSet, events: Path) -> None:
    replay = Replay(segments, wall_ms=wall_ms(), limits=limits_of(load()))
    found = Input(events, replay)
    for owner, event in found:
        for _ in replay.apply(owner, event):
            pass
    say(f"{events}: {replay.events:,} events" + _refused(found.rejected))
    for note in (*found.notes(), *found.survey.names_never_met()):
        say(f"  {note}")


def _refused(rejected: Counter[str]) -> str:
    if not rejected:
        return ""
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in rejected.most_common())
    return f", and {rejected.total():,} that are none ({reasons})"


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
