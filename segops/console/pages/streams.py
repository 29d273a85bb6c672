"""The live stream of pages: ``/live?page=overview``, ``?page=segments&keys=a b``, ``?page=segment&key=a``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

from segops.console.board.board import Board
from segops.console.live import Source
from segops.console.page import Action, Context, Page, Stream
from segops.console.pages.overview import OverviewSource
from segops.console.pages.segment import SegmentSource
from segops.console.pages.segments import SHOWN, SegmentsSource
from segops.wall_clock import wall_ms

_MAX_KEY: Final = 200
#: Says that there is nothing to wait for.
_GONE: Final = b"event: gone\ndata: {}\n\n"


async def _live(context: Context[Board], last: str) -> AsyncGenerator[bytes, None]:
    await context.board.read()  # a page that was opened before a restart asks for segments not read yet
    channel = _channel(context)
    if channel is None:
        yield _GONE
        return
    stream = context.board.hub.listen(*channel, last)
    del context, channel  # they hold much, and this goes on for hours
    async with aclosing(stream) as messages:
        async for message in messages:
            yield message


def _channel(context: Context[Board]) -> tuple[str, Callable[[], Source]] | None:
    """Return the name of what a page looks at, and what makes its source; None if there is none."""
    board, asked = context.board, context.query
    page = asked.get("page", "")
    if page == "overview":
        return page, lambda: OverviewSource(board, wall_ms)
    if page == "segments":
        keys = _known(board, asked["keys"]) if "keys" in asked else None
        name = page if keys is None else f"{page} {' '.join(sorted(keys))}"
        return name, lambda: SegmentsSource(board, keys)
    key = asked.get("key", "")[:_MAX_KEY]
    if page == "segment" and key in board.definitions:
        return f"{page} {key}", lambda: SegmentSource(board, key)
    return None


def _known(board: Board, keys: str) -> frozenset[str]:
    return frozenset(key for key in keys.split(" ")[: 2 * SHOWN] if key in board.definitions)


PAGES: tuple[Page[Any], ...] = ()
ACTIONS: tuple[Action[Any, Any], ...] = ()
STREAMS: tuple[Stream[Any], ...] = (Stream("/live", _live),)
