"""``segops quarantine``: list, inspect, restore or drop profiles that cannot be read."""

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
    """Inspect quarantined profiles, which could not be read; restore or drop them.

    While a profile is quarantined, its events are kept for it and all other profiles are processed normally.
    ID is the profile's id or the name of the quarantined bytes.
    """


@command.command("list", epilog="Example: segops quarantine list")
def list_() -> None:
    """List quarantined profiles: since when, where they were found, and why they cannot be read."""
    found = run(quarantined.quarantined)
    if not found:
        say("nothing is quarantined")
        return
    columns = ("since", "profile", "name", "found in", "origin", "bytes", "reason")
    say_table(columns, map(_row, found), figures=("bytes",))


def _row(one: Quarantined) -> tuple[str, ...]:
    since = format_instant(one.since_ms)
    return since, one.profile_id, one.of, one.found_in, one.origin, f"{len(one.data):,}", one.reason


@command.command(epilog="Example: segops quarantine show user_id:u1 > u1.json")
@click.argument("profile_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the stored bytes unchanged.")
def show(profile_id: str, raw: bool) -> None:
    """Print the fields of a quarantined profile as JSON, to be repaired and passed to restore.

    The reason why it cannot be read is printed on standard error.
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
    help="File to restore instead of the quarantined bytes: fields as printed by show (.json), or bytes.",
)
def restore(profile_id: str, state: Path | None) -> None:
    """Restore a quarantined profile and apply the events kept for it.

    Without --state, this version must be able to read the stored bytes, for instance after an upgrade.
    """
    one = run(lambda settings: quarantined.find(settings, profile_id))
    found = _repaired(one, state)
    run(lambda settings: quarantined.release(settings, one, found))
    say(f"request to restore {profile_id} sent")


@command.command(epilog="Example: segops quarantine drop user_id:u1")
@click.argument("profile_id", metavar="ID")
def drop(profile_id: str) -> None:
    """Drop a quarantined profile and the events kept for it; the profile starts empty.

    Its memberships end with the reason quarantine; its sequence continues after the last published one.
    """
    one = run(lambda settings: quarantined.find(settings, profile_id))
    run(lambda settings: quarantined.release(settings, one, None))
    say(f"request to drop {profile_id} sent")


def _repaired(one: Quarantined, state: Path | None) -> Profile | Handover:
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
