"""``segops produce``: events from a file to the events topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from segops.cli._kafka import run
from segops.cli._lines import LineSource
from segops.cli._params import INSTANT
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.streaming.load import Deliveries, Load, send_all

_EPILOG = """
\b
Examples:
  segops produce events.jsonl.gz
  tail -F app.jsonl | segops produce -
  segops produce history.jsonl --final-tick 2026-01-31T00:00:00Z
"""
_REPORT_EVERY_S = 5.0


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second at most.")
@click.option(
    "--final-tick",
    type=INSTANT,
    help="Afterwards move the event clock of every partition to this instant: the input has ended.",
)
@click.option("--topic", help="Topic to send to instead of the events topic.")
def command(file: Path, rate: float | None, final_tick: int | None, topic: str | None) -> None:
    """Send the events in FILE, one JSON object a line (.jsonl, .jsonl.gz, or - for the standard input).

    Lines are sent as they are, also those that are no events: the engine puts them to the dead letters with
    the reason. The record key is the userId, else the anonymousId. Exit status 1 when the broker did not
    take every record.
    """
    started = monotonic()

    async def work(settings: Settings) -> tuple[str, Deliveries]:
        load = Load(topic or settings.topics.events, rate, final_tick)
        with LineSource(file) as source, _reporting(source) as report:
            return load.topic, await send_all(settings, load, source.slices(), on_progress=report)

    name, deliveries = run(work)
    click.echo(_summary(name, deliveries, max(monotonic() - started, 0.001)))
    if deliveries.failed:
        raise SegopsError(f"{deliveries.failed:,} records were not delivered: {deliveries.first_error}")


def _summary(topic: str, deliveries: Deliveries, seconds: float) -> str:
    events = max(deliveries.acknowledged - deliveries.ticks, 0)
    tick = f", and the final tick to {deliveries.ticks} partitions" if deliveries.ticks else ""
    return f"{events:,} records delivered to {topic} in {seconds:.1f} s ({events / seconds:,.0f}/s){tick}"


@contextmanager
def _reporting(source: LineSource) -> Iterator[Callable[[Deliveries], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_report()
        return
    columns = (
        TextColumn("{task.completed:,.0f} bytes"),
        BarColumn(),
        TextColumn("{task.fields[sent]:,} sent"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=source.size, sent=0)

        def report(deliveries: Deliveries) -> None:
            progress.update(task, completed=source.position, sent=deliveries.sent)

        yield report


def _plain_report() -> Callable[[Deliveries], None]:
    next_at = monotonic() + _REPORT_EVERY_S

    def report(deliveries: Deliveries) -> None:
        nonlocal next_at
        if monotonic() >= next_at:
            next_at = monotonic() + _REPORT_EVERY_S
            click.echo(f"{deliveries.sent:,} records sent", err=True)

    return report
