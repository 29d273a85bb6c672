"""From orders to a report: the fit and, where orders are held out, what it foretold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from segops.core.errors import UserError
from segops.core.scoring.buying import Buying
from segops.core.values import format_instant
from segops.fitting.comparison import Comparison, comparison
from segops.fitting.fit import KINDS, Fit, Parameter, fit, fit_gaps
from segops.fitting.histories import DAY_MS, Customer, Order, histories
from segops.fitting.reading import read_summary


class Report(msgspec.Struct, frozen=True):
    """A fit, of ``orders`` since ``since`` and until ``until``, and its comparison.

    The instants are None, and ``orders`` is 0, for a table of histories. ``gaps``: how far apart the orders
    of a customer are; empty of a model of spending, and where the data does not say.
    """

    fit: Fit
    until: str | None = None
    comparison: Comparison | None = None
    since: str | None = None
    orders: int = 0
    gaps: list[Parameter] = []


def fit_summary(kind: str, path: Path, *, unit: str) -> Report:
    """Fit a table of histories, with times in ``unit``. Raises UserError."""
    found = read_summary(path)
    return Report(fit(KINDS[kind], found, unit=unit), gaps=_gaps(kind, found))


def fit_orders(kind: str, orders: Sequence[Order], *, source: str, until_ms: int | None) -> Report:
    """Fit orders up to ``until_ms``; those after it are compared with what the model foretells.

    ``until_ms`` None: up to the last order. ``source`` names the orders in errors. Raises UserError.
    """
    end_ms = max(each.at_ms for each in orders)
    until_ms = end_ms if until_ms is None else until_ms
    found = histories(orders, until_ms)
    if not found:
        raise UserError(f"{source}: no order until {format_instant(until_ms)}")
    made = fit(KINDS[kind], found, unit="day")
    held_out = until_ms // DAY_MS < end_ms // DAY_MS and not KINDS[kind].spends
    model = buying_of(made)
    result = comparison(model, orders, until_ms, end_ms) if held_out and model is not None else None
    used = [each.at_ms for each in orders if each.at_ms // DAY_MS <= until_ms // DAY_MS]
    since, until = format_instant(min(used)), format_instant(until_ms)
    return Report(made, until, result, since, len(used), _gaps(kind, found))


def _gaps(kind: str, found: Sequence[Customer]) -> list[Parameter]:
    return [] if KINDS[kind].spends else fit_gaps(found)


def buying_of(made: Fit) -> Buying | None:
    """Return the model of buying of a fit whose times are days; None of another kind."""
    if KINDS[made.kind].spends:
        return None
    values = {each.name: each.value for each in made.parameters}
    return Buying(**values, modified=made.kind == "mbg-nbd")
