"""``segops watch``: membership changes as they are published, and segment sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import aclosing, suppress

import click
import msgspec

from segops.cli._kafka import run
from segops.cli._params import formats, limit_option
from segops.cli._say import say, say_table
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.events import Change
from segops.core.values import format_instant
from segops.kafka import definitions
from segops.operations.memberships import Memberships, memberships

_EPILOG = """
\b
Examples:
  segops watch --once
  segops watch --segment high-intent --format jsonl
"""


class _View(msgspec.Struct, frozen=True):
    segment: str | None
    format: str
    once: bool
    limit: int | None

    def shows(self, key: str) -> bool:
        return self.segment in (None, key)


@click.command(epilog=_EPILOG)
@click.option("--segment", metavar="KEY", help="Show only this segment.")
@formats(
    ["table", "jsonl"], note="jsonl prints the records as they are published, and sizes only with --once"
)
@click.option("--once", is_flag=True, help="Show the current sizes and exit.")
@limit_option("Exit after N changes.")
def command(segment: str | None, form: str, once: bool, limit: int | None) -> None:
    """Follow membership changes and segment sizes until Ctrl-C.

    Sizes are counted from the compacted membership topic. Each change is shown with its reason and the
    instant at which the membership flips if nothing more happens.
    """
    view = _View(segment, form, once, limit)
    with suppress(KeyboardInterrupt):
        run(lambda settings: _watch(settings, view), wait_s=0.0 if once else math.inf)


async def _watch(settings: Settings, view: _View) -> None:
    names = {key: d.name for key, d in (await definitions.read(settings)).live.items()}
    async with memberships(settings) as found:
        await found.catch_up()
        counts = {**dict.fromkeys(names, 0), **found.sizes.counts()}
        if view.segment is not None and view.segment not in counts:
            raise UserError(f"unknown segment {view.segment!r}; `segops watch --once` lists all segments")
        if view.once or view.format == "table":
            _print_sizes(counts, names, view)
        if not view.once:
            await _follow(found, view)


async def _follow(found: Memberships, view: _View) -> None:
    left = view.limit
    async with aclosing(found.changes()) as changes:
        async for change, record, size in changes:
            if view.shows(change.segment_key):
                _print_change(change, record, size, view)
                left = None if left is None else left - 1
            if left == 0:
                return


def _print_sizes(counts: Mapping[str, int], names: Mapping[str, str], view: _View) -> None:
    rows = [(key, count, names.get(key, "")) for key, count in sorted(counts.items()) if view.shows(key)]
    if view.format == "jsonl":
        for key, count, name in rows:
            say(msgspec.json.encode({"segment_key": key, "name": name, "members": count}).decode())
        return
    say_table(
        ("segment", "members", "name"),
        [(key, f"{count:,}", name) for key, count, name in rows],
        figures=["members"],
    )


def _print_change(change: Change, record: bytes, size: int, view: _View) -> None:
    if view.format == "jsonl":
        say(record.decode())
        return
    until = "" if change.flips_at is None else f"  until {format_instant(change.flips_at)}"
    who = f"{change.segment_key}  {change.profile_id}  {change.reason}"
    say(f"{format_instant(change.occurred_at)}  ", end="")
    say("+ entered" if change.member else "- exited ", end="", colour="green" if change.member else "red")
    say(f"  {who}{until}  ({size:,} members)")
