"""``segops import``: the rows of a CSV, JSON lines or Parquet file as events of the past."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import click
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from segops.cli._bad_lines import BadLines
from segops.cli._progress import plain_report
from segops.cli._say import say, say_all
from segops.config import Settings, load
from segops.core.errors import RejectedEvent, UserError
from segops.core.values import format_instant
from segops.imports.drafting import draft_map, fields
from segops.imports.model import Form, format_of, load_map
from segops.imports.rows import Row
from segops.imports.service import Import, run_import
from segops.imports.state import ImportState
from segops.streaming.failpoints import Failpoints

_EPILOG = """
\b
Examples:
  segops import orders.csv.gz --infer > orders.yaml
  segops import orders.csv.gz --map orders.yaml --dry-run
  segops import orders.csv.gz --map orders.yaml --rejected rejected.tsv --strict
"""
#: How many mapped events a dry run shows, and how many rejected rows are said.
_SHOWN: Final = 10
_SAID: Final = 20


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--map",
    "map_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file that maps rows to events.",
)
@click.option("--infer", is_flag=True, help="Print a draft of the map from the first rows, and exit.")
@click.option(
    "--dry-run", is_flag=True, help="Map the whole file and show the first events; write nothing to Kafka."
)
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append rejected rows to this file: line, reason and detail, separated by tabs.",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 if a row was rejected.")
@click.option("--again", is_flag=True, help="Import the file even if it was imported before.")
def command(
    file: Path,
    map_file: Path | None,
    *,
    infer: bool,
    dry_run: bool,
    rejected: Path | None,
    strict: bool,
    again: bool,
) -> None:
    """Import the rows of FILE (.csv, .tsv, .jsonl, .parquet; the first three also .gz) as events of the past.

    The map uses the language of sources (see segops/README.md). Events are written once: an import that was
    interrupted goes on where it was, and a file that was imported is recognised by its content. Rows that
    cannot be read or mapped are rejected with line and reason; the others are imported.
    """
    settings = load()
    if infer:
        _infer(file)
        return
    if map_file is None:
        raise click.UsageError("missing --map, or --infer to draft one")
    mapping = load_map(map_file)
    form = _form(file, mapping.format)
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with BadLines(file, rejected) as rejections:
        on_rejected = partial(_reject, rejections)
        importing = Import(settings, file, form, mapping, on_rejected=on_rejected, again=again)
        if dry_run:
            _try(importing, rejections)
        else:
            _import(settings, importing, rejections)
    if strict and importing.state.rejected:
        sys.exit(1)


def _reject(rejections: BadLines, row: Row, error: RejectedEvent) -> None:
    rejections.add(row.line, error.reason, " ".join(error.detail.split()))


def _form(file: Path, given: Form | None) -> Form:
    form = format_of(file, given)
    if form is None:
        raise UserError(
            f"{file}: unknown format: name it .csv, .tsv, .jsonl or .parquet, or set format in the map"
        )
    return form


def _infer(file: Path) -> None:
    written, drafted = draft_map(file, _form(file, None))
    if "identifiers" not in written:
        say("# No identifier was recognised: name the column of one as userId.")
    if "timestamp" not in written["map"] and written["map"].get("type") != "identify":
        written["map"]["timestamp"] = "TODO"
        say("# No time in ISO 8601 or since 1970 was recognised: name its column as timestamp.")
    say_all(yaml.safe_dump(written, sort_keys=False, allow_unicode=True).splitlines())
    say(f"# columns, in a sample of {drafted.records:,}:")
    say_all(fields(drafted))


def _try(importing: Import, rejections: BadLines) -> None:
    mapper, state = importing.mapper(), importing.state
    with _reporting(importing) as report:
        for row in importing.file.rows():
            state.rows += 1
            try:
                events = mapper.events(row)
            except RejectedEvent as error:
                state.rejected += 1
                _reject(rejections, row, error)
                continue
            for each in events:
                state.events += 1
                state.cover(each.time_ms)
                if state.events <= _SHOWN:
                    say(each.value.decode())
            if state.rows % 1_000 == 0:
                report(state)
    say(f"nothing was written: {_summary(state)}", err=True)


def _import(settings: Settings, importing: Import, rejections: BadLines) -> None:
    started = monotonic()
    with _reporting(importing) as report:
        asyncio.run(
            run_import(
                settings,
                importing,
                report=report,
                waiting=lambda text: say(text, err=True),
                passed=Failpoints(settings.worker.crash_at).passed,
            )
        )
    state, before, seconds = importing.state, importing.before, max(monotonic() - started, 0.001)
    if before is not None and before.done:
        say(f"imported already, at {format_instant(state.started_ms)}: {_summary(state)}")
        return
    rows = state.rows - (0 if before is None else before.rows)
    say(f"{_summary(state)}; {rows:,} rows in {seconds:.1f} s ({rows / seconds:,.0f}/s)")


def _summary(state: ImportState) -> str:
    text = f"{state.rows:,} rows: {state.events:,} events, {state.rejected:,} rows rejected"
    if state.from_ms is None or state.until_ms is None:
        return text
    return f"{text}; from {format_instant(state.from_ms)} to {format_instant(state.until_ms)}"


@contextmanager
def _reporting(importing: Import) -> Iterator[Callable[[ImportState], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_report(_progress(importing))
        return
    columns = TextColumn("{task.fields[rows]:,} rows"), BarColumn(), TextColumn("{task.percentage:.0f} %")
    shown = (*columns, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*shown, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0, rows=0)
        yield lambda state: progress.update(task, completed=importing.file.share, rows=state.rows)


def _progress(importing: Import) -> Callable[[ImportState], str]:
    return lambda state: f"{state.rows:,} rows, {importing.file.share:.0%} of the file"
