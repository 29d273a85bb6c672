"""The scores of one person as a page shows them: now, ahead, from what, and when they pass a threshold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from segops.console.people.handles import Names
from segops.console.people.shown import text_of
from segops.core.scoring.models import READY
from segops.core.values import parse_instant
from segops.core.views.score_views import Crossing, ScoreView
from segops.core.views.scores import ScoreDetails

#: How far curves go.
DAYS: Final = 90
_PROBABILITIES: Final = ("p_alive", "churn_risk", "convert_24h", "convert_7d")
#: Name of a fact -> what it says.
_FACTS: Final = {
    "x": "days with orders after the first one (x)",
    "t_x": "days from the first to the last one (t_x)",
    "T": "days since the first one (T)",
    "now": "probability now",
    "usual": "probability as usual",
}


def scores_data(scores: Iterable[ScoreView], names: Names, now_ms: int) -> list[dict[str, Any]]:
    """Return the scores of a person; values are hidden from those who may not see them."""
    return [_score(each, names, now_ms) for each in scores]


def _score(found: ScoreView, names: Names, now_ms: int) -> dict[str, Any]:
    details = found.details
    at_ms = parse_instant(found.value) if isinstance(found.value, str) else None
    is_number = isinstance(found.value, (int, float)) and not isinstance(found.value, bool)
    shown = not names.masked
    return {
        "name": found.name,
        "value": names.value(_written(found.name, found.value)),
        "at_ms": at_ms if shown else None,
        "number": found.value if is_number and shown else None,
        "curve": [list(each) for each in found.curve] if shown else [],
        "unit": "%" if found.name in _PROBABILITIES else "",
        "ahead": names.value(_written(found.name, found.curve[-1][1])) if found.curve else "",
        "days": DAYS,
        "missing": _missing(found),
        "stale": _stale(details, now_ms),
        "facts": [] if details is None else _facts(details, names),
        "contributions": [] if details is None else _contributions(details, names),
        "crossings": [_crossing(each) for each in sorted(found.crossings, key=_due)],
    }


def _written(name: str, value: Any) -> str:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return text_of(value)
    if name in _PROBABILITIES:
        return f"{100 * value:,.1f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _missing(found: ScoreView) -> str:
    """Return why a score has no value; "" if it has one."""
    if found.value is not None:
        return ""
    details = found.details
    if details is None:
        return "no model of it is published"
    if details.status != READY:
        reasons = f": {'; '.join(details.reasons)}" if details.reasons else ""
        return f"its model is {details.status.replace('_', ' ')}{reasons}"[:400]
    return "nothing that it is computed from is known of this person"


def _stale(details: ScoreDetails | None, now_ms: int) -> bool:
    until_ms = None if details is None or details.valid_until is None else parse_instant(details.valid_until)
    return until_ms is not None and now_ms >= until_ms


def _facts(details: ScoreDetails, names: Names) -> list[dict[str, Any]]:
    return [
        {"name": _FACTS.get(name, name), "value": names.value(f"{value:,.6g}")}
        for name, value in details.facts.items()
    ]


def _contributions(details: ScoreDetails, names: Names) -> list[dict[str, Any]]:
    """Return what each feature adds, the strongest first; ``share``: of the strongest one."""
    found = sorted(details.contributions, key=lambda each: -abs(each.adds))
    most = abs(found[0].adds) if found else 0.0
    return [
        {
            "name": each.name,
            "value": names.value(_figure(each.value)),
            "adds": None if names.masked else each.adds,
            "share": 0.0 if names.masked or not most else abs(each.adds) / most,
        }
        for each in found
    ]


def _figure(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else text_of(value)


def _due(crossing: Crossing) -> tuple[bool, int]:
    return crossing.at_ms is None, crossing.at_ms or 0


def _crossing(found: Crossing) -> dict[str, Any]:
    plain = ":" not in found.segment_key
    return {
        "segment": found.segment_key,
        "name": found.name,
        "href": f"/segments/{quote(found.segment_key, safe='')}" if plain else "",
        "test": found.test,
        "holds": found.holds,
        "at_ms": found.at_ms,
    }
