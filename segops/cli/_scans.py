"""What the commands that scan all profiles share: their options, the wait with progress, the last line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, TypeVar

import click
import msgspec
from rich.console import Console

from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._progress import plain_report
from segops.cli._say import say, say_text
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.scans import Interval
from segops.core.segments import Definition
from segops.core.values import format_instant
from segops.kafka import definitions
from segops.kafka.definitions import DefinitionLog
from segops.operations.columns import publish_columns
from segops.operations.scans import Progress, patient_scan
from segops.schemas.scans import Question, Scanned

_Asked = TypeVar("_Asked", bound=Question)

FORMAT: Final = formats(["table", "json"])
WAIT: Final = click.option(
    "--timeout",
    "wait",
    type=click.FloatRange(min=1, max=86_400),
    default=600.0,
    show_default=True,
    help="Seconds to wait for the answers of all partitions.",
)


def scan_for(
    question: Callable[[DefinitionLog], _Asked], *, wait_s: float, drafts: Sequence[Definition] = ()
) -> tuple[_Asked, Scanned]:
    """Return what ``question`` asks, given the published definitions, and the result of the scan.

    The look-up tables that ``drafts`` read are published first.
    """

    async def work(settings: Settings) -> tuple[_Asked, Scanned]:
        log = await definitions.read(settings)
        asked = question(log)
        await publish_columns(settings, log, drafts)
        with reporting() as report:
            return asked, await patient_scan(settings, asked, wait_s=wait_s, progress=report)

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
    for line in when(view):
        say(line)


def when(view: Any) -> Iterator[str]:
    """Yield as of when the figures are, and how many profiles could not be read."""
    began, ended = format_instant(view.from_ms), format_instant(view.to_ms)
    yield f"as of {began}" if began == ended else f"each profile as of its turn from {began} to {ended}"
    if view.unreadable:
        yield f"{view.unreadable:,} profiles cannot be read and are left out: see `segops quarantine list`"


def interval_text(found: Interval) -> str:
    """Return an estimated number with its bounds, or an exact one.

    >>> interval_text(Interval(200, 36, 1_113)), interval_text(Interval(7, 7, 7))
    ('about 200 (36 to 1,113)', '7')
    """
    if found.low == found.high:
        return f"{found.estimate:,}"
    return f"about {found.estimate:,} ({found.low:,} to {found.high:,})"


@contextmanager
def reporting() -> Iterator[Callable[[Progress], None]]:
    """Yield what reports the progress of a scan: a status line on a terminal, else a line now and then."""
    console, text = Console(stderr=True), _Text()

    def line(progress: Progress) -> str:
        return text.of(progress, monotonic())

    if not console.is_terminal:
        yield plain_report(line)
        return
    with console.status("waiting for the partitions") as status:
        yield lambda progress: status.update(line(progress))


class _Text:
    """The progress of a scan in words, and of the history that it waits for."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def of(self, progress: Progress, now_s: float) -> str:
        """Return the line for a progress at an instant (s), of any clock that is always the same."""
        if progress.history:
            return self._of_history(progress.history, now_s)
        done = f"{progress.answered} of {progress.partitions} partitions"
        return f"{done}, {progress.profiles:,} profiles visited"

    def _of_history(self, history: Mapping[int, tuple[int, int]], now_s: float) -> str:
        read, total = map(sum, zip(*history.values(), strict=True))
        shares = (
            f"{n}: {100 * read // total if total else 0} %" for n, (read, total) in sorted(history.items())
        )
        line = f"history: {read:,} of {total:,} records read (partition {', '.join(shares)})"
        began_s, began = self._began = self._began or (now_s, read)
        if read <= began:
            return line
        left_s = (total - read) * (now_s - began_s) / (read - began)
        return f"{line}, about {left_s:,.0f} s left"
