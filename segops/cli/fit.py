"""``segops fit``: a scoring model from past orders, with its errors and what it foretold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from segops.archive.storage import require_pyarrow
from segops.cli._edits import limited
from segops.cli._models import YES, publish_model, write_model
from segops.cli._params import DURATION, INSTANT, formats
from segops.cli._say import say_blocks, say_text, table
from segops.config import load
from segops.core.errors import UserError
from segops.operations.models import next_version
from segops.schemas.models import read_model
from segops.wall_clock import wall_ms

if TYPE_CHECKING:
    from rich.table import Table

    from segops.fitting.comparison import Comparison
    from segops.fitting.fit import Fit
    from segops.fitting.histories import Order
    from segops.fitting.report import Report

_EPILOG = """
\b
Examples:
  segops fit bg-nbd --orders orders.csv
  segops fit bg-nbd --orders orders.csv --until 2026-06-30 --format json
  segops fit gamma-gamma --summary customers.csv
  segops fit bg-nbd --archive /var/lib/segops/archive --valid-for 90d --publish
"""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_BAR = 30


@click.command(epilog=_EPILOG)
@click.argument("model", type=click.Choice(["bg-nbd", "mbg-nbd", "gamma-gamma"]))
@click.option("--orders", type=_FILE, help="CSV, JSON lines or Parquet file with customer, date and amount.")
@click.option("--archive", type=_FOLDER, help="Folder of the archive, whose orders are read.")
@click.option(
    "--summary",
    type=_FILE,
    help="File with frequency, recency, T and monetary_value (or x, t_x, T and zbar) of each customer.",
)
@click.option(
    "--until",
    "until_ms",
    type=INSTANT,
    help="Fit the orders up to this instant, and compare what the model foretells with those after it.",
)
@click.option(
    "--unit",
    type=click.Choice(["day", "week"]),
    default="day",
    show_default=True,
    help="Unit of the times in --summary.",
)
@click.option("--currency", metavar="CODE", help="Of --archive: only the amounts in this currency count.")
@click.option("--model", "to", type=click.Path(dir_okay=False, path_type=Path), help="Write a model file.")
@click.option("--publish", is_flag=True, help="Publish the model, and the segments that read it.")
@click.option(
    "--valid-for",
    "valid_for_ms",
    type=DURATION,
    help="How long the model is valid, such as 90d; then it is shown as stale.",
)
@limited
@YES
@formats(["text", "json"], default="text")
def command(
    model: str,
    *,
    orders: Path | None,
    archive: Path | None,
    summary: Path | None,
    until_ms: int | None,
    unit: str,
    currency: str | None,
    to: Path | None,
    publish: bool,
    valid_for_ms: int | None,
    yes: bool,
    form: str,
    **limits: float,
) -> None:
    """Fit a MODEL of how customers buy (bg-nbd, mbg-nbd) or of what they spend (gamma-gamma).

    Prints the parameters with their standard errors and the logarithm of the likelihood. With --until, it
    says how many of the later orders the model foretold. Orders of one UTC day are one order. Of an archive,
    they are what rules with `rfm` count: net of refunds, by customer. Needs the extra `fit` of segops-engine.

    --model writes a model file for `segops models publish`; --publish publishes it at once, within the
    limits of that command. A model that was fitted on too little is marked so, and its scores are missing.
    """
    source = _source(orders, archive, summary)
    if summary is not None and until_ms is not None:
        raise UserError("--until needs --orders or --archive: a table of histories has no dates of orders")
    if currency is not None and archive is None:
        raise UserError("--currency needs --archive: the amounts in a file have no currency")
    try:
        from segops.fitting import model_file, reading, report
    except ImportError:
        raise UserError("numpy and scipy are missing: install the extra `fit` of segops-engine") from None
    now_ms = wall_ms()
    if summary is not None:
        found = report.fit_summary(model, summary, unit=unit)
    elif archive is not None:
        read = _archived(archive, currency, now_ms)
        found = report.fit_orders(model, read, source=str(source), until_ms=until_ms)
    else:
        read = reading.read_orders(source, now_ms=now_ms)
        found = report.fit_orders(model, read, source=str(source), until_ms=until_ms)
    _print(found, form)
    made = model_file.model_form(
        found, source.name, now_ms=now_ms, valid_for_ms=valid_for_ms, currency=currency
    )
    if to is not None:
        write_model(made, to, err=form == "json")
    if publish:
        publish_model(next_version(read_model(made, str(source)), str(source)), limits, yes=yes)


def _source(orders: Path | None, archive: Path | None, summary: Path | None) -> Path:
    given = [each for each in (orders, archive, summary) if each is not None]
    if len(given) != 1:
        raise UserError("expected one of --orders, --archive and --summary")
    return given[0]


def _archived(folder: Path, currency: str | None, now_ms: int) -> list[Order]:
    require_pyarrow()
    from segops.fitting.archived import read_archive

    return read_archive(folder, load(), now_ms=now_ms, currency=currency)


def _print(found: Report, form: str) -> None:
    if form == "json":
        say_text(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        say_blocks(_blocks(found))


def _blocks(found: Report) -> Iterator[str | Table]:
    made = found.fit
    until = "" if found.until is None else f", orders until {found.until}"
    yield f"{made.kind}: {made.customers:,} customers, of whom {made.repeating:,} ordered again{until}"
    yield _parameters(made)
    yield f"log-likelihood {made.log_likelihood:,.2f}; times are in {made.unit}s"
    if made.too_little:
        yield f"not_enough_data: {'; '.join(made.too_little)}"
    if found.comparison is not None:
        yield from _comparison(found.comparison)


def _parameters(made: Fit) -> Table:
    rows = [
        (each.name, f"{each.value:.4g}", "" if each.error is None else f"{each.error:.2g}")
        for each in made.parameters
    ]
    return table(["parameter", "value", "standard error"], rows, figures=["value", "standard error"])


def _comparison(found: Comparison) -> Iterator[str | Table]:
    yield f"the {found.days} days after: {found.expected:,.0f} orders were foretold, {found.actual:,} came"
    most = max((max(each.expected, each.actual) for each in found.groups), default=0) or 1
    rows = [
        (
            str(each.repeats),
            f"{each.customers:,}",
            f"{each.expected:.2f}",
            f"{each.actual:.2f}",
            _bar(min(each.expected, each.actual) / most, abs(each.expected - each.actual) / most),
        )
        for each in found.groups
    ]
    figures = ["repeats", "customers", "foretold", "came"]
    yield table([*figures, ""], rows, figures=figures)
    yield "orders per customer, by orders after the first one; ░ is the difference"


def _bar(common: float, difference: float) -> str:
    return "█" * round(_BAR * common) + "░" * round(_BAR * difference)
