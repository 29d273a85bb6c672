"""Strategies for rules about the scores of models, and random models for them.

A rule names only scores; its models follow from how it is written, so that each rule has others.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import Any
from zlib import crc32

import msgspec
from hypothesis import strategies as st

from segops.core.scoring.models import ORDER_SCORES, Model
from segops.core.values import format_instant
from segops.schemas.models import read_model

from .own_scorers import OWN_SCORERS
from .strategies import BASE_MS, composite, names, time_windows

AFFINITIES = ("affinity.p", "affinity.q")
OWN_SCORES = ("own_logistic", "own_linear", "own_trees", *OWN_SCORERS)
FITTED = "2025-10-01T00:00:00Z"
#: How many sets of models there are.
_SETS = 500
#: Days: orders of one day and of the next ones tell customers apart, and scores move within two days.
_ALPHAS = (2.0, 4.0, 8.0, 30.0)


def score_models(form: Any) -> dict[str, Model]:
    """Return the models of a rule as written; of one without scores, none."""
    text = msgspec.json.encode(form)
    return _models(crc32(text) % _SETS) if b'"score' in text or b'"indicator"' in text else {}


@lru_cache(maxsize=_SETS)
def _models(number: int) -> dict[str, Model]:
    random = Random(number)
    forms = [_buying(random), _spending(random)]
    forms += [_of_figures(random, name, "logistic") for name in ("convert_24h", "convert_7d", "own_logistic")]
    forms += [_of_figures(random, "own_linear", "linear"), _trees(random)]
    forms += [_python(random, name) for name in OWN_SCORERS]
    forms += [_population(random, name) for name in _RANGES if random.random() < 0.9]
    forms += [_affinity(random, name) for name in AFFINITIES if random.random() < 0.95]
    return {form["name"]: read_model(form, "drawn") for form in forms}


#: Score with a population -> the least and the greatest of its edges.
_RANGES = {
    "recency_days": (0, 3),
    "p_alive": (0, 1),
    "churn_risk": (0, 1),
    "expected_orders_30d": (0, 8),
    "own_linear": (-2, 2),
    "own_monotone": (0, 2),
}


def _population(random: Random, score: str) -> dict[str, Any]:
    low, high = _RANGES[score]
    edges = sorted(round(random.uniform(low, high), random.choice([0, 1, 3])) for _ in range(99))
    parameters = {"edges": {"score": edges}, "profiles": 500, "measured_at": FITTED}
    return _form(f"percentile.{score}", "population", parameters=parameters)


def _affinity(random: Random, name: str) -> dict[str, Any]:
    events = random.choice([["A"], ["A", "B"], ["A", "B", "C"], "any_event"])
    parameters = {"of": events, "path": name.removeprefix("affinity.")}
    parameters |= {"half_life": random.choice(["1s", "4s", "20s", "1h", "1d"])}
    parameters |= {"prior": random.choice([0.5, 1, 5]), "least": random.choice([1, 1, 2])}
    if random.random() < 0.95:
        parts = [random.uniform(0.05, 0.33) for _ in "xyz"]
        shares = {"x": parts[0], "y": parts[1], "xy": parts[0] if random.random() < 0.2 else parts[2]}
        parameters |= {"shares": shares, "profiles": 50, "measured_at": FITTED}
    return _form(name, "population", parameters=parameters)


def _buying(random: Random) -> dict[str, Any]:
    values = {"r": random.uniform(0.2, 2), "alpha": random.choice(_ALPHAS)}
    values |= {"a": random.choice([0.5, 1.0, 2.5]), "b": random.uniform(0.3, 3)}
    gaps = {"gap_shape": random.uniform(1.5, 4), "gap_scale": random.uniform(0.01, 2)}
    kind = random.choice(["bg-nbd", "mbg-nbd", "mbg-nbd"])
    return _form("buying", kind, parameters={**values, **(gaps if random.random() < 0.9 else {})})


def _spending(random: Random) -> dict[str, Any]:
    values = {"p": random.uniform(0.5, 6), "q": random.uniform(1.2, 5), "gamma": random.uniform(1, 20)}
    currency = {"currency": "EUR"} if random.random() < 0.2 else {}
    discount = {"discount": 0.3} if random.random() < 0.5 else {}
    return {**_form("spending", "gamma-gamma", parameters={**values, **discount}), **currency}


_FIGURES: tuple[dict[str, Any], ...] = (
    {"did": "A", "within": "5s"},
    {"did": ["A", "B"], "within": "12s"},
    {"did": "B", "between": {"from": "9s", "to": "2s"}},
    {"did": "C"},
    {"sum": "p", "of": "A", "within": "8s"},
    {"avg": "p", "of": ["A", "B"]},
    {"latest": "q", "of": "B", "within": "6s"},
    {"distinct": "p", "of": "A", "within": "10s"},
    {"trait": "p"},
    {"days_since_last": "A"},
    {"days_since_last": "Order Completed"},
    {"days_since_first": ["B", "C"]},
    {"ratio": {"of": {"did": "A", "within": "7s"}, "to": {"did": "B", "within": "20s"}}},
    {"clock": "hour", "zone": "Asia/Kolkata"},
    {"clock": "weekday"},
)


def _features(random: Random) -> list[dict[str, Any]]:
    found = []
    for at, figure in enumerate(random.sample(_FIGURES, random.randint(1, 4))):
        head = next(iter(figure))
        special = {"clock": random.choice(["sine", "cosine", "sine_2", "cosine_2"])}.get(head)
        days = "days_log1p" if head.startswith("days") else "log1p"
        transform = special or random.choice(["none", "log1p", "present", days])
        scaled = {"missing": random.choice([0, 1.5]), "mean": random.choice([0, 0.4]), "scale": 1.5}
        found.append({"name": f"f{at}", "figure": figure, "transform": transform, **scaled})
    return found


def _of_figures(random: Random, name: str, kind: str) -> dict[str, Any]:
    features = _features(random)
    weights = {each["name"]: round(random.uniform(-2, 2), 2) for each in features}
    form = _form(name, kind, parameters={"intercept": random.uniform(-1, 1), "weights": weights})
    calibrations: list[dict[str, Any]] = [
        {},
        {"calibration": {"kind": "platt", "a": 0.8, "b": 0.2}},
        {"calibration": {"kind": "isotonic", "points": [[0.1, 0.05], [0.5, 0.3], [0.7, 0.3], [0.9, 1.0]]}},
    ]
    return {**form, "features": features, **(random.choice(calibrations) if kind == "logistic" else {})}


def _trees(random: Random) -> dict[str, Any]:
    features = _features(random)
    trees = []
    for _ in range(random.randint(1, 3)):
        used = [random.randrange(len(features)) for _ in range(2)]
        trees.append(
            {
                "feature": [used[0], used[1], -1, -1, -1],
                "threshold": [random.choice([0, 0.5, 1]), random.choice([0, 0.2, 2]), 0, 0, 0],
                "left": [1, 3, -1, -1, -1],
                "right": [2, 4, -1, -1, -1],
                "value": [0, 0, *(round(random.uniform(-1, 1), 1) for _ in range(3))],
            }
        )
    form = _form("own_trees", "trees", trees=trees, link=random.choice(["identity", "logistic"]))
    return {**form, "features": features}


def _python(random: Random, name: str) -> dict[str, Any]:
    parameters = {"by": random.choice([1, 2, 5]), "hours": random.choice([0.01, 0.5, 6, 30])}
    return _form(name, "python", scorer=name, parameters=parameters)


def _form(name: str, kind: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "fitted_at": FITTED, **keys}


# -- rules -------------------------------------------------------------------------------------------------

_shares = st.one_of(st.integers(1, 19).map(lambda n: n / 20), st.sampled_from([0, 1, 0.999, 0.001]))
#: Score -> numbers near its values.
_NUMBERS: dict[str, st.SearchStrategy[float]] = {
    **dict.fromkeys(("p_alive", "churn_risk", "convert_24h", "convert_7d", "own_logistic"), _shares),
    **dict.fromkeys(("own_linear", "own_trees", *OWN_SCORERS), st.integers(-8, 8).map(lambda n: n / 4)),
    "intent": st.sampled_from([0.2, 0.5, 0.9, 1, 1.0, 1.1, 1.5, 2, 5]),
    "expected_orders_30d": st.sampled_from([0.1, 0.5, 1, 2, 3, 5, 8]),
    "expected_orders_90d": st.sampled_from([0.5, 1, 2, 4, 8, 15]),
    "expected_orders_365d": st.sampled_from([1, 2, 4, 8, 20]),
    "average_order_value_expected": st.sampled_from([1, 2, 5, 10, 20]),
    "ltv_90d": st.sampled_from([1, 5, 10, 20, 50, 100]),
    "ltv_365d": st.sampled_from([5, 20, 50, 150]),
}
_dates = st.integers(0, 40).map(lambda n: format_instant(BASE_MS // 3_600_000 * 3_600_000 + n * 3_600_000))
_spans = st.sampled_from(["500ms", "1h", "6h", "1d", "2d"])
_of_dates = st.one_of(
    st.tuples(st.sampled_from(["in_next", "in_last", "older_than", "newer_than"]), _spans),
    st.tuples(st.sampled_from(["before", "after"]), _dates),
).map(lambda pair: {pair[0]: pair[1]})


def _tests(name: str) -> st.SearchStrategy[dict[str, Any]]:
    exists = st.booleans().map(lambda present: {"exists": present})
    if name == "next_order_at":
        return st.one_of(_of_dates, _of_dates, _of_dates, exists)
    numbers = _NUMBERS[name]
    ordered = st.tuples(st.sampled_from(["lt", "lte", "gt", "gte", "eq", "ne"]), numbers)
    return st.one_of(
        *[ordered.map(lambda pair: {pair[0]: pair[1]})] * 4,
        st.tuples(numbers, numbers).map(lambda pair: {"between": [min(pair), max(pair)]}),
        exists,
    )


#: Scores -> the names that take long to compute come less often.
_QUICK = ("p_alive", "churn_risk", "next_order_at", "average_order_value_expected", "convert_24h")
_SLOW = (*ORDER_SCORES, "convert_24h", "convert_7d", "intent", *OWN_SCORES)
_names = st.one_of(st.sampled_from(_QUICK), st.sampled_from(_SLOW), st.sampled_from(OWN_SCORES))


_percents = st.one_of(st.integers(0, 99), st.sampled_from([0, 1, 50, 99]))
_relations = st.sampled_from(["gte", "lt", "gt", "lte", "eq"])
_places = st.tuples(st.sampled_from(sorted(_RANGES)), _relations, _percents)
percentile_rules: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _places.map(lambda found: {"score_percentile": found[0], "is": {found[1]: found[2]}}),
    st.tuples(_places, st.integers(0, 3)).map(
        lambda found: {
            "compare": [
                {"ratio": {"of": {"score_percentile": found[0][0]}, "to": {"did": "A"}}}
                if found[1] == 0
                else {"score_percentile": found[0][0]},
                found[0][1],
                found[0][2],
            ]
        }
    ),
)


_lifts = st.sampled_from([0.2, 0.5, 0.9, 1, 1.0, 1.1, 1.25, 1.5, 2, 2.5, 3, 1.000001])
_values = st.sampled_from(["x", "x", "x", "y", "y", "xy", "other"])
_affinities = st.tuples(st.sampled_from(AFFINITIES), _values).map(
    lambda pair: {"score": pair[0], "of": pair[1]}
)
_of_texts = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne", "lt", "starts_with"]), _values).map(lambda p: {p[0]: p[1]}),
    st.just({"in": ["x", "xy"]}),
    st.booleans().map(lambda present: {"exists": present}),
)


@composite
def affinity_rules(draw: Any) -> dict[str, Any]:
    """Draw a test of the lift of a value or of the strongest one, or a comparison of one of them."""
    shape = draw(st.sampled_from(["is", "is", "strongest", "compare", "ratio"]))
    if shape == "strongest":
        strongest = {"score": draw(st.sampled_from(AFFINITIES))}
        if draw(st.integers(0, 3)) == 0:
            return {"compare": [strongest, draw(st.sampled_from(["eq", "ne"])), {"latest": "q", "of": "A"}]}
        return {**strongest, "is": draw(_of_texts)}
    figure, relation = draw(_affinities), draw(st.sampled_from(["lt", "gte", "gt", "lte", "eq"]))
    if shape == "is":
        return {**figure, "is": draw(st.sampled_from([{relation: draw(_lifts)}, {"exists": True}]))}
    if shape == "ratio":
        sides = draw(st.permutations([figure, draw(_others)]))
        return {"ratio": {"of": sides[0], "to": sides[1], "is": {relation: draw(_lifts)}}}
    other = draw(st.one_of(_lifts, _others))
    return {"compare": [figure, relation, other]}


@composite
def score_rules(draw: Any) -> dict[str, Any]:
    """Draw a test of a score or its percentile, or a comparison of a score."""
    chosen = draw(st.integers(0, 9))
    if chosen < 2:
        return draw(percentile_rules)  # type: ignore[no-any-return]
    if chosen < 4:
        return draw(affinity_rules())
    name, shape = draw(_names), draw(st.sampled_from(["is", "is", "is", "compare", "ratio"]))
    if shape == "is" or name == "next_order_at":
        return {"score": name, "is": draw(_tests(name))}
    number = draw(_NUMBERS[name])
    figure = {"score": name}
    if shape == "ratio":
        other = draw(_others)
        sides = [figure, other] if draw(st.booleans()) else [other, figure]
        test = {draw(st.sampled_from(["gte", "lt"])): draw(st.sampled_from([0.1, 0.5, 1, 2]))}
        return {"ratio": {"of": sides[0], "to": sides[1], "is": test}}
    operator = draw(st.sampled_from(["lt", "gte", "gt", "lte"]))
    return {"compare": draw(st.sampled_from([[figure, operator, number], [draw(_others), operator, figure]]))}


@composite
def score_hystereses(draw: Any) -> dict[str, Any]:
    """Draw a score of a model with hysteresis."""
    if draw(st.integers(0, 5)) == 0:
        enter, exit = draw(st.permutations([{"gte": draw(_lifts)}, {"lt": 0.9}]))
        if {"gte": 0.2} in (enter, exit) or {"gte": 0.5} in (enter, exit):
            enter, exit = {"gte": 1.5}, {"lt": 1.1}
        return {**draw(_affinities), "enter": enter, "exit": exit}
    name = draw(st.sampled_from(sorted(_NUMBERS)))
    number = draw(_NUMBERS[name])
    enter, exit = draw(st.permutations([{"gte": number}, {"lt": number}]))
    return {"score": name, "enter": enter, "exit": exit}


_others = st.one_of(
    st.tuples(names, time_windows).map(lambda pair: {"did": pair[0], **pair[1]}),
    st.just({"trait": "p"}),
    st.just({"sum": "p", "of": "A", "within": "4s"}),
)
