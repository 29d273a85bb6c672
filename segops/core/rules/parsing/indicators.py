"""The parsers of a file's ``indicators`` block, and of the node that tests an indicator."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.counts import COUNT_OPERATORS
from segops.core.rules.figures import (
    AggregateFigure,
    Compare,
    CountFigure,
    DaysFigure,
    DigitFigure,
    Distance,
    DistanceFigure,
    Figure,
    FrozenFigure,
    Number,
    PercentileFigure,
    PublishedFigure,
    RatioFigure,
    ScoreFigure,
    TierFigure,
    TraitFigure,
)
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.distances import read_lengths
from segops.core.rules.parsing.figures import AGGREGATE_TESTS, FIGURES, read_figure, read_percentile
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.parsing.refresh import frozen
from segops.core.rules.parsing.rfm import named_tiers
from segops.core.rules.parsing.scores import check_lift
from segops.core.scoring.models import MOVING_SCORES
from segops.core.scoring.own import OwnScore
from segops.core.values import exact

INDICATOR_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
_KEY = re.compile(INDICATOR_PATTERN.strip("^$"))
#: The keys beside a figure that say whether and when it is published.
PUBLISHING = ("publish", "change_by", "at_most", "per")
_EXAMPLE = "{aov_90d: {avg: total, of: Order Completed, within: 90d}}"


def read_indicators(raw: Any, path: str, context: Context) -> dict[str, Figure]:
    """Parse an ``indicators`` block: figures by key. Raises DefinitionError with every mistake.

    >>> read_indicators({"plan": {"trait": "plan"}}, "indicators", Context())
    {'plan': TraitFigure(path=('plan',))}
    """
    context.begin(path)
    block = Reader(raw, path, context)
    if not isinstance(raw, dict) or not raw:
        block.fail(f"expected a map of keys to figures, such as {_EXAMPLE}")
    figures = block.gather(*(partial(_defined, block, key) for key in raw))
    return dict(zip(raw, figures, strict=True))


def _defined(block: Reader, key: Any) -> Figure:
    form = block.at(key)
    if not isinstance(key, str) or _KEY.fullmatch(key) is None:
        form.fail("expected a key of at most 64 lower-case letters, digits, hyphens and underscores")
    if isinstance(form.raw, dict) and "indicator" in form.raw:
        form.fail("expected a figure, got another indicator: name that one in the rule")
    return read_figure(form.with_raw(figure_form(form.raw)))


def figure_form(raw: Any) -> Any:
    """Return an indicator as written, without the keys about its publication.

    >>> figure_form({"did": "Buy", "change_by": 5})
    {'did': 'Buy'}
    """
    return {key: raw[key] for key in raw if key not in PUBLISHING} if isinstance(raw, dict) else raw


def read_published(
    raw: dict[str, Any], figures: Mapping[str, Figure], path: str, context: Context
) -> dict[str, PublishedFigure]:
    """Parse when each indicator of a block is published; ``figures``: what ``read_indicators`` returned.

    Indicators with ``publish: false`` are left out. Raises DefinitionError with every mistake.

    >>> form = {"a": {"did": "Buy", "at_most": 1, "per": "1h"}, "b": {"did": "Buy", "publish": False}}
    >>> found = read_published(form, read_indicators(form, "-", Context()), "-", Context())
    >>> [(key, each.per_ms) for key, each in found.items()]
    [('a', 3600000)]
    """
    block = Reader(raw, path, context)
    reads = (partial(_publication, block.at(key), figure) for key, figure in figures.items())
    found = dict(zip(figures, block.gather(*reads), strict=True))
    return {key: each for key, each in found.items() if each is not None}


def _publication(form: Reader, figure: Figure) -> PublishedFigure | None:
    written = {key: form.at(key) for key in PUBLISHING if key in form}
    publish = written.pop("publish", None)
    if publish is not None and not isinstance(publish.raw, bool):
        publish.fail(f"expected true or false, got {publish.raw!r}")
    if publish is not None and not publish.raw:
        for key, reader in written.items():
            reader.fail(f"unknown key; an indicator that is not published has no {key}")
        return None
    change_by, per_ms = form.gather(
        lambda: _change_by(written["change_by"], figure) if "change_by" in written else None,
        lambda: _period(form, written) if {"at_most", "per"} & written.keys() else None,
    )
    if _moves(figure) and change_by is None and not form.context.published:
        form.fail("missing change_by: this score moves with every millisecond, such as {change_by: 0.05}")
    return PublishedFigure(figure, change_by, per_ms)


def _moves(figure: Figure) -> bool:
    if not isinstance(figure, ScoreFigure):
        return False
    is_own = figure.model is not None and isinstance(figure.model.formula, OwnScore)
    return figure.name in MOVING_SCORES or figure.of is not None or is_own


def _change_by(reader: Reader, figure: Figure) -> Decimal:
    if isinstance(figure, TierFigure):
        reader.fail("unknown key; a tier is not a number")
    number = reader.number(expected="a number above 0")
    if number <= 0:
        reader.fail(f"expected a number above 0, got {reader.raw!r}")
    return number


def _period(form: Reader, written: Mapping[str, Reader]) -> int:
    if len({"at_most", "per"} & written.keys()) < 2:
        form.fail("expected at_most and per together, such as {at_most: 1, per: 1h}")
    if written["at_most"].raw != 1 or isinstance(written["at_most"].raw, bool):
        written["at_most"].fail(f"expected 1, got {written['at_most'].raw!r}")
    return written["per"].positive_duration()


def read_indicator(node: Reader) -> model.Node:
    """Parse an ``indicator`` node: the one that tests its figure."""
    figure = FIGURES["indicator"].read(node, "indicator")
    return _tested(figure, node.at("is"))


def _tested(figure: Figure, form: Reader) -> model.Node:
    return _TESTED[type(figure)](figure, form)


def _count(figure: CountFigure, form: Reader) -> model.Node:
    return model.Did(figure.select, figure.window, form.count())


def _aggregate(figure: AggregateFigure, form: Reader) -> model.Node:
    function, test = figure.function, getattr(form, AGGREGATE_TESTS.get(figure.function, "predicate"))()
    select, window, convert, money = figure.select, figure.window, figure.convert, figure.money
    return model.Aggregate(function, figure.path, select, window, test, convert, money)


def _digit(figure: DigitFigure, form: Reader) -> model.Node:
    return model.RfmNode(figure.rfm, (), ((figure.name, form.condition(COUNT_OPERATORS)),))


def read_percentile_node(node: Reader) -> model.Node:
    """Parse a ``score_percentile`` node."""
    figure, test = node.gather(
        partial(read_percentile, node, "score_percentile"),
        partial(node.at("is").condition, COUNT_OPERATORS),
    )
    return _all_of(figure, test)


def _compared_with(figure: PercentileFigure, form: Reader) -> model.Node:
    """Return a comparison of a percentile with each number of the predicate."""
    return _all_of(figure, form.condition(COUNT_OPERATORS))


def _days(figure: DaysFigure, form: Reader) -> model.Node:
    """Return a comparison of the days with each number of the predicate."""
    return _all_of(figure, form.count())


def _all_of(figure: _Whole, test: Predicate) -> model.Node:
    nodes = tuple(_COMPARED[name](figure, operand) for name, operand in test.ops)
    return nodes[0] if len(nodes) == 1 else model.All(nodes)


#: A figure whose values are whole numbers.
_Whole = DaysFigure | PercentileFigure


def _compared(operator: str) -> Callable[[_Whole, int], model.Node]:
    return lambda figure, number: Compare(figure, operator, Number(exact(number)))


def _each(operator: str, group: type[model.All | model.Any]) -> Callable[[_Whole, Any], model.Node]:
    one = _compared(operator)
    return lambda figure, numbers: group(tuple(one(figure, number) for number in numbers))


def _between(figure: _Whole, bounds: tuple[int, int]) -> model.Node:
    return model.All((_compared("gte")(figure, bounds[0]), _compared("lte")(figure, bounds[1])))


#: Operator on a number of days -> the node that it stands for.
_COMPARED: dict[str, Callable[[_Whole, Any], model.Node]] = {
    **{operator: _compared(operator) for operator in ("eq", "ne", "lt", "lte", "gt", "gte")},
    "between": _between,
    "in": _each("eq", model.Any),
    "not_in": _each("ne", model.All),
}


def _of_score(figure: ScoreFigure, form: Reader) -> model.Node:
    node = model.ScoreNode(figure.name, form.predicate(), figure.model, figure.of)
    check_lift(form, node)
    return node


#: Figure -> the node that tests it, from the figure and its ``is``.
_TESTED: dict[type, Callable[[Any, Reader], model.Node]] = {
    CountFigure: _count,
    AggregateFigure: _aggregate,
    TraitFigure: lambda figure, form: model.Trait(figure.path, form.test()),
    ScoreFigure: _of_score,
    DigitFigure: _digit,
    DaysFigure: _days,
    PercentileFigure: _compared_with,
    TierFigure: lambda figure, form: model.RfmNode(
        figure.rfm, named_tiers(form, figure.rfm if form.context.rfm else None)
    ),
    RatioFigure: lambda figure, form: model.Ratio(figure.upper, figure.lower, form.predicate()),
    DistanceFigure: lambda figure, form: Distance(figure, read_lengths(form)),
    FrozenFigure: lambda figure, form: frozen(_tested(figure.of, form), figure.refresh, form),
}
