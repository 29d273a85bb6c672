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
    help="Where it runs: a kind of `segops broker`, or own: the one of SEGOPS_KAFKA_BOOTSTRAP_SERVERS, "
    "where it makes topics of its own and removes them.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=DEFAULT_RATE,
    show_default=True,
    help="Events a second at most, so that one can watch; 0: as fast as it goes.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take N events only.")
@click.option(
    "--partitions", type=click.IntRange(1, 256), default=4, show_default=True, help="Of each topic."
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Of the worker.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keeps input, logs and data; else a temporary folder does, removed at the end.",
)
@click.option("--keep", is_flag=True, help="Leave broker and worker running at the end, until Ctrl-C.")
def command(
    broker: str,
    rate: float,
    limit: int | None,
    partitions: int,
    processes: int,
    data_dir: Path | None,
    keep: bool,
) -> None:
    """Show segops at work, and check every result.

    Starts a broker and a worker, publishes the example segments, sends the purchase history of 23,570
    customers mixed with the clicks of 600 visitors, and lets 120 more days pass. Time is that of the
    events, so eighteen months go by in about a minute. At the end every membership change is compared with
    what `segops replay` makes of the same input. Exit status 1 when one differs.
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
    )
    try:
        sys.exit(run(options, Console(highlight=False)))
    except KeyboardInterrupt:
        say("stopped; nothing is left running", err=True)
        sys.exit(130)
