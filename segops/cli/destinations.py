"""``segops destinations``: the services and servers that receive audiences."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from segops.cli._changes import print_resource_changes
from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._say import say, say_table
from segops.destinations import published
from segops.destinations.model import Destination
from segops.operations import destinations as operations

_EPILOG = """
\b
Examples:
  segops destinations apply destinations.yaml
  segops destinations check crm-hook
  segops destinations list
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Describe and verify who receives audiences: destinations as code.

    An audience names them under `deliver`. A destination names the places of its secrets, an environment
    variable or a file of `segops activate`, and never holds them.
    """


@command.command(epilog="Example: segops destinations apply destinations.yaml --dry-run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prune", is_flag=True, help="Remove published destinations that are not in FILE.")
@click.option("--dry-run", is_flag=True, help="Show what would change without publishing.")
def apply(file: Path, *, prune: bool, dry_run: bool) -> None:
    """Publish the destinations in FILE, all or none. Running processes take them over within a second.

    The changed address of a destination is not a new one: what it was told is not told again.
    """
    found = published.load(file)
    changes = run(lambda settings: published.publish(settings, found, prune=prune, dry_run=dry_run))
    print_resource_changes(changes, "destinations", dry_run=dry_run)


@command.command(epilog="Example: segops destinations remove crm-hook")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove(names: Sequence[str]) -> None:
    """Remove destinations: they are told nothing more. The lists that they hold stay as they are."""
    changes = run(lambda settings: published.topic_of(settings).remove(names))
    print_resource_changes(changes, "destinations")


@command.command("list", epilog="Example: segops destinations list --format jsonl")
@formats(["table", "jsonl"])
def list_(form: str) -> None:
    """List the published destinations. Secrets are shown by the names of their places."""
    found = run(lambda settings: published.topic_of(settings).read())
    if form == "jsonl":
        for each in found.values():
            say(msgspec.json.encode(each.written).decode())
    elif found:
        say_table(("destination", "kind", "written"), [_row(each) for _, each in sorted(found.items())])
    else:
        say("no destination is published")


def _row(destination: Destination) -> tuple[str, ...]:
    rest = {name: value for name, value in destination.written.items() if name not in ("name", "kind")}
    shown = (f"{name}={msgspec.json.encode(value).decode()}" for name, value in rest.items())
    return destination.name, destination.kind, " ".join(shown)


@command.command(epilog="Example: segops destinations check crm-hook --audience winback-email")
@click.argument("name")
@click.option("--audience", metavar="KEY", help="Also what this audience's delivery names, such as a list.")
def check(name: str, *, audience: str | None) -> None:
    """Verify that the published destination NAME can be reached with its secrets, by harmless requests.

    Bad is also what would happen to those who are members at the activation, if the audience has
    `existing: send`. Exit status: 1 if a finding is bad.
    """
    found = run(lambda settings: operations.check(settings, name, audience))
    for each in found.findings:
        say(f"{'ok' if each.is_ok(found.existing) else 'bad'}  {each.text}")
    sys.exit(0 if found.ok else 1)
