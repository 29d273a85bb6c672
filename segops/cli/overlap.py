"""``segops overlap``: how many profiles are in several segments."""

from __future__ import annotations

from collections.abc import Sequence

import click

from segops.cli._say import say, say_table
from segops.cli._scans import FORMAT, WAIT, check_keys, say_json, say_when, scan_for
from segops.core.scans import MAX_OVERLAP
from segops.schemas.scan_views import OverlapView, view_overlap
from segops.schemas.scans import OverlapRequest

_EPILOG = """
\b
Examples:
  segops overlap vip high-intent
  segops overlap vip high-intent lapsed --format json
"""


@click.command(epilog=_EPILOG)
@click.argument("keys", nargs=-1, required=True, metavar="KEY KEY...")
@FORMAT
@WAIT
def command(keys: tuple[str, ...], form: str, wait: float) -> None:
    """Show how many profiles the segments KEY (2 to 10) have in common.

    The figures are exact: the size of each segment and of each two of them, the profiles in all and in any of
    them, and in each combination. Visits every profile of the running system, after live events. Exit status
    1 if not all partitions answer in time.
    """
    _check(keys)
    _, scanned = scan_for(lambda log: OverlapRequest(check_keys(keys, log)), wait_s=wait)
    view = view_overlap(scanned)
    if form == "json":
        say_json(view)
    else:
        _print(view)


def _check(keys: Sequence[str]) -> None:
    if not 2 <= len(keys) <= MAX_OVERLAP:
        raise click.UsageError(f"expected 2 to {MAX_OVERLAP} segments, got {len(keys)}")
    if len(set(keys)) < len(keys):
        raise click.UsageError("expected different segments, got one of them twice")


def _print(view: OverlapView) -> None:
    keys = list(view.sizes)
    shared = {frozenset(pair.segments): pair.members for pair in view.pairs}
    rows = [
        (
            one,
            f"{view.sizes[one]:,}",
            *("" if one == two else f"{shared[frozenset((one, two))]:,}" for two in keys),
        )
        for one in keys
    ]
    say_table(("segment", "members", *keys), rows, figures=("members", *keys))
    say(f"in all of them: {view.in_all:,}; in any of them: {view.in_any:,}")
    for each in view.exactly:
        say(f"only in {', '.join(each.segments)}: {each.members:,}")
    say_when(view)
