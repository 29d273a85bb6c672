"""Scores of orders in the form that the kernel reads (``src/order_score.rs``)."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from segops.core.scoring.buying import Buying
from segops.core.scoring.losses import Spans
from segops.core.scoring.models import Gaps
from segops.core.scoring.order_scores import OrderScore
from segops.core.scoring.spending import Spending
from segops.kernel.floats import COMPENSATED

#: Score -> the kernel's formula, and the fields of the score that it reads.
_FORMULAS: Final[dict[str, tuple[str, ...]]] = {
    "p_alive": ("p_alive", "buying"),
    "churn_risk": ("churn_risk", "buying"),
    **{f"expected_orders_{days}d": ("expected_orders", "buying", "spans") for days in (30, 90, 365)},
    "next_order_at": ("next_order_at", "gaps"),
    "average_order_value_expected": ("order_value", "spending"),
    **{f"ltv_{days}d": ("ltv", "buying", "spans", "spending") for days in (90, 365)},
}
#: Integers beyond it are not floats.
_EXACT: Final = 1 << 53


def formula(score: OrderScore) -> list[Any]:
    """Return a formula with its models. Raises ValueError for a model or a number that the kernel lacks.

    >>> from segops.core.scoring.models import Gaps
    >>> formula(OrderScore("next_order_at", gaps=Gaps(2.5, 2)))
    ['next_order_at', [2.5, 2.0]]
    """
    name, *models = _FORMULAS[score.name]
    return [name, *(_model(getattr(score, each)) for each in models)]


def _model(model: Any) -> list[Any] | None:
    if isinstance(model, Buying):
        rate = floats([model.r, model.alpha, model.a, model.b])
        return [*rate, model.modified, COMPENSATED]
    if isinstance(model, Spans):
        return [floats(model.days), floats(model.shares), *floats([model.total]), floats(model.sums)]
    if isinstance(model, Spending):
        return floats([model.p, model.q, model.gamma])
    if isinstance(model, Gaps):
        return floats([model.shape, model.scale])
    if model is None:
        return None
    raise ValueError(f"expected a model of orders, got {model!r}")


def floats(numbers: Any) -> list[float]:
    """Return numbers as floats that are computed with alike."""
    for number in numbers:
        exact = isinstance(number, float) or abs(number) < _EXACT
        if not exact or not isfinite(number):
            raise ValueError(f"expected a number that is a float, got {number!r}")
    return [float(number) for number in numbers]
