"""``segops lists``: static lists of identifiers, which rules read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from segops.cli._bad_lines import BadLines
from segops.cli._kafka import run
from segops.cli._params import formats
from segops.cli._progress import plain_report
from segops.cli._say import say, say_table
from segops.config import load
from segops.core.values import format_instant, parse_duration, parse_instant
from segops.imports.ids import IdFile
from segops.operations import static_lists
from segops.operations.static_lists import Expiry, ListView, Progress
from segops.schemas.identifying import limits_of
from segops.schemas.segment_reading import KEY_PATTERN
from segops.streaming.failpoints import Failpoints
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops lists put spring-vip vip.txt --expires 30d
  segops lists put newsletter emails.csv.gz --column email --identifier email
  segops lists show
  segops lists remove spring-vip
"""


class _Key(click.ParamType):
    name = "KEY"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(KEY_PATTERN, value):
            self.fail(f"expected lower-case letters, digits and -, at most 64, got {value!r}", param, ctx)
        return value


class _Expiry(click.ParamType):
    name = "DURATION|ISO"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Expiry:
        try:
            after_ms = parse_duration(value)
        except ValueError:
            at_ms = parse_instant(value)
            if at_ms is None or at_ms <= wall_ms():
                self.fail(
                    f"expected a duration like 30d, or a future instant like 2030-01-31, got {value!r}",
                    param,
                    ctx,
                )
            return Expiry(at_ms)
        if not after_ms:
            self.fail(f"expected a duration above 0, got {value!r}", param, ctx)
        return Expiry(after_ms=after_ms)


_KEY: Final = _Key()


@click.group(epilog=_EPILOG)
def command() -> None:
    """Upload, show and remove static lists: identifiers of the customers for whom `list: KEY` holds."""


@command.command(epilog="Example: segops lists put spring-vip vip.txt --expires 30d --identifier user_id")
@click.argument("key", type=_KEY)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--identifier",
    "kind",
    metavar="TYPE",
    default="user_id",
    show_default=True,
    help="Type of the identifiers: user_id, email, anonymous_id or another.",
)
@click.option("--column", metavar="NAME", help="Column with the identifiers; needed for tables.")
@click.option(
    "--expires",
    "expiry",
    type=_Expiry(),
    default=None,
    help="When the list ends: a time after it comes into force, or an instant. Default: never.",
)
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append lines without a valid identifier to this file: line and reason, separated by a tab.",
)
@click.option(
    "--strict", is_flag=True, help="Fail at the first such line; the former version stays in force."
)
def put(
    key: str,
    file: Path,
    *,
    kind: str,
    column: str | None,
    expiry: Expiry | None,
    rejected: Path | None,
    strict: bool,
) -> None:
    """Upload FILE as the list KEY, in place of its former version as a whole.

    FILE has one identifier per line, or is a table (.csv, .tsv, .jsonl, .parquet) with --column; all but
    Parquet may be compressed (.gz). Lines without a valid identifier are reported with their number, and left
    out. The new version comes into force once the workers have stored all of it, for which the command waits.
    If it ends before, the former version stays in force: run it again.
    """
    settings = load()
    source = IdFile(file, kind, limits_of(settings), column)
    started = monotonic()
    with BadLines(file, rejected, strict=strict) as bad, _reporting(source) as report:
        published = run(
            lambda settings: static_lists.put(
                settings,
                key,
                source.identifiers(bad.add),
                expiry=expiry or Expiry(),
                report=report,
                passed=Failpoints(settings.worker.crash_at).passed,
            )
        )
    seconds = max(monotonic() - started, 0.001)
    until = "" if published.expires_ms is None else f" until {format_instant(published.expires_ms)}"
    say(
        f"list {key}: version {published.version} is in force{until}: {published.ids:,} identifiers, "
        f"{bad.count:,} lines left out, in {seconds:.1f} s ({published.ids / seconds:,.0f}/s)"
    )


@command.command(epilog="Example: segops lists show spring-vip --format json")
@click.argument("key", type=_KEY, required=False)
@formats(["table", "json"], note="json prints an object per list")
def show(key: str | None, form: str) -> None:
    """Show all lists, or the list KEY: version, identifiers, since and until when, and what reads it.

    States: in force; expired (it names no one any more); missing (a segment reads it, but nothing is
    uploaded, so that it names no one).
    """
    found = run(lambda settings: static_lists.shown(settings, key))
    if form == "json":
        for each in found:
            say(msgspec.json.encode(each).decode())
        return
    columns = ("list", "state", "version", "identifiers", "since", "expires", "read by", "upload")
    say_table(columns, map(_row, found), figures=("version", "identifiers"))


@command.command(epilog="Example: segops lists remove spring-vip")
@click.argument("key", type=_KEY)
def remove(key: str) -> None:
    """Remove the list KEY. A list that a published segment reads is refused, with the segments."""
    removed = run(lambda settings: static_lists.remove(settings, key))
    say(f"removed list {key}: version {removed.version}, {removed.ids:,} identifiers")


def _row(each: ListView) -> tuple[str, ...]:
    return (
        each.key,
        each.state,
        f"{each.version:,}" if each.version else "-",
        f"{each.ids:,}" if each.version else "-",
        "-" if each.since_ms is None else format_instant(each.since_ms),
        "never" if each.expires_ms is None else format_instant(each.expires_ms),
        ", ".join(each.used_by),
        f"{each.begun} is not complete" if each.begun > each.version else "",
    )


@contextmanager
def _reporting(source: IdFile) -> Iterator[Callable[[Progress], None]]:
    """Provide what reports the progress: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_report(lambda progress: _text(progress, source))
        return
    columns = TextColumn("{task.fields[text]}"), BarColumn(), TimeElapsedColumn()
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=1.0, text="")
        yield lambda progress: bars.update(task, completed=source.share, text=_text(progress, source))


def _text(progress: Progress, source: IdFile) -> str:
    if progress.left is None:
        return f"{progress.written:,} identifiers written, {source.share:.0%} of the file"
    return f"{progress.written:,} identifiers written; {progress.left:,} records are left to the workers"
