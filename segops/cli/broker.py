"""``segops broker``: a local Kafka broker in the foreground."""

from __future__ import annotations

import signal
from pathlib import Path
from time import sleep
from types import FrameType

import click

from segops.brokers import BrokerFailed, LocalBroker, choose
from segops.cli._say import say

_HELP = """Run a local Kafka broker until Ctrl-C.

\b
docker    Apache Kafka's own image. Needs a Docker engine. Data is lost with the container.
jvm       Apache Kafka on Java 17 or newer; Maven downloads it once (44 MB).
          Complete Kafka, and the only kind with three brokers.
embedded  A small native broker from a Python wheel; needs nothing else. For a first look
          only: a worker that is killed is never expired from its consumer group.

The broker listens on loopback only and is for development, never for production. Kinds that were
skipped are listed on standard error with the reason.
"""
_EPILOG = """
\b
Examples:
  segops broker                                        # 127.0.0.1:9092, data in .segops/broker
  segops broker --kind jvm --brokers 3                 # a cluster on 9092, 9093 and 9094
  SEGOPS_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 segops worker
"""


@click.command(help=_HELP, epilog=_EPILOG)
@click.option(
    "--kind",
    type=click.Choice(["auto", "docker", "jvm", "embedded"]),
    default="auto",
    show_default=True,
    help="Kind of broker; auto picks the first in the list above that this machine can run.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".segops/broker"),
    show_default=True,
    help="Folder for data and logs; a later start with the same folder continues with its data.",
)
@click.option(
    "--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True, help="Number of brokers."
)
@click.option(
    "--port",
    type=click.IntRange(1024, 65_533),
    default=9092,
    show_default=True,
    help="Port of the first broker.",
)
def command(kind: str, data_dir: Path, brokers: str, port: int) -> None:
    """Run a local Kafka broker until Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs start with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        with choose(data_dir, prefer=kind, brokers=int(brokers), port=port) as broker:
            _announce(broker, data_dir)
            _follow(broker)
    except KeyboardInterrupt:
        say("stopped", err=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _announce(broker: LocalBroker, data_dir: Path) -> None:
    for each in broker.passed_over:
        if each.kind != "own":
            say(f"skipped {each}", err=True)
    say(f"{broker.name} is ready; data and logs in {data_dir}; Ctrl-C stops it", err=True)
    say(f"SEGOPS_KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap_servers}")


def _follow(broker: LocalBroker) -> None:
    while all(node.alive for node in broker.nodes):
        sleep(0.5)
    dead = [node.address for node in broker.nodes if not node.alive]
    raise BrokerFailed(f"the broker on {', '.join(dead)} exited unexpectedly; see its broker.log")
