"""``segops sandbox``: what imaginary events and time would change for one profile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from segops.cli._params import INSTANT, formats
from segops.cli._say import say, say_all, say_text
from segops.config import load
from segops.core.errors import UserError
from segops.core.identifiers import identifier_of
from segops.core.values import format_instant
from segops.core.views.sandbox import FlippedLeaf, SandboxChange, SandboxView
from segops.operations.workers import asking_workers
from segops.schemas.sandbox import MAX_DAYS, SandboxForm

_EPILOG = """
\b
Examples:
  segops sandbox user_id:ann --days 60
  segops sandbox user_id:ann --event '{"event": "Order Completed", "properties": {"revenue": 80}}' --days 90
  segops sandbox user_id:ann --events imagined.jsonl --until 2026-09-01T00:00:00Z --format json
"""


def _table(view: SandboxView) -> None:
    say(f"{view.profile_id} from {format_instant(view.now_ms)} to {format_instant(view.until_ms)}")
    say_all(line for change in view.changes for line in _lines(change))
    stays = ", ".join(each.segment_key for each in view.after) or "no segment"
    say(f"then in {stays}")
    if view.stopped is not None:
        cause = "too many changes" if view.stopped == "changes" else "it took too long"
        say(f"stopped at {format_instant(view.reached_ms)}: {cause}", err=True)
    for key in view.failed:
        say(f"the rule of {key} cannot be evaluated", err=True)


def _lines(change: SandboxChange) -> Iterator[str]:
    cause = change.reason if change.event is None else f"event {change.event + 1}"
    yield f"{format_instant(change.at_ms)}  {change.action:7} {change.segment}, {cause}"
    yield from (f"  {_flipped(leaf)}" for leaf in change.flipped)


def _flipped(leaf: FlippedLeaf) -> str:
    sign = {True: "✓", False: "✗", None: "?"}[leaf.holds]
    value = "" if leaf.threshold is None else f": {msgspec.json.encode(leaf.value).decode()}"
    return f"{sign} {leaf.label}{value}"


def _json(view: SandboxView) -> None:
    say_text(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())


_FORMATS: dict[str, Callable[[SandboxView], None]] = {"table": _table, "json": _json}


@click.command(epilog=_EPILOG)
@click.argument("identifier", metavar="ID")
@click.option(
    "--event", "written", multiple=True, metavar="JSON", help="An imaginary event; may be repeated."
)
@click.option(
    "--events",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of imaginary events, one JSON object per line.",
)
@click.option("--days", type=click.FloatRange(0, MAX_DAYS), help="Let this many days pass from now on.")
@click.option("--until", "until_ms", type=INSTANT, help="Let time pass to this instant instead.")
@click.option(
    "--url",
    metavar="URL",
    help="URL of any worker of the group. Default: SEGOPS_WEB_HOST and SEGOPS_WEB_PORT.",
)
@formats(_FORMATS)
def command(
    identifier: str,
    *,
    written: tuple[str, ...],
    file: Path | None,
    days: float | None,
    until_ms: int | None,
    url: str | None,
    form: str,
) -> None:
    """Show what imaginary events and time would change for the person with the identifier ID.

    Events are in the form in which producers send them; without a timestamp they happen now. They are applied
    in the order of their times, then time passes. Each change of a membership is shown with the parts of the
    rule that have another verdict than before. Nothing is stored: a worker computes it on a copy of the
    profile.
    """
    if days is not None and until_ms is not None:
        raise UserError("expected --days or --until, got both")
    lines = [] if file is None else file.read_text("utf-8").splitlines()
    asked = SandboxForm(list(_events([*written, *lines])), until_ms, days)
    _FORMATS[form](asyncio.run(_ask(identifier_of(identifier), asked, url)))


async def _ask(identifier: str, form: SandboxForm, url: str | None) -> SandboxView:
    async with asking_workers(load(), url) as workers:
        return await workers.sandbox(identifier, form)


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(filter(str.strip, lines), 1):
        try:
            yield msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise UserError(f"event {number}: expected a JSON object: {error}") from None
