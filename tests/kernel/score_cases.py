"""Random scores that the kernel computes, alone, and streams that move them past numbers.

Drawn among other rules (``plain_cases.py``), a score seldom has orders of many days.
"""

from __future__ import annotations

from random import Random
from typing import Any

from segops.core.events import Event
from segops.core.scoring.models import ORDER_SCORES, Model
from segops.core.segments import Definition, SegmentSet
from segops.schemas.models import read_model
from segops.testing import definition
from tests.core.strategies import BASE_MS
from tests.core.strategies_scores import FITTED

_DAY_MS = 86_400_000
_FIGURES: tuple[dict[str, Any], ...] = (
    {"did": "A", "within": "5s"},
    {"did": ["A", "B"], "within": "3d"},
    {"did": "C"},
    {"sum": "p", "of": "A", "within": "8s"},
    {"sum": "p", "of": "A", "within": "2d"},
    {"sum": "p", "of": "B"},
    {"trait": "p"},
    {"trait": "o.r"},
    {"days_since_last": "A"},
    {"days_since_last": "B"},
    {"days_since_first": ["B", "C"]},
)
_CALIBRATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"calibration": {"kind": "platt", "a": 0.8, "b": 0.2}},
    {"calibration": {"kind": "isotonic", "points": [[0.1, 0.05], [0.5, 0.3], [0.7, 0.3], [0.9, 1.0]]}},
)
_PROBABILITIES = (0, 1e-9, 0.1, 0.3, 0.5, 0.75, 0.9, 0.999, 1)
_NUMBERS = (0.05, 0.5, 1, 1.5, 3, 8, 20, 60)
_SUMS = (-1, 0, 0.5, 1, 1.5, 3)


def segments(rng: Random) -> SegmentSet:
    """Return six segments of a score each, each score with models of its own."""
    return SegmentSet([_of_orders(rng, n) if rng.random() < 0.6 else _of_figures(rng, n) for n in range(6)])


def _spread(rng: Random, low: float, high: float) -> float:
    """Return a number between two others, whose logarithm is even between theirs."""
    return float(low * (high / low) ** rng.random())


def _of_orders(rng: Random, number: int) -> Definition:
    name = rng.choice(sorted(ORDER_SCORES))
    buying = {"r": _spread(rng, 0.02, 10), "alpha": _spread(rng, 0.1, 2_000)}
    buying |= {"a": _spread(rng, 0.02, 30), "b": _spread(rng, 0.02, 30)}
    buying |= {"gap_shape": 1 + _spread(rng, 0.01, 5), "gap_scale": _spread(rng, 0.01, 100)}
    spending = {"p": _spread(rng, 0.2, 20), "q": 1 + _spread(rng, 0.05, 10), "gamma": _spread(rng, 0.1, 300)}
    models = {
        "buying": _model("buying", rng.choice(("bg-nbd", "mbg-nbd")), parameters=buying),
        "spending": _model("spending", "gamma-gamma", parameters=spending),
    }
    test = _test(rng, _PROBABILITIES if name in ("p_alive", "churn_risk") else _NUMBERS)
    if name == "next_order_at":
        test = {rng.choice(("in_next", "in_last", "older_than")): rng.choice(("6h", "1d", "30d"))}
    return definition(f"s{number}", _with_another(rng, {"score": name, "is": test}), models=models)


def _of_figures(rng: Random, number: int) -> Definition:
    kind = rng.choice(("logistic", "logistic", "linear"))
    calibration = rng.choice(_CALIBRATIONS) if kind == "logistic" else {}
    features = [_feature(rng, at, each) for at, each in enumerate(rng.sample(_FIGURES, rng.randint(1, 5)))]
    weights = {each["name"]: round(rng.uniform(-2, 2), 2) for each in features}
    parameters = {"intercept": rng.uniform(-1, 1), "weights": weights}
    model = _model("own", kind, features=features, parameters=parameters, **calibration)
    test = _test(rng, _PROBABILITIES if kind == "logistic" else _SUMS)
    return definition(f"s{number}", _with_another(rng, {"score": "own", "is": test}), models={"own": model})


def _with_another(rng: Random, rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule, sometimes with another leaf: one that changes once, or as often as it has entries."""
    counted = {"did": "A", "count": {"gte": 1}, "within": rng.choice(("9s", "40d"))}
    summed = {"sum": "p", "of": "A", "within": rng.choice(("9s", "5d", "40d")), "is": {"gte": 1}}
    another = rng.choice((None, None, None, counted, summed, {"not": summed}))
    return rule if another is None else {rng.choice(("all", "any")): [rule, another]}


def _feature(rng: Random, number: int, figure: dict[str, Any]) -> dict[str, Any]:
    logarithm = "days_log1p" if next(iter(figure)).startswith("days") else "log1p"
    scaled = {"missing": rng.choice((0, 1.5)), "mean": rng.choice((0, 0.4)), "scale": 1.5}
    transform = rng.choice(("none", "present", logarithm, logarithm))
    return {"name": f"f{number}", "figure": figure, "transform": transform, **scaled}


def _model(name: str, kind: str, **keys: Any) -> Model:
    return read_model({"name": name, "kind": kind, "fitted_at": FITTED, **keys}, "drawn")


def _test(rng: Random, numbers: tuple[float, ...]) -> dict[str, Any]:
    pair = sorted(rng.choice(numbers) for _ in range(2))
    tests: tuple[dict[str, Any], ...] = (
        *({relation: pair[0]} for relation in ("gte", "gte", "gt", "lt", "lt", "lte", "eq", "ne")),
        *({"between": pair}, {"in": pair}, {"exists": True}),
    )
    return rng.choice(tests)


def steps(rng: Random) -> list[tuple[str, Any]]:
    """Return events of hours to years, and what is known of their orders."""
    found: list[tuple[str, Any]] = []
    at = BASE_MS
    gaps = rng.choice(((0, 500, 2_000, 9_000), (0, 500, 3_600_000, _DAY_MS, _DAY_MS, 20 * _DAY_MS)))
    for number in range(50):
        at += rng.choice(gaps)
        if rng.random() < 0.1:
            found.append(("clock", at))
            continue
        name = rng.choice((*("Order Completed",) * 3, "Order Refunded", "Order Cancelled", *"AABC"))
        properties = {"p": rng.choice((1, 0.1, 2.5, -3, 0, 1e6, 1e-5, None))}
        if name.startswith("Order"):
            amount = rng.choice((None, 0, 0.1, 2.5, 20, -5))
            properties = {"order_id": f"o{rng.randrange(40)}", "total": amount}  # type: ignore[dict-item]
        traits = None
        if rng.random() < 0.15:
            values = (1, True, False, -0.5, -0.0, 1e300, "x", None, [1], 12345678901234567890)
            traits = {"p": rng.choice(values), "o": {"r": rng.choice((0.1, 2, "y"))}}
        late = rng.choice((0, 0, 0, 700, min(gaps[-1], _DAY_MS)))
        found.append(("event", Event(name, at - late, f"m{number}", properties, traits)))
    found.append(("clock", at + rng.choice((0, 20_000, 10**9, 10**12))))
    return found
