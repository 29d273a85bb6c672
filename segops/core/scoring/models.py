"""Models as data: what was fitted, on what, how good it is, and the parameters that scores are computed from.

A model is named for its slot, which decides the scores that it gives (``SCORES_OF``). Its parameters become
part of each rule that reads one of them, so a model is immutable; a new fit is a new version.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from segops.core.paths import Path
from segops.core.scoring.buying import Buying
from segops.core.scoring.spending import Spending

BUYING: Final = "buying"
SPENDING: Final = "spending"
INTENT: Final = "intent"
#: The model that ``intent`` is derived from.
INTENT_OF: Final = "convert_24h"

#: What the name of a property follows in that of its score, and of its model.
AFFINITY: Final = "affinity."
#: The kind of the models of what a population is like.
POPULATION: Final = "population"

READY: Final = "ready"
#: The statuses of a model; only a ``ready`` one gives scores.
STATUSES: Final = (READY, "not_enough_data", "not_better_than_chance")

#: Scores of orders -> the models that they need.
ORDER_SCORES: Final[dict[str, tuple[str, ...]]] = {
    "p_alive": (BUYING,),
    "churn_risk": (BUYING,),
    "expected_orders_30d": (BUYING,),
    "expected_orders_90d": (BUYING,),
    "expected_orders_365d": (BUYING,),
    "next_order_at": (BUYING,),
    "average_order_value_expected": (SPENDING,),
    "ltv_90d": (BUYING, SPENDING),
    "ltv_365d": (BUYING, SPENDING),
}
#: Scores that no file need declare -> the models that they need.
STANDARD_SCORES: Final[dict[str, tuple[str, ...]]] = {
    **ORDER_SCORES,
    "convert_24h": ("convert_24h",),
    "convert_7d": ("convert_7d",),
    INTENT: (INTENT_OF,),
}


#: Scores that time alone does not move, or moves at whole days only.
STILL_SCORES: Final = ("recency_days", "next_order_at", "average_order_value_expected")
#: Scores that move with every millisecond.
MOVING_SCORES: Final = tuple(name for name in ORDER_SCORES if name not in STILL_SCORES)


class Gaps(msgspec.Struct, frozen=True):
    """The gamma prior of the rate of orders, for the next one: ``shape`` > 1, ``scale`` in days."""

    shape: float
    scale: float


class BuyingParameters(msgspec.Struct, frozen=True, tag="buying"):
    """Of ``bg-nbd`` and ``mbg-nbd``, in days; ``gaps`` are those of the next order, if they were fitted."""

    buying: Buying
    gaps: Gaps | None = None


class SpendingParameters(msgspec.Struct, frozen=True, tag="spending"):
    """Of ``gamma-gamma``; ``discount`` is a year's. ``currency``: an order that names another is skipped."""

    spending: Spending
    discount: float = 0.1
    currency: str | None = None


class Input(msgspec.Struct, frozen=True):
    """A feature of a model: a figure of the rule language, as a number ``(t - mean) / scale``.

    ``t`` is the value after ``transform``; ``missing`` stands for it where the figure has no number.
    """

    name: str
    figure: Any
    transform: str = "none"
    missing: float = 0.0
    mean: float = 0.0
    scale: float = 1.0


class Platt(msgspec.Struct, frozen=True, tag="platt"):
    """The probability 1 / (1 + exp(-(a z + b))) of log-odds z; as they are with a = 1, b = 0."""

    a: float = 1.0
    b: float = 0.0


class Isotonic(msgspec.Struct, frozen=True, tag="isotonic"):
    """The probability on the line through ``points`` (raw probability, calibrated), level beyond its ends."""

    points: tuple[tuple[float, float], ...]


class WeightedParameters(msgspec.Struct, frozen=True, tag="weighted"):
    """Of ``linear``: the intercept and the weighted sum of the inputs.

    Of ``logistic``, which has a ``calibration``: that sum is of log-odds.
    """

    inputs: tuple[Input, ...]
    weights: tuple[float, ...]
    intercept: float = 0.0
    calibration: Platt | Isotonic | None = None


class Tree(msgspec.Struct, frozen=True):
    """A tree: node 0 is its root. ``tested`` of a node is the index of an input, -1 in a leaf.

    A value at most ``threshold`` goes ``left``; ``leaves`` has the value of each leaf. Children come after
    their parent.
    """

    tested: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    leaves: tuple[float, ...]


class TreesParameters(msgspec.Struct, frozen=True, tag="trees"):
    """Of ``trees``: the intercept and the sum of the leaves; as log-odds if ``logistic``."""

    inputs: tuple[Input, ...]
    trees: tuple[Tree, ...]
    intercept: float = 0.0
    logistic: bool = False


class PopulationParameters(msgspec.Struct, frozen=True, tag="population"):
    """Of ``population``: what ``profiles`` were measured to have at ``measured_at_ms``.

    ``edges``: the measures of a grid, or ``score``, each with its edges; none is below the one before.
    """

    edges: tuple[tuple[str, tuple[Any, ...]], ...]
    profiles: int
    measured_at_ms: int


class AffinityParameters(msgspec.Struct, frozen=True, tag="affinity"):
    """Of ``population`` for an affinity: how events count, and the shares that values have of all counts.

    A customer with fewer than ``least`` counts has no score. ``measured_at_ms``: when ``profiles`` were
    measured to have these ``shares`` together, sorted by value; None and none of them before that.
    """

    names: tuple[str, ...]
    path: Path
    half_life_ms: int
    prior: float
    least: int
    shares: tuple[tuple[str, float], ...] = ()
    profiles: int = 0
    measured_at_ms: int | None = None


class OwnParameters(msgspec.Struct, frozen=True, tag="own"):
    """Of ``python``: the name of a scorer, its inputs, and its parameters as JSON, with keys in order."""

    scorer: str
    inputs: tuple[Input, ...]
    json: str = "{}"


Parameters = (
    BuyingParameters
    | SpendingParameters
    | WeightedParameters
    | TreesParameters
    | PopulationParameters
    | AffinityParameters
    | OwnParameters
)


class Model(msgspec.Struct, frozen=True):
    """A fitted model. ``version`` 0: it is not published yet. ``parameters``: None only if it is not ready.

    ``written`` is its file form, as validated. ``trained_on`` and ``quality`` are as measured by the fit.
    """

    name: str
    kind: str
    parameters: Parameters | None
    version: int = 0
    fitted_at_ms: int = 0
    valid_until_ms: int | None = None
    status: str = READY
    reasons: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    trained_on: dict[str, Any] = {}
    quality: dict[str, Any] = {}
    written: dict[str, Any] = {}

    @property
    def is_ready(self) -> bool:
        """Whether the model gives scores."""
        return self.status == READY and self.parameters is not None

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that need this model.

        >>> Model("spending", "gamma-gamma", None).scores
        ('average_order_value_expected', 'ltv_90d', 'ltv_365d')
        >>> Model("fraud", "trees", None).scores
        ('fraud',)
        """
        found = tuple(score for score, names in STANDARD_SCORES.items() if self.name in names)
        return found or (self.name,)


def models_of(score: str) -> tuple[str, ...]:
    """Return the names of the models that a score needs.

    >>> models_of("ltv_90d"), models_of("intent"), models_of("fraud")
    (('buying', 'spending'), ('convert_24h',), ('fraud',))
    """
    return STANDARD_SCORES.get(score, (score,))
