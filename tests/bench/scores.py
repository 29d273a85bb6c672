"""The core with score rules: what an event costs with ten of them beside ten other segments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.scoring.models import Model
from segops.core.segments import Definition, SegmentSet
from segops.schemas.events import decode, route
from segops.schemas.models import read_model
from segops.schemas.segments import inline

from .workload import SEGMENTS

_WALL_MS: Final = 2_000_000_000_000
_FITTED: Final = "2026-01-01T00:00:00Z"
#: As in the workload, which lasts a few days: customers order within days.
_BUYING: Final = {"r": 0.9, "alpha": 2.0, "a": 0.8, "b": 2.5, "gap_shape": 2.5, "gap_scale": 2.0}
_FEATURES: Final = (
    ("views_1h", {"did": "Product Viewed", "within": "1h"}, "log1p", 0.6),
    ("views_24h", {"did": "Product Viewed", "within": "24h"}, "log1p", 0.4),
    ("adds_24h", {"did": "Product Added", "within": "24h"}, "log1p", 0.9),
    ("orders_7d", {"did": "Order Completed", "within": "7d"}, "log1p", -0.3),
    ("idle", {"days_since_last": "Product Viewed"}, "days_log1p", -0.5),
)
MODELS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "buying", "kind": "bg-nbd", "fitted_at": _FITTED, "parameters": _BUYING},
    {
        "name": "spending",
        "kind": "gamma-gamma",
        "fitted_at": _FITTED,
        "parameters": {"p": 6.25, "q": 3.74, "gamma": 150.0},
    },
    {
        "name": "convert_24h",
        "kind": "logistic",
        "fitted_at": _FITTED,
        "features": [
            {"name": name, "figure": figure, "transform": transform, "missing": 5.0}
            for name, figure, transform, _ in _FEATURES
        ],
        "parameters": {"intercept": -2.0, "weights": {name: weight for name, *_, weight in _FEATURES}},
    },
)
RULES: Final[dict[str, dict[str, Any]]] = {
    "alive": {"score": "p_alive", "is": {"gte": 0.5}},
    "risky": {"score": "churn_risk", "enter": {"gte": 0.7}, "exit": {"lt": 0.5}},
    "next-month": {"score": "expected_orders_30d", "is": {"gte": 1}},
    "next-quarter": {"score": "expected_orders_90d", "is": {"gte": 2}},
    "next-year": {"score": "expected_orders_365d", "is": {"gte": 5}},
    "large-orders": {"score": "average_order_value_expected", "is": {"gte": 150}},
    "worth-90d": {"score": "ltv_90d", "is": {"gte": 300}},
    "worth-365d": {"score": "ltv_365d", "is": {"gte": 900}},
    "due-soon": {"score": "next_order_at", "is": {"in_next": "3d"}},
    "likely": {"score": "convert_24h", "is": {"gte": 0.75}},
}
_ALONE: Final = ("risky", "next-year", "likely")


def measure(events: list[tuple[str, bytes]]) -> dict[str, float]:
    """Measure the cost of an event with score rules over that without: medians of five runs."""
    decoded = [(user, _event(value)) for user, value in events[:60_000]]
    sets = {"none": _definitions(SEGMENTS), "all": _definitions({**SEGMENTS, **RULES})}
    sets |= {key: _definitions({**SEGMENTS, key: RULES[key]}) for key in _ALONE}
    runs: dict[str, list[float]] = {name: [] for name in sets}
    for _ in range(5):
        for name, definitions in sets.items():
            runs[name].append(_seconds(definitions, decoded))
    cost = {name: sorted(taken)[2] for name, taken in runs.items()}
    figures = {
        "scores: evaluate ten segments without scores, µs per event": cost["none"] / len(decoded) * 1e6,
        "scores: cost with ten score rules beside them": cost["all"] / cost["none"],
    }
    return figures | {
        f"scores: cost with a rule of {RULES[key]['score']} beside them": cost[key] / cost["none"]
        for key in _ALONE
    }


def read_models(forms: Sequence[dict[str, Any]]) -> dict[str, Model]:
    """Read models by name."""
    return {str(form["name"]): read_model(form, "bench") for form in forms}


def _definitions(forms: dict[str, dict[str, Any]]) -> list[Definition]:
    models = read_models(MODELS)
    written = [{"key": key, "when": form} for key, form in forms.items()]
    return inline(written, "bench", "segments", models=models)


def _event(value: bytes) -> Event:
    routed = route(value, now_ms=_WALL_MS, default_time_ms=0)
    return decode(value, time_ms=routed.time_ms, default_id="-")


def _seconds(definitions: list[Definition], decoded: list[tuple[str, Event]]) -> float:
    engine = Engine(SegmentSet(definitions))
    profiles: dict[str, Profile] = {}
    begin = time.process_time()
    for user, event in decoded:
        profile = profiles.get(user) or profiles.setdefault(user, engine.new_profile(user))
        engine.on_event(profile, event, clock_ms=0)
    return time.process_time() - begin
