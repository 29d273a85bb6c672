"""The scores that rules read, from the models that are in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from segops.core.rules.figures import Figure, RatioFigure
from segops.core.scoring.affinity import affinity_score
from segops.core.scoring.figure_scores import BASE_DAYS, IntentScore, WeightedScore
from segops.core.scoring.models import (
    INTENT,
    ORDER_SCORES,
    READY,
    AffinityParameters,
    Input,
    Model,
    models_of,
)
from segops.core.scoring.scored import Scored, figure_score, order_score
from segops.core.windows import Between, Within

_DAY_MS: Final = 86_400_000


def scored(name: str, models: Mapping[str, Model], of: str | None = None) -> Scored | None:
    """Return what a rule holds of the models of a score; None if one of them does not exist.

    ``of``: the value whose affinity is read.

    >>> from segops.core.scoring.buying import Buying
    >>> from segops.core.scoring.models import BuyingParameters
    >>> buying = Model("buying", "bg-nbd", BuyingParameters(Buying(0.2, 30.0, 0.8, 2.4)))
    >>> scored("ltv_90d", {"buying": buying}) is None, scored("p_alive", {"buying": buying}).status
    (True, 'ready')
    """
    needed = models_of(name)
    if not all(each in models for each in needed):
        return None
    found = [models[each] for each in needed]
    unready = [each for each in found if not each.is_ready]
    if unready:
        return Scored(None, None, unready[0].status, unready[0].reasons)
    valid = [each.valid_until_ms for each in found if each.valid_until_ms is not None]
    return Scored(_scorer(name, models, of), min(valid, default=None))


def _scorer(name: str, models: Mapping[str, Model], of: str | None) -> Any:
    if name in ORDER_SCORES:
        return order_score(name, models)
    parameters = models[models_of(name)[0]].parameters
    if isinstance(parameters, AffinityParameters):
        return affinity_score(parameters, of)
    of_model = figure_score(parameters)
    if name != INTENT or not isinstance(of_model, WeightedScore):
        return of_model
    usual = [_shifted(each, day * _DAY_MS) for day in range(1, BASE_DAYS + 1) for each in of_model.inputs]
    return IntentScore(of_model, tuple(usual))


def _shifted(each: Input, by_ms: int) -> Input:
    return msgspec.structs.replace(each, figure=shifted(each.figure, by_ms))


def shifted(figure: Figure, by_ms: int) -> Figure:
    """Return a figure as of ``by_ms`` ago. One whose window does not slide stays the same.

    >>> from segops.core.rules.figures import CountFigure
    >>> from segops.core.rules.model import Selection
    >>> shifted(CountFigure(Selection(("View",)), Within(3)), 10).window
    Between(from_ms=13, to_ms=10)
    """
    if isinstance(figure, RatioFigure):
        return RatioFigure(shifted(figure.upper, by_ms), shifted(figure.lower, by_ms))
    window = getattr(figure, "window", None)
    if isinstance(window, Within):
        return msgspec.structs.replace(figure, window=Between(window.length_ms + by_ms, by_ms))
    if isinstance(window, Between):
        return msgspec.structs.replace(figure, window=Between(window.from_ms + by_ms, window.to_ms + by_ms))
    return figure


def is_ready(found: Scored | None) -> bool:
    """Whether a score has values."""
    return found is not None and found.status == READY
