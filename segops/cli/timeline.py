"""``segops timeline``: the events and membership changes of one person, in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
import msgspec

from segops.cli._kafka import run
from segops.cli._params import INSTANT, formats, limit_option
from segops.cli._say import say, say_all, say_table
from segops.core.errors import UserError
from segops.core.identifiers import identifier_of
from segops.core.values import format_instant
from segops.core.views.timeline import TimelineEntry, TimelineEvent
from segops.operations.timeline import FoundTimeline, since, timeline

_EPILOG = """
\b
Examples:
  segops timeline user_id:ann
  segops timeline email:ann@example.com --from 2026-05-01T00:00:00Z --to 2026-06-01T00:00:00Z
  segops timeline user_id:ann --limit 1000 --format jsonl
"""


def _table(entries: Iterable[TimelineEntry]) -> None:
    rows = ((format_instant(each.time_ms), each.profile_id, *_described(each)) for each in entries)
    say_table(("time", "profile", "what", "cause"), rows)


def _described(entry: TimelineEntry) -> tuple[str, str]:
    if isinstance(entry, TimelineEvent):
        of = "" if entry.origin is None else f" of {entry.origin}"
        return entry.name, f"message {entry.message_id}{of}"
    into = "" if entry.merged_into is None else f" (into {entry.merged_into})"
    cause = "" if entry.event_id is None else f" {entry.event_id}"
    return (
        f"{entry.action} {entry.segment_key}, version {entry.segment_version}",
        f"{entry.reason}{cause}{into}",
    )


def _jsonl(entries: Iterable[TimelineEntry]) -> None:
    say_all(msgspec.json.encode(each).decode() for each in entries)


_FORMATS: dict[str, Callable[[Iterable[TimelineEntry]], None]] = {"table": _table, "jsonl": _jsonl}


@click.command(epilog=_EPILOG)
@click.argument("identifier", metavar="ID")
@click.option(
    "--from", "from_ms", type=INSTANT, help="Begin with this instant.  [default: all that is retained]"
)
@click.option("--to", "to_ms", type=INSTANT, help="End before this instant.  [default: all that is retained]")
@limit_option("List the first N entries at most.")
@formats(_FORMATS)
def command(identifier: str, from_ms: int | None, to_ms: int | None, limit: int | None, form: str) -> None:
    """List the events and membership changes of the person with the identifier ID, in order of time.

    A merged identifier leads to the profile that it is part of; the entries of all profiles that became one
    are listed. They come from Kafka, and with SEGOPS_ARCHIVE_URL from the archive; no worker is needed. The
    last line says from when on all are retained.
    """
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise UserError(f"expected --to after --from, got {format_instant(to_ms)}")
    name = identifier_of(identifier)
    found = run(lambda settings: timeline(settings, name, from_ms=from_ms, to_ms=to_ms))
    _FORMATS[form](found.entries[:limit])
    say(_summary(found, limit), err=True)


def _summary(found: FoundTimeline, limit: int | None) -> str:
    number = len(found.entries)
    more = "" if limit is None or number <= limit else f", the first {limit:,} listed"
    events, changes = since(found.events_since_ms), since(found.changes_since_ms)
    return f"{number:,} entries of {found.profile_id}{more}; events are retained {events}, changes {changes}"
