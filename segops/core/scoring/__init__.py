"""Scoring models: their port in ``base``, and one file per model."""

from segops.core.scoring.base import Scorer
from segops.core.scoring.recency import RecencyDays
from segops.core.scoring.unfitted import Unfitted

#: The name in a ``score`` node -> its model. The model of an ``rfm`` node is in its definition.
SCORERS: dict[str, Scorer] = {"recency_days": RecencyDays()}

_UNFITTED = Unfitted()


def scorer_of(name: str) -> Scorer:
    """Return the model of a score; for one that is declared and not fitted yet, one without values.

    >>> scorer_of("churn_risk").value(None, 0) is None
    True
    """
    return SCORERS.get(name, _UNFITTED)
