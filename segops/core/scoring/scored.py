"""What a rule holds of the models of a score: the parameters that it needs, and why it may have no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from segops.core.scoring.affinity import AffinityScore
from segops.core.scoring.figure_scores import IntentScore, TreesScore, WeightedScore
from segops.core.scoring.models import (
    BUYING,
    ORDER_SCORES,
    READY,
    SPENDING,
    BuyingParameters,
    Model,
    OwnParameters,
    SpendingParameters,
    TreesParameters,
    WeightedParameters,
)
from segops.core.scoring.order_scores import OrderScore
from segops.core.scoring.own import OwnScore


class Scored(msgspec.Struct, frozen=True, omit_defaults=True):
    """The formula of a score; None if its models are not ``ready``, for ``reasons``.

    ``valid_until_ms``: from then on, the models are stale. They go on to give scores.
    """

    formula: OrderScore | AffinityScore | WeightedScore | TreesScore | IntentScore | OwnScore | None = None
    valid_until_ms: int | None = None
    status: str = READY
    reasons: tuple[str, ...] = ()


def order_score(name: str, models: Mapping[str, Model]) -> OrderScore:
    """Return a score of orders from its models, which are ready."""
    found: dict[str, Any] = {}
    for needed in ORDER_SCORES[name]:
        parameters = models[needed].parameters
        if needed == BUYING and isinstance(parameters, BuyingParameters):
            found |= {"buying": parameters.buying}
            found |= {"gaps": parameters.gaps} if name == "next_order_at" else {}
        if needed == SPENDING and isinstance(parameters, SpendingParameters):
            found |= {"spending": parameters.spending, "currency": parameters.currency}
            found |= {"discount": parameters.discount} if name.startswith("ltv_") else {}
    return OrderScore(name, **found)


def figure_score(parameters: object) -> WeightedScore | TreesScore | OwnScore:
    """Return the score of a model of figures. Raises TypeError for another model."""
    if isinstance(parameters, WeightedParameters):
        return WeightedScore(parameters)
    if isinstance(parameters, TreesParameters):
        return TreesScore(parameters)
    if isinstance(parameters, OwnParameters):
        return OwnScore(parameters.scorer, parameters.inputs, parameters.json)
    raise TypeError(f"expected the parameters of a model of figures, got {parameters!r}")
