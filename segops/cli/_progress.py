"""Progress on standard error: lines now and then where it is no terminal, and the wait for a roll-out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from segops.analytics.views import BackfillProgress, Rollout
from segops.cli._say import say

_REPORT_EVERY_S: Final = 5.0
#: The most partitions that a line names.
_NAMED: Final = 8
_T = TypeVar("_T")


def plain_report(text: Callable[[_T], str]) -> Callable[[_T], None]:
    """Return what prints the text of a state to standard error, a line every five seconds at most."""
    next_at = monotonic() + _REPORT_EVERY_S

    def report(state: _T) -> None:
        nonlocal next_at
        if monotonic() >= next_at:
            next_at = monotonic() + _REPORT_EVERY_S
            say(text(state), err=True)

    return report


@contextmanager
def reporting_rollout() -> Iterator[Callable[[Rollout], None]]:
    """Provide what reports a roll-out: a bar per partition on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_report(rollout_line)
        return
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}")
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars, console.height - 3).show


class _Bars:
    """A bar for all partitions together, and one for each that is not done, as many as fit."""

    def __init__(self, bars: Progress, room: int) -> None:
        self._bars, self._room = bars, room
        self._total = bars.add_task("in force", text="")
        self._of: dict[int, TaskID] = {}

    def show(self, rollout: Rollout) -> None:
        done = sum(each.in_force for each in rollout.partitions)
        count = len(rollout.partitions)
        text = f"{done} of {count} partitions{_left(rollout.progress)}"
        self._bars.update(self._total, completed=done, total=count, text=text)
        for each in rollout.partitions:
            if each.in_force and each.partition in self._of:
                self._bars.remove_task(self._of.pop(each.partition))
            elif each.progress is not None:
                self._show_one(each.partition, each.progress)

    def _show_one(self, partition: int, found: BackfillProgress) -> None:
        if partition not in self._of and len(self._of) < self._room:
            self._of[partition] = self._bars.add_task(f"partition {partition}", text="")
        if partition in self._of:
            text = f"{found.read:,} of {found.total:,} records"
            self._bars.update(self._of[partition], completed=found.read, total=found.total, text=text)


def rollout_line(rollout: Rollout) -> str:
    """Return the state of a roll-out in one line."""
    done = sum(each.in_force for each in rollout.partitions)
    text = f"in force in {done} of {len(rollout.partitions)} partitions"
    if rollout.progress is None:
        return text
    reading = [each for each in rollout.partitions if each.progress is not None]
    named = ", ".join(
        f"{each.partition}: {each.progress.read:,} of {each.progress.total:,}"
        for each in reading[:_NAMED]
        if each.progress is not None
    )
    more = ", ..." if len(reading) > _NAMED else ""
    return f"{text}; records of history read by partition: {named}{more}{_left(rollout.progress)}"


def _left(progress: BackfillProgress | None) -> str:
    if progress is None or progress.left_ms is None:
        return ""
    return f", {in_words(progress.left_ms)} left"


def in_words(ms: int) -> str:
    """Return an estimated duration.

    >>> [in_words(ms) for ms in (0, 59_000, 61_000, 5_400_000, 200_000_000)]
    ['about 1 s', 'about 59 s', 'about 2 min', 'about 2 h', 'about 3 d']
    """
    for limit_ms, unit_ms, name in (
        (60_000, 1_000, "s"),
        (3_600_000, 60_000, "min"),
        (86_400_000, 3_600_000, "h"),
    ):
        if ms < limit_ms:
            return f"about {max(1, math.ceil(ms / unit_ms))} {name}"
    return f"about {math.ceil(ms / 86_400_000)} d"
