"""``segops quarantine``: profiles that cannot be read, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from segops.cli._kafka import run
from segops.cli._say import say, say_table, say_text
from segops.core.errors import SegopsError, StateError, UserError
from segops.core.messages import Handover
from segops.core.profile import Profile
from segops.core.values import format_instant
from segops.operations import quarantine as quarantined
from segops.operations.quarantine import Quarantined

_EPILOG = """
\b
Examples:
  segops quarantine list
  segops quarantine show user_id:u1 > u1.json
  segops quarantine restore user_id:u1 --state u1.json
  segops quarantine drop user_id:u1
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Look at profiles that could not be read and were set aside; restore them, or give them up.

    Until then the events of such a profile are kept for it, and everybody else's are worked off. ID is the
    profile, or the name of what is set aside.
    """


@command.command("list", epilog="Example: segops quarantine list")
def list_() -> None:
    """List what is set aside: since when, whose, where it was found, and why it cannot be read."""
    found = run(quarantined.quarantined)
    if not found:
        say("nothing is set aside")
        return
    columns = ("since", "profile", "name", "found in", "origin", "bytes", "reason")
    say_table(columns, map(_row, found), figures=("bytes",))


def _row(one: Quarantined) -> tuple[str, ...]:
    since = format_instant(one.since_ms)
    return since, one.profile_id, one.of, one.found_in, one.origin, f"{len(one.data):,}", one.reason


@command.command(epilog="Example: segops quarantine show user_id:u1 > u1.json")
@click.argument("profile_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the bytes as they are.")
def show(profile_id: str, raw: bool) -> None:
    """Print the fields of what is set aside of ID as JSON, to be mended and given to restore.

    Why it cannot be read is on the standard error.
    """
    one = run(lambda settings: quarantined.find(settings, profile_id))
    if raw:
        click.get_binary_stream("stdout").write(one.data)
        return
    where = f"{one.found_in}, {one.of}, {one.origin}"
    say(f"{one.profile_id} ({where}): {one.reason}", err=True)
    say_text(json.dumps(json.loads(msgspec.json.encode(one.plain())), indent=1))


@command.command(epilog="Example: segops quarantine restore user_id:u1 --state u1.json")
@click.argument("profile_id", metavar="ID")
@click.option(
    "--state",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Restore this instead of the bytes set aside: fields as show prints them (.json), or bytes.",
)
def restore(profile_id: str, state: Path | None) -> None:
    """Let ID go on as it was stored, and apply what has been kept for it since.

    Without --state the bytes must be readable by this version, as those of a later one are after an upgrade.
    """
    one = run(lambda settings: quarantined.find(settings, profile_id))
    found = _mended(one, state)
    run(lambda settings: quarantined.release(settings, one, found))
    say(f"{profile_id} is restored: the request is sent")


@command.command(epilog="Example: segops quarantine drop user_id:u1")
@click.argument("profile_id", metavar="ID")
def drop(profile_id: str) -> None:
    """Give up what is set aside of ID, and the events kept for it: it begins from nothing.

    Its memberships end with the reason quarantine; its sequence goes on behind the last one published.
    """
    one = run(lambda settings: quarantined.find(settings, profile_id))
    run(lambda settings: quarantined.release(settings, one, None))
    say(f"{profile_id} is dropped: the request is sent")


def _mended(one: Quarantined, state: Path | None) -> Profile | Handover:
    try:
        if state is None:
            return one.readable()
        if state.suffix == ".json":
            return one.repaired(_json(state))
        return msgspec.structs.replace(one, data=state.read_bytes()).readable()
    except StateError as error:
        raise UserError(f"{one.profile_id} cannot be restored: {error}") from error
    except OSError as error:
        raise SegopsError(f"{state}: {error}") from error


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: invalid JSON: {error}") from None
