"""From a file to a report: the fit and, where orders are held out, what it foretold."""

from __future__ import annotations

from pathlib import Path

import msgspec

from segops.core.errors import UserError
from segops.core.scoring.buying import Buying
from segops.core.values import format_instant
from segops.fitting.comparison import Comparison, comparison
from segops.fitting.fit import KINDS, Fit, fit
from segops.fitting.histories import DAY_MS, histories
from segops.fitting.reading import read_orders, read_summary


class Report(msgspec.Struct, frozen=True):
    """A fit, of orders until ``until`` (None for a table of histories), and its comparison."""

    fit: Fit
    until: str | None = None
    comparison: Comparison | None = None


def fit_summary(kind: str, path: Path, *, unit: str) -> Report:
    """Fit a table of histories, with times in ``unit``. Raises UserError."""
    return Report(fit(KINDS[kind], read_summary(path), unit=unit))


def fit_orders(kind: str, path: Path, *, until_ms: int | None, now_ms: int) -> Report:
    """Fit orders up to ``until_ms``; those after it are compared with what the model foretells.

    ``None``: up to the last order. Raises UserError.
    """
    orders = read_orders(path, now_ms=now_ms)
    end_ms = max(each.at_ms for each in orders)
    until_ms = end_ms if until_ms is None else until_ms
    found = histories(orders, until_ms)
    if not found:
        raise UserError(f"{path}: no order until {format_instant(until_ms)}")
    made = fit(KINDS[kind], found, unit="day")
    held_out = until_ms // DAY_MS < end_ms // DAY_MS and not KINDS[kind].spends
    model = buying_of(made)
    result = comparison(model, orders, until_ms, end_ms) if held_out and model is not None else None
    return Report(made, format_instant(until_ms), result)


def buying_of(made: Fit) -> Buying | None:
    """Return the model of buying of a fit whose times are days; None of another kind."""
    if KINDS[made.kind].spends:
        return None
    values = {each.name: each.value for each in made.parameters}
    return Buying(**values, modified=made.kind == "mbg-nbd")
