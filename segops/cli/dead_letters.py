"""``segops dead-letters``: input that was rejected, and sending it once more."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import msgspec

from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._say import say, say_all, say_table
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.operations import dead_letters
from segops.operations.dead_letters import DeadLetter, Replayed, tried
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops dead-letters list --reason too_large
  segops dead-letters show 0:17
  segops dead-letters replay 0:17 --dry-run
"""
_MOST = 10_000


@click.group(epilog=_EPILOG)
def command() -> None:
    """Show rejected input with the reason, and send the events among it once more.

    ID is the partition and the offset of a dead letter in its topic, such as 0:17.
    """


@command.command("list", epilog="Example: segops dead-letters list --reason too_large --limit 20")
@click.option("--reason", metavar="TEXT", help="Of this reason only.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST),
    default=100,
    show_default=True,
    metavar="N",
    help="Read about the latest N dead letters.",
)
@formats(["table", "jsonl"], note="jsonl has their bytes, in base64")
def list_(reason: str | None, limit: int, form: str) -> None:
    """List the latest dead letters, the newest first."""
    found = run(lambda settings: dead_letters.latest(settings, limit, reason=reason)).letters
    if form == "jsonl":
        say_all(msgspec.json.encode(each).decode() for each in found)
    elif found:
        say_table(("at", "id", "reason", "detail", "origin", "bytes"), map(_row, found), figures=("bytes",))
    else:
        say("no dead letters")


def _row(each: DeadLetter) -> tuple[str, ...]:
    size = f"{len(each.value or b''):,}{'+' if each.cut else ''}"
    return format_instant(each.at_ms), each.id, each.reason, each.detail, each.origin, size


@command.command(epilog="Example: segops dead-letters show 0:17 > event.json")
@click.argument("name", metavar="ID")
def show(name: str) -> None:
    """Write the bytes of a dead letter unchanged; its reason is printed on standard error."""
    (found,) = run(lambda settings: dead_letters.find(settings, [name]))
    click.get_binary_stream("stdout").write(found.value or b"")
    say(f"{found.id} ({found.origin}): {found.reason}: {found.detail}", err=True)


@command.command(epilog="Example: segops dead-letters replay 0:17 0:18")
@click.argument("names", nargs=-1, metavar="[ID]...")
@click.option("--reason", metavar="TEXT", help="Instead of IDs: the dead letters of this reason.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST),
    default=100,
    show_default=True,
    metavar="N",
    help="With --reason: among about the latest N.",
)
@click.option("--dry-run", is_flag=True, help="Show what would become of them.")
def replay(names: Sequence[str], *, reason: str | None, limit: int, dry_run: bool) -> None:
    """Send dead letters that are events to the events topic once more, byte for byte.

    Do so after the cause is mended, such as a limit that was too low. They are checked first: what would be
    rejected again is not sent, nor is a record that is no event, such as a webhook. They go past tracking
    plans. An event without a messageId counts again each time. Exit status 1: one was not sent.
    """
    if bool(names) is (reason is not None):
        raise click.UsageError("expected IDs or --reason")

    async def work(settings: Settings) -> list[Replayed]:
        letters = await _chosen(settings, names, reason, limit)
        if dry_run:
            return [tried(each, settings, now_ms=wall_ms()) for each in letters]
        return await dead_letters.replay(settings, letters)

    found = run(work)
    for each in found:
        say(f"{each.id}: {each.refused or f'an event of {each.profile_id}'}")
    count = sum(each.profile_id is not None for each in found)
    say(f"{'would send' if dry_run else 'sent'} {count:,} of {len(found):,}")
    sys.exit(0 if count == len(found) else 1)


async def _chosen(
    settings: Settings, names: Sequence[str], reason: str | None, limit: int
) -> list[DeadLetter]:
    if reason is None:
        return await dead_letters.find(settings, names)
    found = (await dead_letters.latest(settings, limit, reason=reason)).letters
    if not found:
        raise UserError(f"no dead letter of the reason {reason!r} among the latest {limit:,}")
    return found[::-1]
