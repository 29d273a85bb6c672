"""``segops up``: the whole system on this machine."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from segops.cli._say import say_text
from segops.up.options import Options

_EPILOG = """
\b
Examples:
  segops up
  segops up --source sources.yaml
  SEGOPS_KLAVIYO_API_KEY_FILE=klaviyo-key segops up --klaviyo
  SEGOPS_SHOPIFY_SECRETS=shpss_... SEGOPS_SHOPIFY_SHOPS=my-shop.myshopify.com segops up
  SEGOPS_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 segops up --processes 2
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".segops"),
    show_default=True,
    help="Folder for data, logs and the write key; a later start with the same folder continues with them.",
)
@click.option(
    "--broker",
    type=click.Choice(["auto", "jvm", "embedded", "own"]),
    default="auto",
    show_default=True,
    help="Broker to run on: a kind of `segops broker`, or own: SEGOPS_KAFKA_BOOTSTRAP_SERVERS. auto: own if "
    "that is set, else that of the folder, else the first that this machine can run.",
)
@click.option(
    "--port",
    type=click.IntRange(1024, 65_535),
    default=9092,
    show_default=True,
    help="Port of the broker that is started.",
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes."
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Publish this file of sources first, as `segops sources apply` does.",
)
@click.option(
    "--klaviyo",
    is_flag=True,
    help="Pull from Klaviyo, with the key in SEGOPS_KLAVIYO_API_KEY or SEGOPS_KLAVIYO_API_KEY_FILE.",
)
def command(
    *, data_dir: Path, broker: str, port: int, processes: int, sources: tuple[Path, ...], klaviyo: bool
) -> None:
    """Run the whole system on this machine until Ctrl-C.

    Also the archive, if SEGOPS_ARCHIVE_URL is set, and the output, if SEGOPS_OUTPUT_FORMAT is. Says where
    everything is, which write key SDKs use, and what to paste next; with SEGOPS_SHOPIFY_SECRETS, also where
    webhooks are received. A part that fails is started again, after growing pauses; one with wrong settings
    ends the start with its message. All other settings are those of the environment. For a laptop or a small
    server: everything listens on loopback.

    Exit status 1 if a part could not be kept running.
    """
    from segops.up.system import run

    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.exit(run(Options(data_dir, broker, port, processes, sources, klaviyo), say_text))
