"""The only module that prints: it escapes control characters in foreign text."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from segops.core.errors import SegopsError
from segops.core.text import printable

_PIPE_WIDTH = 200  # wide enough not to truncate tables when there is no terminal


class OutputFailed(SegopsError):
    """Standard output cannot be written, for instance because the disk is full."""


def say(line: str = "", *, err: bool = False, end: str = "\n", colour: str | None = None) -> None:
    """Print one line, escaping line feeds within it like any control character."""
    _write(printable(line) + end, err=err, colour=colour)


def say_text(text: str, *, err: bool = False) -> None:
    """Print text whose line feeds are ours, such as indented JSON or all errors of a file."""
    _write(printable(text, lines=True) + "\n", err=err)


def say_all(lines: Iterable[str]) -> None:
    """Print many lines without flushing after each."""
    with _reporting_failure():
        for line in lines:
            sys.stdout.write(printable(line) + "\n")


def warn(line: str) -> None:
    """Print a line with the prefix ``warning:`` to standard error."""
    say(f"warning: {line}", err=True)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, figures: Iterable[str] = ()) -> None:
    """Print a table, fitted to the terminal if there is one; the columns in ``figures`` align right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        last = column == columns[-1] and column not in figures
        table.add_column(
            column,
            justify="right" if column in figures else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    with _reporting_failure():
        console.print(table)


def flush() -> None:
    """Flush standard output. Raises OutputFailed, or BrokenPipeError if the reader has left."""
    with _reporting_failure():
        sys.stdout.flush()


def prepare() -> None:
    """Make the standard streams usable: replace a closed stream by the null device.

    Characters that the encoding of standard output lacks are written as escapes, as on standard error.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open for the life of the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _write(text: str, *, err: bool, colour: str | None = None) -> None:
    with _reporting_failure():
        click.secho(text, err=err, nl=False, fg=colour)


@contextmanager
def _reporting_failure() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"cannot write to standard output: {error.strerror}") from error
