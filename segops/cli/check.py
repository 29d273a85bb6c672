"""``segops check``: every error in segment files, and what the segments cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from segops.cli._input import Input
from segops.cli._models import MODEL_FILE
from segops.cli._say import say, say_table, warn
from segops.config import Settings, load
from segops.core.activity import DAY_MS
from segops.core.audiences.compiling import TRAIT
from segops.core.rules.analysis import TYPICAL_ENTRIES, Cost, costs
from segops.core.rules.blocks import names_of_models
from segops.core.scoring.models import Model
from segops.core.segments import SegmentSet
from segops.core.values import format_duration
from segops.core.windows import span
from segops.replay import Replay
from segops.schemas.identifying import limits_of
from segops.schemas.model_files import load_models
from segops.schemas.model_views import doubts
from segops.schemas.segments import Loaded, load_checked
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops check segments/
  segops check --cost segments/
  segops check segments/ --models buying.json
  segops check segments/ --events events.jsonl
"""
_FIGURES = ("leaves", "features", "shared", "timed", "bytes per profile")


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--cost", is_flag=True, help="Show what each segment stores per profile.")
@click.option(
    "--models",
    "model_files",
    multiple=True,
    metavar="FILE",
    type=MODEL_FILE,
    help="Check the rules with this model; may be repeated. Without it, scores of models are missing.",
)
@click.option(
    "--events",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Check the rules against a file of events (- for standard input): unknown names, unreadable values.",
)
def command(paths: tuple[Path, ...], cost: bool, model_files: tuple[Path, ...], events: Path | None) -> None:
    """Check segment files or folders and report every error with its file, place and reason.

    Exit status 0: the segments can be applied. 2: they cannot. Warnings do not count.

    --cost shows per segment: its leaves; the features they read, and how many of those are shared with other
    segments; the leaves that change with time; the estimated bytes that a busy profile stores for it.

    A segment is named if its windows are longer than the history (SEGOPS_HISTORY_RETENTION) from which
    profiles are filled when it is published: until its window has passed, it counts what is known. Where
    history ended at its publication, `segops segments` says. With SEGOPS_ARCHIVE_URL, history is as long as
    the archive.

    --models binds the rules to model files, as a publication does to the models in force: what their features
    cost is then counted, and a model whose scores are missing or stale is named.

    --events reports odd parts of the events; values that the rules cannot read, such as strings where they
    expect numbers; and event names, paths and traits in the rules that no event had.
    """
    models = load_models(model_files)
    loaded = load_checked(paths, models)
    for warning in loaded.warnings:
        warn(str(warning))
    for line in _about_models(models, loaded):
        warn(line)
    segments = SegmentSet(loaded.all_definitions)
    audiences = f", {_count(len(loaded.audiences), 'audience')}" if loaded.audiences else ""
    say(f"{_numbers(segments)}{audiences}: OK")
    for each in _unknown_segments(loaded):
        warn(each)
    _print_reach(segments, load())
    if cost:
        _print_costs(segments)
    if events is not None:
        _check_against(segments, events)


def _about_models(models: Mapping[str, Model], loaded: Loaded) -> Iterator[str]:
    """Yield why scores of models are missing, and which models no rule reads."""
    read = {name for each in loaded.all_definitions for name in names_of_models(each.when)}
    for name, model in models.items():
        yield from doubts(model, wall_ms())
        if name not in read:
            yield f"{name}: no rule reads a score of this model ({', '.join(model.scores)})"


def _numbers(segments: SegmentSet) -> str:
    indicators = _count(len(segments.indicators), "published indicator") if segments.indicators else None
    parts = (
        _count(len(segments.segments), "segment"),
        indicators,
        _count(len(segments.features), "feature"),
    )
    return ", ".join(part for part in parts if part is not None)


def _unknown_segments(loaded: Loaded) -> Iterator[str]:
    """Yield which segments the audiences name that are not in the files: they must be published."""
    keys = {each.key for each in loaded.definitions}
    for audience in loaded.audiences:
        used = [audience.segment, *(each for each in audience.suppress if not each.startswith(TRAIT))]
        for key in dict.fromkeys(used):
            if key not in keys:
                yield f"audience {audience.key}: the segment {key} is not in these files: publish it"


def _print_reach(segments: SegmentSet, settings: Settings) -> None:
    """Print which limited windows are longer than the history that new segments are filled from."""
    history_ms, now_ms = settings.history_ms, wall_ms()
    rules = [(each.key, each.referred) for each in segments.segments]
    rules += [(each.key, each.rule) for each in segments.indicators]
    for key, rule in rules:
        spans = (now_ms - span(use.feature.window, now_ms)[0] for use in rule.features)
        longest_ms = max((length_ms for length_ms in spans if length_ms <= now_ms), default=0)
        if longest_ms > history_ms:
            history = f"a history of {_days(history_ms)} (SEGOPS_HISTORY_RETENTION)"
            say(f"  {key}: a window of {_days(longest_ms)}; profiles are filled from {history}")


def _days(ms: int) -> str:
    return f"{ms // DAY_MS}d" if ms >= DAY_MS else format_duration(ms)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_against(segments: SegmentSet, events: Path) -> None:
    replay = Replay(segments, wall_ms=wall_ms(), limits=limits_of(load()))
    found = Input(events, replay)
    for owner, event in found:
        for _ in replay.apply(owner, event):
            pass
    say(f"{events}: {replay.events:,} events" + _invalid(found.rejected))
    for note in (*found.notes(), *found.survey.names_never_met()):
        say(f"  {note}")


def _invalid(rejected: Counter[str]) -> str:
    if not rejected:
        return ""
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in rejected.most_common())
    return f", {rejected.total():,} invalid ({reasons})"


def _print_costs(segments: SegmentSet) -> None:
    found = costs(segments)
    rows = [(cost.segment_key, *_figures(cost)) for cost in found.segments]
    rows.append(("all (shared counted once)", "", str(found.features), "", "", f"{found.state_bytes:,}"))
    say()
    say_table(("segment", *_FIGURES), rows, figures=_FIGURES)
    say()
    columns = {column for each in segments.all_definitions for column in each.columns}
    for column in sorted(columns, key=lambda column: (column.table, column.name)):
        say(f"look-up table {column.table}, column {column.name}: {len(column.rows):,} rows in each worker")
    say(f"bytes: an estimate that assumes {TYPICAL_ENTRIES} entries where a feature is unbounded")


def _figures(cost: Cost) -> tuple[str, ...]:
    counts = (cost.leaves, cost.features, cost.shared, cost.timed_leaves, cost.state_bytes)
    return tuple(f"{count:,}" for count in counts)
