"""``segops broker``: a local Kafka in the foreground."""

from __future__ import annotations

import signal
from pathlib import Path
from time import sleep
from types import FrameType

import click

from segops.brokers import BrokerFailed, LocalBroker, choose
from segops.cli._say import say

_EPILOG = """
\b
Examples:
  segops broker                                        # 127.0.0.1:9092, data in .segops/broker
  segops broker --kind jvm --brokers 3                 # a cluster on 9092, 9093 and 9094
  SEGOPS_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 segops worker
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--kind",
    type=click.Choice(["auto", "docker", "jvm", "embedded"]),
    default="auto",
    show_default=True,
    help="Which broker; auto takes the first of the list above that this machine can run.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".segops/broker"),
    show_default=True,
    help="Keeps data and logs; start again with the same folder and everything is still there.",
)
@click.option(
    "--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True, help="Cluster size."
)
@click.option(
    "--port", type=click.IntRange(1024, 65_533), default=9092, show_default=True, help="The first broker's."
)
def command(kind: str, data_dir: Path, brokers: str, port: int) -> None:
    """Run a local Kafka broker until Ctrl-C.

    \b
    docker    Apache Kafka's own image. Needs a Docker engine. Data goes with the container.
    jvm       Apache Kafka on Java 17 or newer; Maven fetches it the first time (44 MB).
              The whole of Kafka, and the only kind with three brokers.
    embedded  A small native broker from a Python wheel; needs nothing else. For a first look
              only: a worker that is killed is never expired from its consumer group.

    It listens on loopback only and is for development, never for production. What was passed over, and
    why, is printed to the standard error.
    """
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
            say(f"passed over {each}", err=True)
    say(f"{broker.name} is ready; data and logs in {data_dir}; Ctrl-C stops it", err=True)
    say(f"SEGOPS_KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap_servers}")


def _follow(broker: LocalBroker) -> None:
    while all(node.alive for node in broker.nodes):
        sleep(0.5)
    dead = [node.address for node in broker.nodes if not node.alive]
    raise BrokerFailed(f"the broker on {', '.join(dead)} ended by itself; see its broker.log")
