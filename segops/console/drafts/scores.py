"""The scores that drafts may read: those of models in force, and standard ones that wait for a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from segops.core.errors import DefinitionError
from segops.core.scoring import SCORERS
from segops.core.scoring.models import (
    STANDARD_SCORES,
    Model,
    TreesParameters,
    WeightedParameters,
    models_of,
)
from segops.core.segments import Definition
from segops.operations.models import readers
from segops.schemas.model_views import is_stale
from segops.schemas.own_models import own_problem
from segops.schemas.published_models import ModelLog, carried_models

#: What a model raises that cannot be read.
UNREADABLE: Final = (DefinitionError, msgspec.MsgspecError, ValueError)

#: The kind of models that divide customers, and give no score.
_POPULATION: Final = "population"
#: Score -> what it says of a customer.
_MEANINGS: Final[Mapping[str, str]] = {
    "recency_days": "days since the latest event",
    "p_alive": "probability that the customer still is one, 0 to 1",
    "churn_risk": "probability that the customer is gone, 0 to 1",
    "expected_orders_30d": "orders expected in the next 30 days",
    "expected_orders_90d": "orders expected in the next 90 days",
    "expected_orders_365d": "orders expected in the next year",
    "next_order_at": "when the next order is expected",
    "average_order_value_expected": "money expected per order",
    "ltv_90d": "money expected in the next 90 days, discounted",
    "ltv_365d": "money expected in the next year, discounted",
    "convert_24h": "probability to convert within 24 hours, 0 to 1",
    "convert_7d": "probability to convert within 7 days, 0 to 1",
    "intent": "how many times as likely to convert as usual",
}
_PROBABILITIES: Final = frozenset(("p_alive", "churn_risk", "convert_24h", "convert_7d"))


def library_of(board: Any) -> ModelLog:
    """Return the library of models as the read model has it; an empty one while it has read none."""
    found: ModelLog | None = getattr(board, "models", None)
    return ModelLog() if found is None else found


def readers_of(board: Any) -> dict[str, list[str]]:
    """Map the models that published definitions read to the keys of these definitions."""
    return readers(board.log)


def models_of_board(board: Any, published: Mapping[str, Definition]) -> dict[str, Model]:
    """Return the models in force by name: of the library, and those that published definitions carry.

    A model that cannot be read is left out: its page says why.
    """
    found, library = dict[str, Model](), library_of(board)
    for name in library.names():
        try:
            found[name] = library.in_force(name).model
        except UNREADABLE:
            continue
    lacking = [each for each in published.values() if (each.models or {}).keys() - found.keys()]
    return {**carried_models(lacking), **found}


def scores_form(
    models: Mapping[str, Model], declared: Mapping[str, Any], now_ms: int
) -> list[dict[str, Any]]:
    """Return the scores for the builder's picker, those that customers have first.

    ``state``: ``ready``, ``stale``, ``no model``, ``not installed`` or why its model gives none;
    ``declared``: the scores of published segments that wait for a model. ``range``: that of a probability.
    """
    own = [score for model in models.values() if model.kind != _POPULATION for score in model.scores]
    names = dict.fromkeys([*SCORERS, *own, *STANDARD_SCORES, *declared])
    found = [
        {
            "name": name,
            "meaning": _MEANINGS.get(name, ""),
            "state": _state(name, models, now_ms),
            "range": [0, 1] if is_probability(name, models) else None,
        }
        for name in names
    ]
    return sorted(found, key=lambda each: (each["state"] not in ("ready", "stale"), each["state"] == "stale"))


def is_probability(name: str, models: Mapping[str, Model]) -> bool:
    """Return whether a score is a probability.

    >>> is_probability("churn_risk", {}), is_probability("intent", {})
    (True, False)
    """
    if name in STANDARD_SCORES:
        return name in _PROBABILITIES
    parameters = models[name].parameters if name in models else None
    if isinstance(parameters, WeightedParameters):
        return parameters.calibration is not None
    return isinstance(parameters, TreesParameters) and parameters.logistic


def _state(name: str, models: Mapping[str, Model], now_ms: int) -> str:
    if name in SCORERS:
        return "ready"
    needed = [models.get(each) for each in models_of(name)]
    found = [each for each in needed if each is not None]
    if len(found) < len(needed):
        return "no model"
    unready = [each.status for each in found if not each.is_ready]
    if unready:
        return unready[0].replace("_", " ")
    if any(own_problem(each.parameters) for each in found):
        return "not installed"
    return "stale" if any(is_stale(each, now_ms) for each in found) else "ready"
