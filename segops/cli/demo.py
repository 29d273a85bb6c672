"""``segops demo``: the whole system on real history, verified."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
from rich.console import Console

from segops.cli._say import say
from segops.config import load
from segops.demo.options import DEFAULT_RATE, Options

_EPILOG = """
\b
Examples:
  segops demo
  segops demo --rate 0 --processes 2
  segops demo --keep
  SEGOPS_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 segops demo --broker own
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--broker",
    type=click.Choice(["embedded", "jvm", "docker", "own", "auto"]),
    default="embedded",
    show_default=True,
    help="Broker to run on: a kind of `segops broker`, or own: SEGOPS_KAFKA_BOOTSTRAP_SERVERS, where the "
    "demo creates topics of its own and deletes them afterwards.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=DEFAULT_RATE,
    show_default=True,
    help="Maximum events per second, slow enough to watch; 0: unlimited.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only N events.")
@click.option(
    "--partitions",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    help="Partitions per topic.",
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for input, logs and data. Default: a temporary folder, deleted at the end.",
)
@click.option(
    "--keep", is_flag=True, help="Keep everything running at the end, until Ctrl-C, with the console."
)
@click.option("--console", is_flag=True, help="Run the console beside the demo, to watch it in a browser.")
def command(
    *,
    broker: str,
    rate: float,
    limit: int | None,
    partitions: int,
    processes: int,
    data_dir: Path | None,
    keep: bool,
    console: bool,
) -> None:
    """Show segops at work and verify every result.

    Starts a broker and a worker, publishes the example segments, sends the purchase history of 23,570
    customers mixed with the clicks of 600 visitors, an eighth of it through the collector as an SDK does, and
    lets 120 more days pass. Half-way, it plans and applies an edit of the segments, which counts past events.
    Time follows the events, so eighteen months take about two minutes. At the end, every membership change is
    compared with the output of `segops replay` for the same input. Exit status 1 if any differs.
    """
    from segops.demo.main import run

    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    kafka = load().kafka
    options = Options(
        limit=limit,
        rate=rate,
        partitions=partitions,
        processes=processes,
        broker=broker,
        bootstrap_servers=kafka.bootstrap_servers if kafka.chosen else None,
        folder=data_dir,
        keep=keep,
        console=console,
    )
    try:
        sys.exit(run(options, Console(highlight=False)))
    except KeyboardInterrupt:
        say("stopped; nothing is left running", err=True)
        sys.exit(130)
