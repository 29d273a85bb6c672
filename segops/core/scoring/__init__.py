"""Scoring models: their port in ``base``, and one file per model."""

from segops.core.scoring.base import Scorer
from segops.core.scoring.recency import RecencyDays

#: The name in a ``score`` node -> its model. The model of an ``rfm`` node is in its definition.
SCORERS: dict[str, Scorer] = {"recency_days": RecencyDays()}
