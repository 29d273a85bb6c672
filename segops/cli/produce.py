"""``segops produce``: events from a file to the events topic."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from segops.cli._events import NotSent, latest_ms, objects, shifted
from segops.cli._kafka import patiently, run
from segops.cli._lines import STDIN, LineSource
from segops.cli._params import INSTANT
from segops.cli._progress import plain_report
from segops.cli._say import say
from segops.config import EngineSettings, Settings
from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant
from segops.kafka import topics
from segops.kafka.reachability import in_words
from segops.operations.produce import Deliveries, Load, send_all
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops produce events.jsonl.gz
  tail -F app.jsonl | segops produce -
  segops produce sample.jsonl --shift-to-now
  SEGOPS_CLOCK=event segops produce history.jsonl --final-tick 2026-01-31T00:00:00Z
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Maximum events per second.")
@click.option(
    "--final-tick",
    type=INSTANT,
    help="After the last event, advance every partition's event clock (SEGOPS_CLOCK=event) to this instant.",
)
@click.option("--beyond-now", is_flag=True, help="Allow a --final-tick in the future.")
@click.option(
    "--shift-to-now",
    is_flag=True,
    help="Shift the times of all events by the same amount so that the latest is now.",
)
@click.option("--topic", help="Send to this topic instead of the events topic.")
def command(
    file: Path,
    *,
    rate: float | None,
    final_tick: int | None,
    beyond_now: bool,
    shift_to_now: bool,
    topic: str | None,
) -> None:
    """Send the events in FILE, one JSON object per line (.jsonl, .jsonl.gz, or - for standard input).

    Objects are sent unchanged, including invalid events: the engine sends those to the dead-letter topic with
    the reason. If a line is a body with a "batch", each event of the batch is sent. Lines that are not JSON
    objects are not sent; if one is among the first lines, nothing is sent. The record key is the userId, else
    the anonymousId. Waits while no broker answers. Exit status 1 if a record was not delivered, 2 if a line
    was not sent.
    """
    if shift_to_now and file == STDIN:
        raise click.UsageError(
            "--shift-to-now requires a file: it needs the latest time before sending anything"
        )
    started, not_sent = monotonic(), NotSent()

    async def work(settings: Settings) -> tuple[str, Deliveries]:
        _refuse_future(settings.engine, final_tick, beyond_now)
        load = Load(topic or settings.topics.events, rate, final_tick)
        shift_ms = await _shift_ms(file) if shift_to_now else 0
        with LineSource(file) as source, _reporting(source) as report:
            lines = objects(file, source.slices(), not_sent)
            # Reject a file that does not hold events before asking a broker.
            first = await anext(lines, None) or []
            await patiently(lambda: topics.partition_counts(settings.kafka, [load.topic]), math.inf)
            sent = await send_all(settings, load, _moved(first, lines, shift_ms), on_progress=report)
            return load.topic, sent

    name, deliveries = run(work)
    say(_summary(name, deliveries, max(monotonic() - started, 0.001)))
    if deliveries.failed:
        raise SegopsError(
            f"{deliveries.failed:,} records were not delivered: {in_words(deliveries.first_error)}"
        )
    if not_sent.count:
        raise UserError(f"{file}: {not_sent.count:,} not sent, {not_sent}")


async def _shift_ms(file: Path) -> int:
    with LineSource(file) as source:
        return wall_ms() - await latest_ms(file, source.slices())


async def _moved(
    first: Sequence[bytes], others: AsyncIterator[Sequence[bytes]], shift_ms: int
) -> AsyncIterator[Sequence[bytes]]:
    yield [shifted(line, shift_ms) for line in first] if shift_ms else first
    async for lines in others:
        yield [shifted(line, shift_ms) for line in lines] if shift_ms else lines


def _refuse_future(engine: EngineSettings, final_tick: int | None, beyond_now: bool) -> None:
    """Raise UserError for a tick that moves time beyond the present, which is irreversible."""
    if final_tick is None or final_tick <= wall_ms() + engine.max_event_ahead_ms:
        return
    if engine.clock == "wall":
        raise UserError(
            f"--final-tick {format_instant(final_tick)} is in the future: with SEGOPS_CLOCK=wall, "
            "ticks cannot advance time"
        )
    if not beyond_now:
        raise UserError(
            f"--final-tick {format_instant(final_tick)} is in the future: clocks never go back, so every "
            "event before it would be late; pass --beyond-now to allow it"
        )


def _summary(topic: str, deliveries: Deliveries, seconds: float) -> str:
    events = max(deliveries.acknowledged - deliveries.ticks, 0)
    tick = f", and the final tick to {deliveries.ticks} partitions" if deliveries.ticks else ""
    return f"{events:,} records delivered to {topic} in {seconds:.1f} s ({events / seconds:,.0f}/s){tick}"


@contextmanager
def _reporting(source: LineSource) -> Iterator[Callable[[Deliveries], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_report(lambda deliveries: f"{deliveries.sent:,} records sent")
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
