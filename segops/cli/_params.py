"""Options and option types that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from segops.core.audiences.model import Rate
from segops.core.values import parse_duration, parse_instant
from segops.schemas.audiences import parse_rate


class Instant(click.ParamType):
    """An ISO-8601 instant, as milliseconds."""

    name = "ISO"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return ``value`` in milliseconds since 1970."""
        found = parse_instant(value)
        if found is None:
            self.fail(f"expected an ISO-8601 instant like 2026-01-31T00:00:00Z, got {value!r}", param, ctx)
        return found


INSTANT = Instant()


class Duration(click.ParamType):
    """A duration above 0, as milliseconds."""

    name = "DURATION"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return ``value`` in milliseconds."""
        try:
            found = parse_duration(value)
        except ValueError:
            found = 0
        if found <= 0:
            self.fail(f"expected a duration such as 90d, got {value!r}", param, ctx)
        return found


DURATION = Duration()


class RateOption(click.ParamType):
    """A rate as a number and a unit of time, such as 1000/h."""

    name = "N/UNIT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Rate:
        """Return the rate."""
        found = parse_rate(value)
        if found is None:
            self.fail(f"expected a rate such as 1000/h, got {value!r}", param, ctx)
        return found


RATE = RateOption()

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def formats(names: Iterable[str], *, default: str | None = None, note: str = "") -> _Decorator:
    """Add ``--format`` to a command, as ``form``; the first one is the default unless another is named.

    ``note`` says more about them.
    """
    choices = list(names)
    return click.option(
        "--format",
        "form",
        type=click.Choice(choices),
        default=default or choices[0],
        show_default=True,
        help=f"Output format; {note}." if note else "Output format.",
    )


def watchable(what: str, *, each: str, line: str = "change") -> _Decorator:
    """Add ``--watch`` and ``--format`` to a command that shows ``what``.

    ``each``: what ``--format json`` prints an object for, and ``line`` what a plain line is printed for.
    """
    watch = click.option(
        "--watch", is_flag=True, help=f"Follow {what} until Ctrl-C; print a line per {line} if piped."
    )
    form = formats(["table", "json"], note=f"json with --watch prints an object per {each}")
    return lambda command: watch(form(command))


def limit_option(text: str) -> _Decorator:
    """Add ``--limit`` to a command; ``text`` says what N limits."""
    return click.option("--limit", type=click.IntRange(min=1), metavar="N", help=text)


def samples_option(text: str, most: int) -> _Decorator:
    """Add ``--samples``, of 0 to ``most`` profiles, to a command; ``text`` says what is shown of them."""
    return click.option("--samples", type=click.IntRange(0, most), default=0, metavar="N", help=text)
