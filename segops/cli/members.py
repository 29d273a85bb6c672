"""``segops members``: who is, or was, in a segment."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
import msgspec

from segops.cli._kafka import run
from segops.cli._params import INSTANT, formats, limit_option
from segops.cli._say import say, say_all, say_table
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.core.views.history import PastMembership
from segops.operations.history import members_at
from segops.operations.segments import published

_EPILOG = """
\b
Examples:
  segops members high-intent --limit 20
  segops members at-risk --at 2026-05-01T12:00:00Z --format jsonl
"""


def _table(members: Iterable[PastMembership]) -> None:
    rows = (
        (each.profile_id, shown(each.since, "unknown"), each.reason or "unknown", shown(each.until, "never"))
        for each in members
    )
    say_table(("profile", "since", "reason", "until"), rows)


def shown(at_ms: int | None, otherwise: str) -> str:
    """Return an instant as text, or ``otherwise`` for None."""
    return otherwise if at_ms is None else format_instant(at_ms)


def _jsonl(members: Iterable[PastMembership]) -> None:
    say_all(msgspec.json.encode(each).decode() for each in members)


_FORMATS: dict[str, Callable[[Iterable[PastMembership]], None]] = {"table": _table, "jsonl": _jsonl}


@click.command(epilog=_EPILOG)
@click.argument("key", metavar="KEY")
@click.option("--at", "at_ms", type=INSTANT, help="List the members at this instant.  [default: now]")
@limit_option("List at most N members.")
@formats(_FORMATS)
def command(key: str, at_ms: int | None, limit: int | None, form: str) -> None:
    """List the members of the segment KEY, now or at a past instant: since when, why, and until when.

    The answer comes from the published changes: of Kafka and, with SEGOPS_ARCHIVE_URL, of the archive. It is
    exact for every instant from which on all changes are retained; an earlier one is refused. The end of a
    past membership is the actual one, if it has ended.
    """
    found = run(lambda settings: _members(settings, key, at_ms))
    _FORMATS[form](found[:limit])
    more = "" if limit is None or len(found) <= limit else f", {limit:,} listed"
    say(f"{len(found):,} members{more}", err=True)


async def _members(settings: Settings, key: str, at_ms: int | None) -> list[PastMembership]:
    if key not in {each.key for each in await published(settings)}:
        raise UserError(f"unknown segment {key!r}; `segops segments --all` lists all segments")
    return await members_at(settings, key, at_ms)
