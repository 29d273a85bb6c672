"""The scores of models from all events of a profile, and when time alone moves them, by plain bisection.

The formulas of ``Buying`` and ``Spending`` are those of the papers and tested against them. What goes into
them is computed here from the events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import cos, exp, exp2, fsum, log1p, pi, sin
from operator import le, lt
from typing import Any, NamedTuple

from segops.core.rules.figures import DaysFigure, Figure, ScoreFigure
from segops.core.rules.model import ScoreNode
from segops.core.rules.reference.history import History, named
from segops.core.rules.reference.orders import lifetime_orders
from segops.core.rules.reference.own import own_score
from segops.core.rules.reference.values import exact, is_number, values_at
from segops.core.scoring.affinity import AffinityScore, lift
from segops.core.scoring.buying import History as Past
from segops.core.scoring.figure_scores import IntentScore, TreesScore, WeightedScore
from segops.core.scoring.models import Input, Isotonic, Platt, Tree
from segops.core.scoring.order_scores import OrderScore
from segops.core.scoring.own import OwnScore
from segops.core.scoring.spending import lifetime_value
from segops.core.values import format_instant

_DAY_MS = 86_400_000
_MAX_DAYS = 3_650
_END_MS = 253_402_300_799_999
ValueOf = Callable[[Figure, History, int], Any]


def model_score(scored: ScoreNode | ScoreFigure, history: History, now_ms: int, value_of: ValueOf) -> Any:
    """Return the score of a model at ``now_ms``; None if it is missing. ``value_of``: that of a figure."""
    scorer = None if scored.model is None else scored.model.formula
    if scorer is None:
        return None
    if isinstance(scorer, OrderScore):
        return _of_orders(scorer, _facts(scorer, history), now_ms)
    if isinstance(scorer, AffinityScore):
        return _affinity(scorer, _drawn(scorer, history), now_ms)
    if isinstance(scorer, OwnScore):
        return own_score(scorer, history, now_ms, value_of)
    numbers = [_input(each, value_of(each.figure, history, now_ms)) for each in scorer.inputs]
    return _of_numbers(scorer, numbers)


# -- orders ------------------------------------------------------------------------------------------------


class _Facts(NamedTuple):
    """The days with orders, and the number and the mean of those after the first that brought money."""

    days: list[int]
    priced: int
    mean: float


def _facts(scorer: OrderScore, history: History) -> _Facts:
    orders = lifetime_orders(history, scorer.currency)
    days = sorted({time_ms // _DAY_MS for time_ms, _ in orders})
    sums = [sum(net for time_ms, net in orders if time_ms // _DAY_MS == day) for day in days[1:]]
    priced = [net for net in sums if net > 0]
    return _Facts(days, len(priced), float(sum(priced)) / len(priced) if priced else 0.0)


def _of_orders(scorer: OrderScore, facts: _Facts, now_ms: int) -> Any:
    found = _unrounded(scorer, facts, now_ms) if facts.days else None
    return round(found, 9) if isinstance(found, float) else found


def _unrounded(scorer: OrderScore, facts: _Facts, now_ms: int) -> Any:
    first, last = facts.days[0], facts.days[-1]
    past = Past(len(facts.days) - 1, float(last - first), (now_ms - first * _DAY_MS) / _DAY_MS)
    name, buying, spending = scorer.name, scorer.buying, scorer.spending
    if buying is not None and name in ("p_alive", "churn_risk"):
        alive = buying.p_alive(past)
        return alive if name == "p_alive" else 1 - round(alive, 9)
    if buying is not None and name.startswith("expected_orders_"):
        return buying.expected_orders(past, int(name[16:-1]))
    if name == "next_order_at":
        return _next_order(scorer, past, last)
    if spending is None:
        return None
    value = spending.expected_order_value(facts.priced, facts.mean)
    if name == "average_order_value_expected" or buying is None:
        return value
    monthly = (1 + scorer.discount) ** (1 / 12) - 1
    return lifetime_value(buying, past, value, days=int(name[4:-1]), monthly_discount=monthly)


def _next_order(scorer: OrderScore, past: Past, last: int) -> str | None:
    if scorer.gaps is None:
        return None
    gap = (scorer.gaps.scale + past.last) / (scorer.gaps.shape + past.repeats - 1)
    at_ms = last * _DAY_MS + gap * _DAY_MS
    return None if at_ms > _END_MS else format_instant(int(at_ms))


# -- affinities --------------------------------------------------------------------------------------------


def _drawn(scorer: AffinityScore, history: History) -> list[tuple[int, str]]:
    """Return the time and the value of each count."""
    return [
        (event.time_ms, value)
        for event in history.in_order()
        if named(event, scorer.names)
        for value in values_at(event, scorer.path)
        if isinstance(value, str)
    ]


def _affinity(scorer: AffinityScore, found: list[tuple[int, str]], now_ms: int) -> Any:
    if not found or len(found) < scorer.least:
        return None
    latest_ms = max(time_ms for time_ms, _ in found)
    weights = [(exp2((time_ms - latest_ms) / scorer.half_life_ms), value) for time_ms, value in found]
    total = fsum(weight for weight, _ in weights)
    ratios = {}
    for value, share in scorer.shares:
        ratios[value] = fsum(weight for weight, each in weights if each == value) / share
    if scorer.of is None:
        greatest = max(ratios.values(), default=0.0)
        return min((value for value, ratio in ratios.items() if ratio == greatest > total), default=None)
    if scorer.of not in ratios:
        return None
    halves = (now_ms - latest_ms) / scorer.half_life_ms
    return round(lift(ratios[scorer.of], total, scorer.prior, halves), 9)


# -- figures -----------------------------------------------------------------------------------------------


def _input(each: Input, value: Any) -> float:
    if isinstance(each.figure, DaysFigure) and value is not None:
        value = min(value, _MAX_DAYS)
    if each.transform == "present":
        number = 0.0 if value is None else 1.0
    elif isinstance(value, bool) or is_number(value):
        number = float(min(max(value, -1e100), 1e100))
        if each.transform in ("log1p", "days_log1p"):
            number = log1p(number) if number > 0 else 0.0
        elif each.transform in _WAVES:
            wave, turns = _WAVES[each.transform]
            number = wave(2 * pi * turns * number / (24 if each.figure.unit == "hour" else 7))
    else:
        number = each.missing
    return (number - each.mean) / each.scale


_WAVES = {"sine": (sin, 1), "cosine": (cos, 1), "sine_2": (sin, 2), "cosine_2": (cos, 2)}


def _of_numbers(scorer: WeightedScore | TreesScore | IntentScore, numbers: list[float]) -> float:
    if isinstance(scorer, IntentScore):
        size = len(scorer.now.inputs)
        now, *usual = [
            _of_numbers(scorer.now, numbers[at : at + size]) for at in range(0, len(numbers), size)
        ]
        weights = [1 / 2**day for day in range(len(usual))]
        base = sum(weight * each for weight, each in zip(weights, usual, strict=True)) / sum(weights)
        return 0.0 if base == 0 else round(now / base, 9)
    total = scorer.parameters.intercept
    if isinstance(scorer, TreesScore):
        for tree in scorer.parameters.trees:
            total += _leaf(tree, 0, numbers)
        return round(_probability(total) if scorer.parameters.logistic else total, 9)
    for weight, number in zip(scorer.parameters.weights, numbers, strict=True):
        total += weight * number
    calibration = scorer.parameters.calibration
    return round(total if calibration is None else _calibrated(calibration, total), 9)


def _leaf(tree: Tree, at: int, numbers: list[float]) -> float:
    if tree.tested[at] == -1:
        return tree.leaves[at]
    left = numbers[tree.tested[at]] <= tree.threshold[at]
    return _leaf(tree, tree.left[at] if left else tree.right[at], numbers)


def _probability(log_odds: float) -> float:
    return 0.0 if log_odds < -700 else 1 / (1 + exp(-log_odds))


def _calibrated(calibration: Platt | Isotonic, log_odds: float) -> float:
    if isinstance(calibration, Platt):
        return _probability(calibration.a * log_odds + calibration.b)
    raw, points = _probability(log_odds), calibration.points
    below = [point for point in points if point[0] < raw]
    above = [point for point in points if point[0] >= raw]
    if not below or not above:
        return (above or below[-1:])[0][1]
    (left, low), (right, high) = below[-1], above[0]
    return min(low + (high - low) * ((raw - left) / (right - left)), high)


# -- instants ----------------------------------------------------------------------------------------------


Moving = Callable[[int], Any]


def moving_score(scored: object, history: History) -> Moving | None:
    """Return the score at an instant, if ``scored`` is one that moves with every millisecond."""
    if not isinstance(scored, (ScoreNode, ScoreFigure)) or scored.model is None:
        return None
    scorer = scored.model.formula
    if isinstance(scorer, AffinityScore):
        return _moving_affinity(scorer, history, exactly=isinstance(scored, ScoreFigure))
    if not isinstance(scorer, OrderScore) or scorer.name in _STILL:
        return None
    facts = _facts(scorer, history)
    if not facts.days:
        return None
    if isinstance(scored, ScoreNode):
        return lambda at_ms: _of_orders(scorer, facts, at_ms)
    return lambda at_ms: exact(_of_orders(scorer, facts, at_ms))


def _moving_affinity(scorer: AffinityScore, history: History, *, exactly: bool) -> Moving | None:
    found = _drawn(scorer, history)
    if scorer.of is None or _affinity(scorer, found, 0) is None:
        return None

    def lift_at(at_ms: int) -> Any:
        value = _affinity(scorer, found, at_ms)
        return exact(value) if exactly else value

    return lift_at


_STILL = ("next_order_at", "average_order_value_expected")


def score_instants(moving: Moving, numbers: Iterable[Any], now_ms: int, until_ms: int) -> Iterable[int]:
    """Yield the first milliseconds at which a score of one direction reaches, passes and leaves numbers."""
    if now_ms >= until_ms:
        return
    for number in numbers:
        for relation in (lt, le):
            test = partial(_related, moving, number, relation)
            if test(now_ms) is not test(until_ms):
                yield _first(test, now_ms, until_ms)


def _related(moving: Moving, number: Any, relation: Callable[[Any, Any], bool], at_ms: int) -> bool:
    return relation(moving(at_ms), number)


def _first(test: Callable[[int], bool], low: int, high: int) -> int:
    """Return the first integer in ``(low, high]`` at which a test differs from its verdict at ``low``."""
    begun = test(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if test(middle) is begun else (low, middle)
    return high
