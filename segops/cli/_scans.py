"""What the commands that scan all profiles share: their options, the wait with progress, the last line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click
import msgspec
from rich.console import Console

from segops.cli._kafka import run
from segops.cli._progress import plain_report
from segops.cli._say import say, say_text
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.kafka import definitions
from segops.kafka.definitions import DefinitionLog
from segops.operations.scans import Progress, scan
from segops.schemas.scans import Question, Scanned

_Asked = TypeVar("_Asked", bound=Question)

FORMAT: Final = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
WAIT: Final = click.option(
    "--timeout",
    "wait",
    type=click.FloatRange(min=1, max=86_400),
    default=600.0,
    show_default=True,
    help="Seconds to wait for the answers of all partitions.",
)


def scan_for(question: Callable[[DefinitionLog], _Asked], *, wait_s: float) -> tuple[_Asked, Scanned]:
    """Return what ``question`` asks, given the published definitions, and the result of the scan."""

    async def work(settings: Settings) -> tuple[_Asked, Scanned]:
        asked = question(await definitions.read(settings))
        with reporting() as report:
            return asked, await scan(settings, asked, wait_s=wait_s, progress=report)

    return run(work)


def check_keys(keys: Sequence[str], log: DefinitionLog) -> tuple[str, ...]:
    """Return the keys. Raises UserError if one is not that of a published segment."""
    unknown = sorted(set(keys) - log.live.keys())
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise UserError(f"unknown segment {names}; `segops segments` lists all segments")
    return tuple(keys)


def say_json(view: msgspec.Struct) -> None:
    """Print a view as indented JSON."""
    say_text(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())


def say_when(view: Any) -> None:
    """Print as of when the figures are, and how many profiles could not be read."""
    began, ended = format_instant(view.from_ms), format_instant(view.to_ms)
    say(f"as of {began}" if began == ended else f"each profile as of its turn from {began} to {ended}")
    if view.unreadable:
        say(f"{view.unreadable:,} profiles cannot be read and are left out: see `segops quarantine list`")


@contextmanager
def reporting() -> Iterator[Callable[[Progress], None]]:
    """Yield what reports the progress of a scan: a status line on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_report(_text)
        return
    with console.status("waiting for the partitions") as status:
        yield lambda progress: status.update(_text(progress))


def _text(progress: Progress) -> str:
    done = f"{progress.answered} of {progress.partitions} partitions"
    return f"{done}, {progress.profiles:,} profiles visited"
