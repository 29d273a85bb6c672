"""Show figures as they change: redrawn in place on a terminal, as lines elsewhere."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

from segops.analytics.reader import TopicReader
from segops.cli._kafka import run
from segops.cli._say import redrawing, say
from segops.config import Settings

if TYPE_CHECKING:
    from rich.table import Table

_PAUSE_S: Final = 0.25

Blocks = Iterable["str | Table"]


def run_shown(show: Callable[[Settings], Awaitable[None]], *, watch: bool) -> None:
    """Run a command that shows figures; with ``watch`` until Ctrl-C, and it waits for a broker."""
    with suppress(KeyboardInterrupt):
        run(show, wait_s=math.inf if watch else 0.0)


async def refresh(
    reader: TopicReader[Any],
    frame: Callable[[], Blocks],
    lines: Callable[[Collection[str] | None], Iterator[str]],
    *,
    plain: bool,
) -> None:
    """Draw ``frame`` on a terminal, else print ``lines``: at first and after changes. Runs until cancelled.

    ``lines`` gets the keys of the segments that may have changed since its last call, at first None for all;
    ``plain`` prints lines on a terminal, too.
    """
    with redrawing() as redraw:
        async with aclosing(_paced(reader)) as all_changed:
            async for changed in all_changed:
                if redraw is not None and not plain:
                    redraw(frame())
                    continue
                for line in lines(changed):
                    say(line)


async def _paced(reader: TopicReader[Any]) -> AsyncGenerator[Collection[str] | None, None]:
    """Yield None now, then the keys of what changed, at most four times a second."""
    yield None
    now = asyncio.get_running_loop().time
    pending: set[str] = set()
    last = now()
    async with aclosing(reader.changes()) as changes:
        async for changed in changes:
            pending |= changed
            if pending and now() - last >= _PAUSE_S:
                yield pending
                pending, last = set(), now()
