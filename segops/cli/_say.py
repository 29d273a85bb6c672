"""The only place that prints: control characters in the text of others are escaped here."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from segops.core.errors import SegopsError
from segops.core.text import printable

_PIPE_WIDTH = 200  # nothing is cut where no terminal sets a width


class OutputFailed(SegopsError):
    """The standard output cannot be written: the disk is full, for instance."""


def say(line: str = "", *, err: bool = False, end: str = "\n", colour: str | None = None) -> None:
    """Print one line; a line feed within it is escaped like any control character."""
    _write(printable(line) + end, err=err, colour=colour)


def say_text(text: str, *, err: bool = False) -> None:
    """Print lines of ours, such as indented JSON or all mistakes of a file."""
    _write(printable(text, lines=True) + "\n", err=err)


def say_all(lines: Iterable[str]) -> None:
    """Print many lines, without emptying the buffer after each."""
    with _told():
        for line in lines:
            sys.stdout.write(printable(line) + "\n")


def warn(line: str) -> None:
    """Print a line that begins with ``warning:`` to the standard error."""
    say(f"warning: {line}", err=True)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, figures: Iterable[str] = ()) -> None:
    """Print a table in a terminal's width, or unabridged; ``figures`` are the columns set to the right."""
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
    with _told():
        console.print(table)


def flush() -> None:
    """Hand over what is still in the buffer. Raises OutputFailed; BrokenPipeError when no reader is left."""
    with _told():
        sys.stdout.flush()


def prepare() -> None:
    """Make the standard streams usable: one that is closed is empty, or swallows what is written.

    The standard output takes characters that its encoding lacks as escapes, as the error output does.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the process's life
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _write(text: str, *, err: bool, colour: str | None = None) -> None:
    with _told():
        click.secho(text, err=err, nl=False, fg=colour)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"the output cannot be written: {error.strerror}") from error
