"""What the commands that talk to Kafka share: settings, one event loop, no client's chatter, tables."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from segops.config import Settings, load
from segops.core.errors import SegopsError

_T = TypeVar("_T")
_PIPE_WIDTH = 200  # nothing is cut where no terminal sets a width


def run(work: Callable[[Settings], Awaitable[_T]]) -> _T:
    """Do ``work`` with the settings of the environment, and return what it returns.

    Raises UserError for wrong settings, SegopsError when Kafka fails on the way.
    """
    settings = load()
    # The client reports on its own retries; what matters to a person comes as an error.
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    async def main() -> _T:
        return await work(settings)

    try:
        return asyncio.run(main())
    except KafkaError as error:
        raise SegopsError(f"Kafka at {settings.kafka.bootstrap_servers}: {error}") from error


def print_table(table: Table) -> None:
    """Print to the standard output, in a terminal's width or unabridged."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)
