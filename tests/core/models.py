"""Models for tests: in their file form, and read."""

from __future__ import annotations

from typing import Any

from segops.core.scoring.models import Model
from segops.schemas.models import read_model

FITTED = "2026-01-01T00:00:00Z"


def buying(
    r: float = 0.243, alpha: float = 31.0, a: float = 0.793, b: float = 2.426, **keys: Any
) -> dict[str, Any]:
    """Return a model of buying."""
    parameters = {"r": r, "alpha": alpha, "a": a, "b": b, "gap_shape": 2.5, "gap_scale": 60.0}
    return {"name": "buying", "kind": "bg-nbd", "fitted_at": FITTED, "parameters": parameters, **keys}


def spending(p: float = 6.25, q: float = 3.74, gamma: float = 15.44, **keys: Any) -> dict[str, Any]:
    """Return a model of spending."""
    parameters = {"p": p, "q": q, "gamma": gamma}
    return {"name": "spending", "kind": "gamma-gamma", "fitted_at": FITTED, "parameters": parameters, **keys}


VIEWS = {
    "name": "views",
    "figure": {"did": "View", "within": "24h"},
    "transform": "log1p",
    "mean": 0.5,
    "scale": 2.0,
}
IDLE = {"name": "idle", "figure": {"days_since_last": "View"}, "transform": "days_log1p", "missing": 6.0}
PLAN = {"name": "plan", "figure": {"trait": "plan"}, "transform": "present"}


def logistic(
    name: str = "convert_24h",
    features: Any = (VIEWS, IDLE, PLAN),
    weights: Any = (1.5, -0.6, 0.4),
    **keys: Any,
) -> dict[str, Any]:
    """Return a logistic model."""
    weights = {each["name"]: weight for each, weight in zip(features, weights, strict=True)}
    parameters = {"intercept": -0.5, "weights": weights}
    form = {"name": name, "kind": "logistic", "fitted_at": FITTED, "features": list(features)}
    return {**form, "parameters": parameters, **keys}


def trees(name: str = "fraud", features: Any = (VIEWS, IDLE), **keys: Any) -> dict[str, Any]:
    """Return a model of two trees."""
    one = {"feature": [0, -1, -1], "threshold": [0.2, 0, 0], "left": [1, -1, -1], "right": [2, -1, -1]}
    two = {"feature": [1, -1, -1], "threshold": [1.2, 0, 0], "left": [1, -1, -1], "right": [2, -1, -1]}
    found = [{**one, "value": [0, 0.25, 1.0]}, {**two, "value": [0, 2.0, -0.5]}]
    form = {"name": name, "kind": "trees", "fitted_at": FITTED, "features": list(features)}
    return {**form, "trees": found, **keys}


def models_of(*forms: dict[str, Any]) -> dict[str, Model]:
    """Return the models of these forms by name."""
    return {form["name"]: read_model(form, "model.json") for form in forms}


def affinity(name: str = "affinity.category", **parameters: Any) -> dict[str, Any]:
    """Return a model of an affinity; ``shares=None``: of a population that is not measured."""
    found: dict[str, Any] = {"of": "View", "path": "category", "half_life": "1d", "prior": 1}
    found |= {"shares": {"shoes": 0.25, "hats": 0.5}, "profiles": 50, "measured_at": FITTED, **parameters}
    if found["shares"] is None:
        found = {key: each for key, each in found.items() if key not in ("shares", "profiles", "measured_at")}
    return {"name": name, "kind": "population", "fitted_at": FITTED, "parameters": found}
