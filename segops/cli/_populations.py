"""``segops models refresh``: measure the population of a grid, a score or an affinity, and publish it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from segops.cli._edits import limited
from segops.cli._kafka import run
from segops.cli._models import YES, publish_model
from segops.cli._params import DURATION, formats
from segops.cli._say import say, say_table, warn
from segops.cli._scans import reporting
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.values import format_duration, format_instant
from segops.operations.models import next_version
from segops.operations.populations import Measurement, measure

#: The most shares of an affinity that are printed.
_SHOWN: Final = 20
_ANSWERS_S: Final = 600.0
#: The shortest time between two refreshes: each is an edit of all segments that read the grid.
_LEAST_MS: Final = 3_600_000


@click.command("refresh", epilog="Example: segops models refresh rfm --every 24h")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--every", type=DURATION, help="Refresh again and again, an hour apart or more, until stopped.")
@click.option(
    "--dry-run", is_flag=True, help="Show the edges or shares and who would enter and leave, and stop."
)
@limited
@YES
@formats(["text", "json"], default="text")
def refresh(
    names: Sequence[str], *, every: int | None, dry_run: bool, yes: bool, form: str, **limits: float
) -> None:
    """Measure populations, such as rfm, rfm.GRID, percentile.SCORE or affinity.PROPERTY, and publish them.

    Visits every profile of the running system, after live events, and counts what it has of each measure
    with quantiles, of the score, or of the values of the affinity. The new edges or shares are the next
    version of the model NAME; just before, the workers compute who enters and leaves, also of those who did
    nothing. If it moves more of a segment than --max-changes or --max-share allow, nothing is published.
    With --every, a refresh that fails is reported, and the next one is due.
    """
    if every is not None and every < _LEAST_MS:
        raise click.UsageError(f"--every: expected at least {format_duration(_LEAST_MS)}")
    while True:
        for name in names:
            try:
                _refresh(name, limits, form=form, yes=yes, dry_run=dry_run)
            except SegopsError as error:
                if every is None:
                    raise
                warn(f"{name}: {error}")
        if every is None or dry_run:
            return
        time.sleep(every / 1_000)


def _refresh(name: str, limits: dict[str, Any], *, form: str, yes: bool, dry_run: bool) -> None:
    async def work(settings: Settings) -> Measurement:
        with reporting() as report:
            return await measure(settings, name, wait_s=_ANSWERS_S, progress=report)

    found = run(work)
    if form == "text":
        _print(name, found)
    publish_model(next_version(found.model, name), limits, form=form, yes=yes, dry_run=dry_run)


def _print(name: str, found: Measurement) -> None:
    say(f"{name}: {found.profiles:,} customers as of {format_instant(found.measured_at_ms)}")
    if found.edges:
        rows = [(measure, ", ".join(map(_text(measure), edges))) for measure, edges in found.edges.items()]
        say_table(("measure", "edges"), rows)
    if found.shares:
        say_table(("value", "share"), [(value, f"{share:.2%}") for value, share in _greatest(found.shares)])
        if len(found.shares) > _SHOWN:
            say(f"and {len(found.shares) - _SHOWN:,} more")


def _greatest(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return list(shares.items())[:_SHOWN]


def _text(measure: str) -> Any:
    return format_duration if measure == "recency" else lambda edge: f"{edge:,}"
