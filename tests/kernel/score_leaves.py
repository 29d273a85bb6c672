"""Random leaves about scores."""

from __future__ import annotations

from random import Random
from typing import Any

from segops.core.scoring.models import ORDER_SCORES

_SCORES = (0, 0.001, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.999, 1, 1.0)
_EXPECTED = (0, 0.1, 0.5, 1, 1.5, 2, 3, 5, 8, 20, 50)


def score(rng: Random) -> dict[str, Any]:
    """Return a leaf about orders, or about the age of the latest event."""
    tiers, digit = ("champions", "hibernating", "new"), rng.choice(("recency", "frequency", "monetary"))
    return rng.choice(
        (
            {"rfm": [rng.choice(tiers)]},
            {"rfm": {digit: {"gte": rng.randint(1, 4)}}},
            {"rfm": {"enter": {digit: {"gte": 3}}, "exit": {digit: {"lte": 2}}}},
            {"score": "recency_days", "is": {"lte": rng.randint(0, 2)}},
        )
    )


def model_score(rng: Random) -> dict[str, Any]:
    """Return a leaf about a score of orders or of figures, whose models follow from how it is written."""
    name = rng.choice((*ORDER_SCORES, "convert_24h", "own_logistic", "own_linear"))
    if name == "next_order_at":
        span = rng.choice(("500ms", "6h", "1d", "2d"))
        return {"score": name, "is": {rng.choice(("in_next", "in_last", "older_than", "newer_than")): span}}
    numbers = [
        rng.choice(_SCORES if name in ("p_alive", "churn_risk", "convert_24h", "own_logistic") else _EXPECTED)
        for _ in range(2)
    ]
    if rng.random() < 0.15:
        low, high = sorted((*numbers, 0.3))[::2]
        return {"score": name, "enter": {"gte": high}, "exit": {"lt": low}}
    relation = rng.choice(("lt", "lte", "gt", "gte", "gte", "eq", "ne"))
    tests: list[dict[str, Any]] = [
        {relation: numbers[0]},
        {relation: numbers[0]},
        {"between": sorted(numbers)},
    ]
    return {"score": name, "is": rng.choice((*tests, {"exists": True}, {"in": numbers}))}
