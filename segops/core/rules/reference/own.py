"""Own scores from all events of a profile, and when time alone may move them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from typing import Any

from segops.core.rules.figures import DaysFigure, Figure, ScoreFigure
from segops.core.rules.model import ScoreNode
from segops.core.rules.reference.history import History
from segops.core.rules.reference.values import exact
from segops.core.scoring.own import OwnScore, OwnScorer

ValueOf = Callable[[Figure, History, int], Any]
_STEPPING_MS = 30 * 86_400_000


def days_from(figure: DaysFigure, history: History, now_ms: int) -> int | None:
    """Return the instant from which days count; None without an event."""
    times = [event.time_ms for event in history.select(figure.select, now_ms)]
    if not times:
        return None
    return min(times) if figure.which == "first" else max(times)


def own_score(formula: OwnScore, history: History, now_ms: int, value_of: ValueOf) -> float | None:
    """Return an own score at ``now_ms``; None if it is missing."""
    scorer, latest_ms = formula.usable, _latest(history)
    if scorer is None or latest_ms is None:
        return None
    clocks = {"constant": latest_ms, "steps": min(now_ms, latest_ms + _STEPPING_MS), "monotone": now_ms}
    return _value(formula, scorer, _given(formula, history, now_ms, value_of), clocks[scorer.changes])


def own_formula(scored: object) -> OwnScore | None:
    """Return the formula of a score, if it is an own one."""
    if not isinstance(scored, (ScoreNode, ScoreFigure)) or scored.model is None:
        return None
    return scored.model.formula if isinstance(scored.model.formula, OwnScore) else None


def own_instants(
    formula: OwnScore,
    history: History,
    instants: set[int],
    until_ms: int,
    value_of: ValueOf,
    *,
    crossed: Callable[[Callable[[int], Any], int, int], Iterable[int]],
) -> Iterable[int]:
    """Yield when an own score may move while its figures stay: they change at the ``instants`` only.

    ``crossed`` yields where a function of one direction passes numbers between two instants.
    """
    scorer, latest_ms = formula.usable, _latest(history)
    if scorer is None or latest_ms is None:
        return
    for begin, end in pairwise([*sorted(at for at in instants if at <= until_ms), until_ms + 1]):
        given = _given(formula, history, begin, value_of)
        if scorer.changes == "monotone" and _value(formula, scorer, given, begin) is not None:
            yield from crossed(lambda at, given=given: _value(formula, scorer, given, at), begin, end - 1)  # type: ignore[misc]
        at: Any = begin
        while scorer.next_step is not None and at is not None and at < end:
            at = scorer.next_step(given, at, json.loads(formula.parameters))
            if at is not None and at <= latest_ms + _STEPPING_MS:
                yield at


def _latest(history: History) -> int | None:
    return max((event.time_ms for event in history.events), default=None)


def _given(formula: OwnScore, history: History, now_ms: int, value_of: ValueOf) -> dict[str, Any]:
    return {each.name: _plain(_read(each.figure, history, now_ms, value_of)) for each in formula.inputs}


def _read(figure: Figure, history: History, now_ms: int, value_of: ValueOf) -> Any:
    if isinstance(figure, DaysFigure):
        return days_from(figure, history, now_ms)
    return value_of(figure, history, now_ms)


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        return value
    number = exact(value)
    return int(number) if number == int(number) and abs(number) < 2**53 else float(number)


def _value(formula: OwnScore, scorer: OwnScorer, given: dict[str, Any], at_ms: int) -> float | None:
    try:
        found = scorer.value(given, at_ms, json.loads(formula.parameters))
    except Exception:  # a scorer that fails gives no score
        return None
    return None if found is None or not isfinite(found) else round(float(found), 9)
