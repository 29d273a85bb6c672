"""``segops tracking-plans``: what the events of a source may look like, and what violates it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from segops.catalogue.inference import drafted_plans
from segops.catalogue.published import read as read_catalogue
from segops.cli._changes import print_resource_changes
from segops.cli._kafka import run
from segops.cli._lines import read_events
from segops.cli._say import flush, say, say_all, say_table, say_text
from segops.config import Settings
from segops.config import load as load_settings
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.kafka.sampling import sample
from segops.schemas.identifying import limits_of
from segops.schemas.records import COLLECTOR_HEADER
from segops.tracking import published
from segops.tracking.model import TrackingPlan
from segops.tracking.parsing import load
from segops.tracking.reports import published_since
from segops.tracking.trying import Trial
from segops.tracking.violations import ViolationRecord, encode, summed
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops tracking-plans infer --source website > plans.yaml
  segops tracking-plans test plans.yaml
  segops tracking-plans apply plans.yaml
  segops tracking-plans violations --watch
"""
_FORMAT = click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    show_default=True,
    help="Output format.",
)
_COLUMNS = ("count", "source", "event", "reason", "path", "expected", "got", "then", "last seen")


@click.group(epilog=_EPILOG)
def command() -> None:
    """Say what the events of a collector's source may look like, and see what violates it.

    A plan has a JSON Schema per event. `infer` drafts one from the catalogue, `test` shows what it would find
    in events of the past, `apply` puts it into force within seconds, `violations` shows what it finds.
    """


@command.command(epilog="Example: segops tracking-plans apply plans.yaml --dry-run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prune", is_flag=True, help="Remove published plans of sources that are not in FILE.")
@click.option("--dry-run", is_flag=True, help="Show what would change without publishing.")
def apply(file: Path, prune: bool, dry_run: bool) -> None:
    """Publish the plans in FILE, all or none. Running collectors take them over within seconds.

    A plan replaces the former one of its source. Events that were accepted before stay as they are.
    """
    plans = load(file)
    changes = run(lambda settings: published.publish(settings, plans, prune=prune, dry_run=dry_run))
    print_resource_changes(changes, "plans", dry_run=dry_run)


@command.command(epilog="Example: segops tracking-plans remove website")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
def remove(sources: Sequence[str]) -> None:
    """Remove the plans of these sources: all their events are accepted again."""
    changes = run(lambda settings: published.topic_of(settings).remove(sources))
    print_resource_changes(changes, "plans")


@command.command("list", epilog="Example: segops tracking-plans list --format jsonl")
@_FORMAT
def list_(format_: str) -> None:
    """List the published plans. With jsonl, as they were written."""
    found = sorted(run(lambda settings: published.topic_of(settings).read()).items())
    if format_ == "jsonl":
        say_all(msgspec.json.encode(plan.written).decode() for _, plan in found)
    elif found:
        columns = ("source", "events", "schemas", "unknown events", "modes", "published")
        say_table(columns, (_row(plan) for _, plan in found), figures=("events", "schemas"))
    else:
        say("no tracking plan is published")


@command.command(epilog="Example: segops tracking-plans infer --source website > plans.yaml")
@click.option("--source", metavar="SOURCE", help="Draft the plan of this source only.")
def infer(source: str | None) -> None:
    """Draft plans from the catalogue: the events of each source, their properties and types.

    A property that every event has is required; one of few known values gets these. The draft only warns.
    Read it before you apply it: what did not occur yet is no mistake.
    """
    plans = run(lambda settings: _drafted(settings, source))
    if not plans:
        known = "" if source is None else f" of the source {source!r}"
        raise UserError(f"the catalogue has no events{known} from a collector; run `segops catalogue run`")
    say_text(yaml.safe_dump({"version": 1, "plans": plans}, sort_keys=False, allow_unicode=True).rstrip())


@command.command(epilog="Example: segops tracking-plans test plans.yaml events.jsonl --source website")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument(
    "events", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--source", metavar="SOURCE", help="The source of the events in EVENTS, if FILE has several.")
@click.option(
    "--records",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    metavar="N",
    help="Without EVENTS: sample about N of the latest events.",
)
@_FORMAT
def test(file: Path, events: Path | None, source: str | None, records: int, format_: str) -> None:
    """Show what the plans in FILE find in EVENTS (JSON Lines), or in the latest events from the collector.

    Nothing is written. Exit status: 1 if an event would be rejected.
    """
    trial = Trial(load(file), limits_of(load_settings()), now_ms=wall_ms())
    if events is None:
        run(lambda settings: _try_latest(settings, trial, records))
    else:
        of = trial.source_of(source)
        for each in read_events(events):
            trial.add(of, each.value)
    _print_violations(trial.violations(), format_)
    counts = ", ".join(f"{number:,} {what}" for what, number in trial.counts.items())
    say(f"{trial.counts.total():,} events: {counts or 'none from a source with a plan'}", err=True)
    sys.exit(1 if trial.counts["rejected"] else 0)


@command.command(epilog="Example: segops tracking-plans violations --hours 1 --source website")
@click.option("--watch", is_flag=True, help="Go on with new violations until Ctrl-C.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    default=24.0,
    show_default=True,
    help="How far back.",
)
@click.option("--source", metavar="SOURCE", help="Show only this source.")
@_FORMAT
def violations(watch: bool, hours: float, source: str | None, format_: str) -> None:
    """Show what violated the published plans, by kind, the most frequent first.

    Each line names the path, what the plan expects and the type that was found; never a value of an event.
    """
    since_ms = wall_ms() - int(hours * 3_600_000)
    with suppress(KeyboardInterrupt):
        run(lambda settings: _show(published_since(settings, since_ms), source, format_, watch=watch))


async def _drafted(settings: Settings, source: str | None) -> list[dict[str, Any]]:
    entries = await read_catalogue(settings)
    return drafted_plans(entries, source, profiles=settings.catalogue.profiles)


def _row(plan: TrackingPlan) -> tuple[str, ...]:
    events = [*plan.events.values(), *plan.calls.values()]
    schemas = sum(each.schema is not None for each in events)
    modes = ", ".join(sorted({each.violations for each in events})) or "-"
    published_at = format_instant(plan.at_ms)
    return plan.source, f"{len(events):,}", f"{schemas:,}", plan.unknown_events, modes, published_at


async def _try_latest(settings: Settings, trial: Trial, records: int) -> None:
    for each in await sample(settings, settings.topics.events, records):
        source = dict(each.record.headers).get(COLLECTOR_HEADER, b"").decode(errors="replace")
        if source in trial.sources and each.record.value:
            trial.add(source, each.record.value)


def _print_violations(
    found: Iterable[ViolationRecord], format_: str, *, empty: str = "no violations"
) -> None:
    records = list(found)
    if format_ == "jsonl":
        say_all(encode(each).decode() for each in records)
    elif records:
        say_table(_COLUMNS, map(_cells, records), figures=("count",))
    elif empty:
        say(empty)
    flush()


def _cells(each: ViolationRecord) -> tuple[str, ...]:
    return f"{each.count:,}", *each.kind, format_instant(each.last_ms) if each.last_ms else "-"


async def _show(
    found: AsyncGenerator[list[ViolationRecord], None], source: str | None, format_: str, *, watch: bool
) -> None:
    async with aclosing(found) as batches:
        past = [each for each in await anext(batches) if source in (None, each.source)]
        _print_violations(summed(past), format_, empty="" if watch else "no violations")
        while watch:
            for each in await anext(batches):
                if source in (None, each.source):
                    say(encode(each).decode() if format_ == "jsonl" else "  ".join(_cells(each)))
            flush()
