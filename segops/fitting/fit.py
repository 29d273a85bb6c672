"""A fit: its model, its parameters with their errors, and whether there was enough to fit it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from segops.core.errors import UserError
from segops.fitting import likelihoods
from segops.fitting.histories import Customer, distinct
from segops.fitting.maximum import Likelihood, NoFit, maximum

#: Below these, a model of buying is marked as fitted on too little.
MIN_CUSTOMERS: Final = 500
MIN_DAYS: Final = 180.0


class Kind(msgspec.Struct, frozen=True):
    """A kind of model: its parameters in order, where the search for them starts, and its likelihood."""

    name: str
    parameters: tuple[str, ...]
    starts: tuple[tuple[float, ...], ...]
    likelihood: Callable[[Sequence[Customer]], Likelihood]
    spends: bool = False


def _buying(modified: bool) -> Callable[[Sequence[Customer]], Likelihood]:
    return lambda found: likelihoods.buying(distinct(found), modified=modified)


_BUYING: Final = (
    ("r", "alpha", "a", "b"),
    ((0.5, 30.0, 0.5, 1.0), (1.0, 5.0, 1.0, 3.0), (0.3, 100.0, 2.0, 10.0)),
)
KINDS: Final[Mapping[str, Kind]] = {
    each.name: each
    for each in (
        Kind("bg-nbd", *_BUYING, _buying(False)),
        Kind("mbg-nbd", *_BUYING, _buying(True)),
        Kind(
            "gamma-gamma",
            ("p", "q", "gamma"),
            ((6.0, 4.0, 15.0), (1.0, 2.0, 100.0), (2.0, 10.0, 1_000.0)),
            likelihoods.spending,
            spends=True,
        ),
    )
}


class Parameter(msgspec.Struct, frozen=True):
    """A parameter, and its standard error; None if the data does not bound it."""

    name: str
    value: float
    error: float | None


class Fit(msgspec.Struct, frozen=True):
    """``customers``: of them, ``repeating`` ordered again. ``unit``: of the times, and so of alpha.

    ``too_little``: why the model should not be relied on; empty if there was enough.
    """

    kind: str
    unit: str
    customers: int
    repeating: int
    longest: float
    parameters: list[Parameter]
    log_likelihood: float
    too_little: list[str]


def fit(kind: Kind, found: Sequence[Customer], *, unit: str) -> Fit:
    """Fit a model. ``unit``: ``day`` or ``week``.

    Raises UserError if no customer has what the model is fitted on, and NoFit without a maximum.
    """
    repeating = sum(each.history.repeats > 0 for each in found)
    used = [each for each in found if each.priced] if kind.spends else found
    if not repeating or not used:
        raise UserError("no customer has a second order (with an amount): there is nothing to fit")
    best = maximum(kind.likelihood(used), kind.starts)
    errors = (error if error == error else None for error in best.errors)
    parameters = list(map(Parameter, kind.parameters, best.parameters, errors))
    longest = max(each.history.age for each in found)
    return Fit(
        kind.name,
        unit,
        len(found),
        repeating,
        longest,
        parameters,
        best.log_likelihood,
        too_little(len(found), longest * {"day": 1, "week": 7}[unit]),
    )


def too_little(customers: int, days: float) -> list[str]:
    """Return why a model of buying should not be relied on.

    >>> too_little(499, 200.0)
    ['499 customers with orders, at least 500 are needed']
    """
    found = []
    if customers < MIN_CUSTOMERS:
        found.append(f"{customers:,} customers with orders, at least {MIN_CUSTOMERS:,} are needed")
    if days < MIN_DAYS:
        found.append(f"{days:,.0f} days of orders, at least {MIN_DAYS:,.0f} are needed")
    return found


def fit_gaps(found: Sequence[Customer]) -> list[Parameter]:
    """Return how far apart the orders of a customer are: ``shape``, and ``scale`` in the unit of the times.

    It is empty where the data has no mean gap: without a maximum, and with a shape of 1 or less.
    """
    if not any(each.history.repeats for each in found):
        return []
    try:
        best = maximum(likelihoods.gaps(distinct(found)), ((2.0, 30.0), (1.2, 100.0), (5.0, 10.0)))
    except NoFit:
        return []
    errors = (error if error == error else None for error in best.errors)
    return list(map(Parameter, ("shape", "scale"), best.parameters, errors)) if best.parameters[0] > 1 else []
