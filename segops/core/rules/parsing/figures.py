"""The parsers of figures, and of the nodes ``compare`` and ``ratio``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from segops.core.features.feature import Money
from segops.core.rules import model
from segops.core.rules.figures import (
    PERCENTILE,
    AggregateFigure,
    Compare,
    CountFigure,
    DaysFigure,
    DigitFigure,
    Figure,
    FrozenFigure,
    Number,
    PercentileFigure,
    Ratio,
    RatioFigure,
    ScoreFigure,
    TierFigure,
    TraitFigure,
)
from segops.core.rules.parsing.distances import read_distance
from segops.core.rules.parsing.money import MONEY_KEYS, read_money
from segops.core.rules.parsing.reader import Reader, Reads
from segops.core.rules.parsing.refresh import frozen, read_frozen_figure, thawed
from segops.core.rules.parsing.rfm import DIGITS, grid_of
from segops.core.rules.parsing.scores import bound_model, is_affinity, read_score_name, read_score_of
from segops.core.rules.parsing.times import read_time_of_day
from segops.core.rules.parsing.windows import TIME_KEYS, only_keys, read_window
from segops.core.scoring.models import STILL_SCORES
from segops.core.scoring.population import PERCENTILES
from segops.core.scoring.rfm import Rfm
from segops.core.values import kind

AGGREGATES = ("sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent")
#: Aggregate -> the method that reads the test of its value; for any other one, ``predicate``.
AGGREGATE_TESTS = {
    "distinct": "count",
    **dict.fromkeys(("latest", "earliest", "most_frequent"), "test"),
}
#: What the tier is called where digits are named.
TIER = "tier"
COMPARISONS = ("eq", "ne", "lt", "lte", "gt", "gte")
_EXAMPLE = "[{did: Signed In, within: 30d}, gt, {did: Docs Viewed, within: 30d}]"


def read_compare(node: Reader) -> model.Node:
    """Parse a ``compare`` node."""
    form = node.at("compare")
    parts = form.items(f"a list of a figure, an operator and a figure or number, such as {_EXAMPLE}")
    if len(parts) != 3:
        form.fail(f"expected a figure, an operator and a figure or number, such as {_EXAMPLE}")
    left, operator, right = parts
    first, relation, second = form.gather(
        partial(read_figure, left),
        partial(operator.one_of, COMPARISONS),
        partial(_figure_or_number, right),
    )
    (first, second), refresh = thawed(form, (first, second))
    if first == second:
        form.fail("expected two different figures, got the same one twice")
    _check_moves(form, first, second)
    compare = Compare(first, relation, second)
    return compare if refresh is None else frozen(compare, refresh, form)


def read_ratio(node: Reader) -> model.Node:
    """Parse a ``ratio`` node."""
    form = node.at("ratio")
    reads: Reads = {"of": read_figure, "to": read_figure, "is": Reader.predicate}
    *sides, test = form.record(reads, "{of: {did: A}, to: {did: B}, is: {gte: 0.2}}")
    (upper, lower), refresh = thawed(form, sides)
    if upper == lower:
        form.fail("expected two different figures, got the same one twice")
    if is_age(upper) and is_age(lower):
        form.fail("expected at most one figure in days: both of these rise with time")
    _check_moves(form, upper, lower)
    ratio = Ratio(upper, lower, test)
    return ratio if refresh is None else frozen(ratio, refresh, form)


def is_age(figure: Figure | Number) -> bool:
    """Return whether a figure rises by one every day."""
    return isinstance(figure, DaysFigure) or figure == ScoreFigure("recency_days")


def moves(figure: Figure | Number) -> bool:
    """Return whether a figure is a score that may move with every millisecond."""
    if not isinstance(figure, ScoreFigure) or figure.name in STILL_SCORES:
        return False
    return figure.of is not None or not is_affinity(figure.name)


def _check_moves(form: Reader, one: Figure | Number, other: Figure | Number) -> None:
    """Check that no score beside it moves with time where a figure does. Published rules were checked."""
    if form.context.published:
        return
    if (moves(one) and (moves(other) or is_age(other))) or (moves(other) and is_age(one)):
        form.fail("expected at most one score or figure in days: both of these move with time")


def _figure_or_number(reader: Reader) -> Figure | Number:
    if kind(reader.raw) == "number":
        reader.scalar()
        return Number(reader.number())
    if not isinstance(reader.raw, dict):
        reader.fail(f"expected a figure or a number, got {reader.raw!r}")
    return read_figure(reader)


def read_figure(reader: Reader) -> Figure:
    """Parse a figure: a node that has a value, without its test.

    >>> read_figure(Reader({"trait": "loyalty.points"}, "when"))
    TraitFigure(path=('loyalty', 'points'))
    """
    reader.context.count_node()
    if not isinstance(reader.raw, dict):
        reader.fail(f"expected a figure, such as {{did: Signed In, within: 30d}}, got {reader.raw!r}")
    found = [key for key in reader.raw if key in FIGURES]
    if len(found) != 1:
        got = " and ".join(map(str, found or reader.raw)) or "an empty map"
        reader.fail(f"expected a figure with exactly one of {', '.join(FIGURES)}, got {got}")
    head = FIGURES[found[0]]
    figure: Figure = reader.gather(
        partial(only_keys, reader, found[0], *head.keys), partial(head.read, reader, found[0])
    )[1]
    return read_frozen_figure(reader, figure) if "refresh" in reader else figure


def read_selection(node: Reader, head: str) -> model.Selection:
    """Read the names under the key ``head`` of a node, its ``where`` and its ``time_of_day``."""
    if "where" not in node and "time_of_day" not in node:
        return model.Selection(node.at(head).names())
    names, where, times = node.gather(
        node.at(head).names,
        node.at("where").where if "where" in node else tuple,
        partial(read_time_of_day, node.at("time_of_day")) if "time_of_day" in node else lambda: None,
    )
    return model.Selection(names, where if times is None else (*where, times))


def read_conversions(node: Reader) -> tuple[Callable[[], str | None], Callable[[], Money | None]]:
    """Return the readers of ``as`` and ``money`` beside an aggregate; each returns None without its key."""
    convert = node.at("as").conversion if "as" in node else lambda: None
    money = partial(read_money, node.at("money")) if "money" in node else lambda: None
    return convert, money


def _count(reader: Reader, head: str) -> CountFigure:
    return CountFigure(*reader.gather(partial(read_selection, reader, head), partial(read_window, reader)))


def _aggregate(reader: Reader, head: str) -> AggregateFigure:
    select, window = partial(read_selection, reader, "of"), partial(read_window, reader)
    form = reader.gather(reader.at(head).property, select, window, *read_conversions(reader))
    return AggregateFigure(head, *form)


def _trait(reader: Reader, head: str) -> TraitFigure:
    return TraitFigure(reader.at(head).trait())


def _score(reader: Reader, head: str) -> ScoreFigure:
    form = reader.at(head)
    name, of = reader.gather(partial(read_score_name, form), partial(read_score_of, reader))
    return ScoreFigure(name, bound_model(form, of), of)


def read_percentile(reader: Reader, head: str) -> PercentileFigure:
    """Parse the figure ``score_percentile``."""
    score = _score(reader, head)
    if is_affinity(score.name):
        reader.at(head).fail("expected a score with one number of each customer, got an affinity")
    name, groups = f"{PERCENTILE}{score.name}", {"score": PERCENTILES}
    edges = reader.context.population_edges(name, groups)
    if edges is None and not reader.context.published:
        reader.at(head).warn(
            f"the population of the score is not measured yet, so no customer has a percentile; run "
            f"`segops models refresh {name}`"
        )
    return PercentileFigure(score, None if edges is None else edges["score"])


def _rfm(reader: Reader, head: str) -> DigitFigure | TierFigure:
    rfm, name = grid_of(reader) or Rfm(), reader.at(head).one_of((*DIGITS, TIER))
    return TierFigure(rfm) if name == TIER else DigitFigure(rfm, name)


def _days(reader: Reader, head: str) -> DaysFigure:
    return DaysFigure(head.removeprefix("days_since_"), read_selection(reader, head))


def _ratio(reader: Reader, head: str) -> Figure:
    form = reader.at(head)
    reads: Reads = {"of": read_figure, "to": read_figure}
    (upper, lower), refresh = thawed(form, form.record(reads, "{of: {did: A}, to: {did: B}}"))
    if upper == lower:
        form.fail("expected two different figures, got the same one twice")
    if is_age(upper) or is_age(lower):
        form.fail("expected no figure in days: only the node ratio divides days")
    if moves(upper) or moves(lower):
        form.fail("expected no score: only the node ratio divides what moves with time")
    figure = RatioFigure(upper, lower)
    return figure if refresh is None else FrozenFigure(figure, refresh)


def _indicator(reader: Reader, head: str) -> Figure:
    known, key = reader.context.indicators, reader.at(head)
    if known is None:
        return TraitFigure((key.text(),))
    if key.raw not in tuple(known):
        names = f"expected one of {', '.join(known)}" if known else "the file defines none"
        key.fail(f"unknown indicator {key.raw!r}; {names}")
    reader.context.used_indicators.add(key.raw)
    return known[key.raw]


class FigureHead(NamedTuple):
    """The keys allowed beside the head of a figure, and the function that reads the figure."""

    keys: Collection[str]
    read: Callable[[Reader, str], Figure]


def _keys(function: str) -> tuple[str, ...]:
    return ("of", "where", *TIME_KEYS, "as", "time_of_day", "refresh", *MONEY_KEYS.get(function, ()))


#: Head key -> its other keys and its reader. A figure has exactly one head key.
FIGURES: dict[str, FigureHead] = {
    "did": FigureHead(("where", *TIME_KEYS, "time_of_day", "refresh"), _count),
    **{function: FigureHead(_keys(function), _aggregate) for function in AGGREGATES},
    "trait": FigureHead((), _trait),
    "score": FigureHead(("of",), _score),
    "score_percentile": FigureHead((), read_percentile),
    "rfm": FigureHead(("grid", "refresh"), _rfm),
    **dict.fromkeys(
        ("days_since_first", "days_since_last"), FigureHead(("where", "time_of_day", "refresh"), _days)
    ),
    "ratio": FigureHead(("refresh",), _ratio),
    "distance_to": FigureHead(("within",), lambda reader, _head: read_distance(reader)),
    "indicator": FigureHead((), _indicator),
}
