"""``segops lookups``: the look-up tables that published segments read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from segops.cli._changes import print_changes
from segops.cli._edits import limited, limits_in
from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._say import say, say_table
from segops.cli._scans import reporting
from segops.config import Settings
from segops.core.errors import UserError
from segops.core.lookups import POSTAL_CODES
from segops.kafka import definitions
from segops.operations import lookups, plans
from segops.operations.definitions import DefinitionChange
from segops.operations.plans import Wait
from segops.schemas.lookups import rows_of_file, with_points

_EPILOG = """
\b
Examples:
  segops lookups list
  segops lookups show products p-1001
  segops lookups put products products.csv --key id
"""
_ANSWERS_S: Final = 600.0


@click.group(epilog=_EPILOG)
def command() -> None:
    """List the look-up tables that published segments read, show their rows, or replace one.

    `segops apply` publishes the columns that rules read, with the segments. A column that no segment reads
    any more is removed by a publication a week later.
    """


@command.command("list", epilog="Example: segops lookups list --format jsonl")
@formats(["table", "jsonl"])
def list_(form: str) -> None:
    """List the columns in use: their rows, compressed bytes, and the segments that read them."""
    found = run(lookups.published)
    if form == "jsonl":
        for each in found:
            say(msgspec.json.encode(each).decode())
    elif found:
        columns = ("table", "column", "rows", "bytes", "used by", "digest")
        say_table(columns, map(_row, found), figures=("rows", "bytes"))
    else:
        say("no published segment reads a look-up table")


def _row(each: lookups.PublishedColumn) -> tuple[str, ...]:
    used = ", ".join(each.used_by)
    return each.table, each.column, f"{each.rows:,}", f"{each.size:,}", used, each.digest[:12]


@command.command(epilog="Example: segops lookups show products p-1001")
@click.argument("table")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
def show(table: str, keys: tuple[str, ...]) -> None:
    """Show the rows of TABLE with these keys, as rules read them: one JSON object per line.

    A column is shown once for each content that segments read; null is a missing value. Exit status 2 if no
    published segment reads the table; a key that is not in it is reported on standard error.
    """
    found = run(lambda settings: lookups.rows(settings, table))
    for key in keys:
        values = {name: column.rows[key] for name, column in found.items() if key in column.rows}
        if values:
            say(msgspec.json.encode({"key": key, **values}).decode())
        else:
            say(f"{table} has no key {key!r}", err=True)


@command.command(epilog="Example: segops lookups put products products.csv --key id --yes")
@click.argument("table")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", required=True, metavar="COLUMN", help="The column of the keys.")
@click.option("--lat", metavar="COLUMN", help="For postal_codes: the column of the latitude.")
@click.option("--lon", metavar="COLUMN", help="For postal_codes: the column of the longitude.")
@click.option("--dry-run", is_flag=True, help="Show what would change without publishing.")
@limited
@click.option("--yes", is_flag=True, help="Publish without asking the workers how much it moves.")
def put(
    table: str,
    file: Path,
    *,
    key: str,
    lat: str | None,
    lon: str | None,
    dry_run: bool,
    yes: bool,
    **limits: float,
) -> None:
    """Replace TABLE, in all published segments that read it, by the rows of FILE (.csv or .jsonl).

    The segments get their next version and count history again, as with `segops apply`; those for which no
    value of their columns differs stay as they are. A later `segops apply` reads the file that the segment
    file names, so keep that up to date, too. The limits are those of `segops apply`. For postal_codes, --lat
    and --lon name the columns of the points.
    """
    rows = rows_of_file(file, key, _fail)
    if [lat is None, lon is None] != [table != POSTAL_CODES] * 2:
        raise click.UsageError("--lat and --lon belong to the table postal_codes, which needs both")
    if lat is not None and lon is not None:
        rows = with_points(rows, lat, lon, _fail)

    async def work(settings: Settings) -> list[DefinitionChange]:
        decide = lookups.replacement(table, rows)
        if dry_run:
            return decide(await definitions.read(settings))
        with reporting() as report:
            wait = Wait(_ANSWERS_S, report)
            chosen = None if yes else limits_in(limits)
            return await plans.publish(settings, decide, limits=chosen, wait=wait)

    print_changes(run(work), note="; nothing was written (dry run)" if dry_run else "")


def _fail(reason: str) -> Any:
    raise UserError(reason)
