"""The values of figures over all events, for the slow and obvious evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import UnsetType

from segops.core.conversions import CONVERSIONS
from segops.core.events import Event
from segops.core.rules import model
from segops.core.rules.figures import (
    AggregateFigure,
    ClockFigure,
    CountFigure,
    DaysFigure,
    DigitFigure,
    DistanceFigure,
    Figure,
    FrozenFigure,
    Number,
    PercentileFigure,
    RatioFigure,
    ScoreFigure,
    TierFigure,
    TraitFigure,
)
from segops.core.rules.reference.history import History, counts
from segops.core.rules.reference.orders import action_figures, figures
from segops.core.rules.reference.own import days_from
from segops.core.rules.reference.scores import model_score
from segops.core.rules.reference.values import (
    different,
    distance_m,
    exact,
    is_number,
    lookup,
    most_frequent,
    same,
    value_at,
    values_at,
)
from segops.core.windows import SinceLast, Window

_DAY_MS = 86_400_000
_QUARTER_MS = 900_000


def value_of(figure: Figure | Number, history: History, now_ms: int) -> Any:
    """Return the value of a figure at ``now_ms``, a number as the exact fraction; None if it is missing."""
    found = _FIGURES[type(figure)](figure, history, now_ms)
    return exact(found) if is_number(found) else found


def in_window(select: model.Selection, window: Window, history: History, now_ms: int) -> list[Event] | None:
    """Return the selected events in the window, by (event time, arrival).

    Return None if the window has not begun, since there is no anchor.
    """
    if isinstance(window, SinceLast):
        return _after_last(select, window, history, now_ms)
    return [event for event in history.select(select, now_ms) if counts(window, event.time_ms, now_ms)]


def _after_last(
    select: model.Selection, window: SinceLast, history: History, now_ms: int
) -> list[Event] | None:
    events = history.in_order()
    anchors = [at for at, event in enumerate(events) if event.name in window.names]
    if not anchors:
        return None
    anchor, later = events[anchors[-1]], events[anchors[-1] + 1 :]
    selected = [event for event in history.select(select, now_ms) if event in later]
    if window.same is None:
        return selected
    wanted = value_at(anchor, window.same)
    found = [(event, value_at(event, window.same)) for event in selected]
    return [event for event, value in found if None not in (value, wanted) and same(value, wanted)]


def aggregate(figure: model.Aggregate | AggregateFigure, events: list[Event]) -> Any:
    """Return an aggregate over these events, which are in order; sums and means are fractions."""
    if figure.money is not None:
        accepted = (None, figure.money.currency)
        events = [event for event in events if value_at(event, figure.money.path) in accepted]
    values = [value for event in events for value in values_at(event, figure.path)]
    if figure.convert is not None:
        converted = [CONVERSIONS[figure.convert](value) for value in values]
        values = [value for value in converted if value is not None]
    numbers = [value for value in values if is_number(value)]
    total = sum((exact(number) for number in numbers), Fraction(0))
    results: dict[str, Callable[[], Any]] = {
        "sum": lambda: total,
        "avg": lambda: total / len(numbers) if numbers else None,
        "min": lambda: min(numbers, default=None),
        "max": lambda: max(numbers, default=None),
        "distinct": lambda: different(values),
        "latest": lambda: values[-1] if values else None,
        "earliest": lambda: values[0] if values else None,
        "most_frequent": lambda: most_frequent(values),
    }
    return results[figure.function]()


def digits(
    node: model.RfmNode | DigitFigure | TierFigure, history: History, now_ms: int
) -> dict[str, int] | None:
    """Return recency, frequency and monetary, each from 1, the worst; None without an order."""
    rfm = node.rfm
    purchases = rfm.purchases
    if not isinstance(rfm.quantiles, UnsetType) and not rfm.quantiles.measured:
        return None
    if isinstance(rfm.actions, UnsetType):
        found = figures(history, now_ms, period_ms=purchases.period_ms, currency=purchases.currency)
    else:
        found = action_figures(history, now_ms, rfm.actions, purchases)
    if found.last_ms is None:
        return None
    recency = 1 + len(rfm.recency_ms)
    for edge_ms in rfm.recency_ms:
        if now_ms - found.last_ms >= edge_ms:
            recency -= 1
    frequency = 1 + len([edge for edge in rfm.frequency if found.orders > edge])
    monetary = 1 + len([edge for edge in rfm.monetary if found.net > exact(edge)])
    return {"recency": recency, "frequency": frequency, "monetary": monetary}


def score(scored: model.ScoreNode | ScoreFigure, history: History, now_ms: int) -> Any:
    """Return a score; None if it is missing."""
    if scored.name in _SCORES:
        return _SCORES[scored.name](history, now_ms)
    return model_score(scored, history, now_ms, value_of)


def _recency_days(history: History, now_ms: int) -> int | None:
    """Return whole days since the latest event; None without an event."""
    times = [event.time_ms for event in history.events]
    return (now_ms - max(times)) // _DAY_MS if times else None


def _percentile(figure: PercentileFigure, history: History, now_ms: int) -> int | None:
    found = value_of(figure.score, history, now_ms)
    if figure.edges is None or not is_number(found):
        return None
    return len([edge for edge in figure.edges if exact(edge) < found])


def _digit(figure: DigitFigure, history: History, now_ms: int) -> int | None:
    found = digits(figure, history, now_ms)
    return None if found is None else found[figure.name]


def _tier(figure: TierFigure, history: History, now_ms: int) -> str | None:
    found = digits(figure, history, now_ms)
    return None if found is None else tier_of(figure.rfm.tiers, found)


def tier_of(tiers: Iterable[tuple[Any, ...]], found: dict[str, int]) -> str | None:
    """Return the first tier that contains the digits; None if there is none."""
    for name, r_low, r_high, f_low, f_high, *more in tiers:
        m_low, m_high = more or (1, found["monetary"])
        inside = r_low <= found["recency"] <= r_high and f_low <= found["frequency"] <= f_high
        if inside and m_low <= found["monetary"] <= m_high:
            return str(name)
    return None


def _events(figure: CountFigure | AggregateFigure, history: History, now_ms: int) -> list[Event]:
    return in_window(figure.select, figure.window, history, now_ms) or []


def _days(figure: DaysFigure, history: History, now_ms: int) -> int | None:
    since_ms = days_from(figure, history, now_ms)
    return None if since_ms is None else (now_ms - since_ms) // _DAY_MS


def clock_end(history: History) -> int | None:
    """Return when the clocks of a model begin to be missing; None without an event."""
    times = [event.time_ms for event in history.events]
    return max(times) + 7 * _DAY_MS if times else None


def _clock(figure: ClockFigure, history: History, now_ms: int) -> int | None:
    end_ms = clock_end(history)
    if end_ms is None or now_ms >= end_ms:
        return None
    local = datetime.fromtimestamp(now_ms // _QUARTER_MS * _QUARTER_MS / 1_000, ZoneInfo(figure.zone))
    return local.hour if figure.unit == "hour" else local.weekday()


def _distance(figure: DistanceFigure, history: History, now_ms: int) -> float | None:
    located = [event for event in history.in_order() if event.location is not None]
    if not located or (figure.within_ms is not None and now_ms - located[-1].time_ms >= figure.within_ms):
        return None
    return round(min(distance_m(located[-1].location or (0.0, 0.0), point) for point in figure.points), 3)


def _ratio(figure: RatioFigure, history: History, now_ms: int) -> Any:
    upper, lower = value_of(figure.upper, history, now_ms), value_of(figure.lower, history, now_ms)
    return upper / lower if is_number(upper) and is_number(lower) and lower != 0 else None


def _frozen(figure: FrozenFigure, history: History, now_ms: int) -> Any:
    refreshed_ms = figure.refresh.latest(now_ms)
    return value_of(figure.of, history.before(refreshed_ms), refreshed_ms)


#: Score -> its value over all events.
_SCORES: dict[str, Callable[[History, int], Any]] = {"recency_days": _recency_days}

#: Figure -> its value.
_FIGURES: dict[type, Callable[[Any, History, int], Any]] = {
    CountFigure: lambda figure, history, now_ms: len(_events(figure, history, now_ms)),
    AggregateFigure: lambda figure, history, now_ms: aggregate(figure, _events(figure, history, now_ms)),
    TraitFigure: lambda figure, history, _now_ms: lookup(history.traits(), figure.path),
    ScoreFigure: score,
    PercentileFigure: _percentile,
    DigitFigure: _digit,
    TierFigure: _tier,
    DaysFigure: _days,
    ClockFigure: _clock,
    DistanceFigure: _distance,
    RatioFigure: _ratio,
    FrozenFigure: _frozen,
    Number: lambda figure, _history, _now_ms: figure.number,
}
