"""Own scorers for tests, one of each way to change, as entry points would install them."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp2
from typing import Any

from segops.scorers import OwnScorer, install

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS


def _constant(values: Mapping[str, Any], _now_ms: int, parameters: Mapping[str, Any]) -> float | None:
    views, latest = values["views"], values["latest"]
    if isinstance(latest, str):
        return None
    return (views - (latest or 0) / 3) / parameters["by"]


def _monotone(values: Mapping[str, Any], now_ms: int, parameters: Mapping[str, Any]) -> float | None:
    since = values["since"]
    if since is None:
        return None
    hours = max(now_ms - since, 0) / _HOUR_MS
    return (1 + values["views"]) * exp2(-hours / parameters["hours"]) - values["b"] / 4


def _stepped(values: Mapping[str, Any], now_ms: int, parameters: Mapping[str, Any]) -> float | None:
    since, by = values["since"], parameters["by"]
    if since is None:
        return None
    steps = min(max(now_ms - since, 0) // (_MINUTE_MS * by), 11)
    return None if steps % 5 == 4 else (steps * by) % 3 - values["b"] / 2


def _next_step(values: Mapping[str, Any], now_ms: int, parameters: Mapping[str, Any]) -> int | None:
    since, length = values["since"], _MINUTE_MS * parameters["by"]
    if since is None:
        return None
    at = since + (max(now_ms - since, 0) // length + 1) * length
    return at if at < since + 12 * length else None


_SINCE = {"days_since_last": "A"}
_VIEWS = {"did": ["A", "C"], "within": "9s"}
_B = {"did": "B"}
#: Name -> a scorer.
SCORERS = {
    "own_constant": OwnScorer({"views": _VIEWS, "latest": {"latest": "p", "of": "B"}}, _constant),
    "own_monotone": OwnScorer({"views": _VIEWS, "since": _SINCE, "b": _B}, _monotone, "monotone"),
    "own_steps": OwnScorer({"since": _SINCE, "b": _B}, _stepped, "steps", _next_step),
}
OWN_SCORERS = tuple(SCORERS)
for _name, _scorer in SCORERS.items():
    install(_name, _scorer)
