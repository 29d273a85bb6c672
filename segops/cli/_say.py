"""The only module that prints: it escapes control characters in foreign text."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from segops.core.errors import SegopsError
from segops.core.text import printable

if TYPE_CHECKING:  # imported when needed: rich takes a tenth of a second
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

#: Draws lines and tables in place of those drawn before.
Redraw = Callable[[Iterable["str | Table"]], None]
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


def say_block(lines: str) -> None:
    """Print whole lines, each of which ends with a line feed, without flushing."""
    with _reporting_failure():
        sys.stdout.write(printable(lines, lines=True))


def warn(line: str) -> None:
    """Print a line with the prefix ``warning:`` to standard error."""
    say(f"warning: {line}", err=True)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, figures: Iterable[str] = ()) -> None:
    """Print a table, fitted to the terminal if there is one; the columns in ``figures`` align right."""
    say_blocks([table(columns, rows, figures=figures)])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, figures: Iterable[str] = ()) -> Table:
    """Return a table to be printed with ``say_blocks``; the columns in ``figures`` align right."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False)
    for column in columns:
        last = column == columns[-1] and column not in figures
        found.add_column(
            column,
            justify="right" if column in figures else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row in rows:
        found.add_row(*(Text(printable(cell)) for cell in row))
    return found


def say_blocks(blocks: Iterable[str | Table]) -> None:
    """Print lines and tables one below the other."""
    console = _console()
    with _reporting_failure():
        for block in blocks:
            console.print(_rendered(block), soft_wrap=isinstance(block, str))


@contextmanager
def redrawing() -> Iterator[Redraw | None]:
    """Provide a function that redraws lines and tables in place; None if standard output is no terminal."""
    from rich.console import Group
    from rich.live import Live

    console = _console()
    if not console.is_terminal:
        yield None
        return
    with Live(console=console, auto_refresh=False) as live:

        def redraw(blocks: Iterable[str | Table]) -> None:
            with _reporting_failure():
                live.update(Group(*map(_rendered, blocks)), refresh=True)

        yield redraw


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def _rendered(block: str | Table) -> Text | Table:
    from rich.text import Text

    return Text(printable(block)) if isinstance(block, str) else block


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
