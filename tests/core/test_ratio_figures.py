"""Ratios as figures: in comparisons, as indicators, frozen, and mistakes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.rules.blocks import reads_rfm
from segops.core.rules.execution import figure_value
from segops.core.rules.execution.figures import reading_of
from segops.core.rules.parsing import Context, read_indicators
from segops.core.rules.wording import label
from segops.core.segments import Definition, SegmentSet
from segops.core.survey import Survey
from segops.schemas.segments import inline

from .helpers import MONDAY as T
from .helpers import H

RATE = {"ratio": {"of": {"did": "Open", "within": "2h"}, "to": {"did": "Mail", "within": "2h"}}}
IMPOSSIBLE = {"did": "A", "where": {"p": {"gt": 2, "lt": 1}}}
DAILY = {"every": "day", "at": "03:00"}


def read(form: dict[str, Any], indicators: dict[str, Any] | None = None) -> Definition:
    return inline([{"key": "rule", "when": form}], "test", "segments", indicators=indicators)[0]


@pytest.mark.parametrize(
    ("refresh", "now", "coming"),
    [
        ({}, Fraction(1, 2), [(T + 2 * H, Fraction(1, 1)), (T + 3 * H, None)]),
        ({"refresh": DAILY}, None, [(T + 3 * H, None)]),
        ({"refresh": {"every": "hour"}}, Fraction(0), [(T + 2 * H, Fraction(1, 1)), (T + 3 * H, None)]),
    ],
    ids=str,
)
def test_ratio_has_the_values_of_its_figures(refresh: dict[str, Any], now: Any, coming: list[Any]) -> None:
    form = {**RATE, **refresh}
    figure = read_indicators({"rate": form}, "indicators", Context())["rate"]
    engine = Engine(SegmentSet([read({"indicator": "rate", "is": {"gte": 2}}, {"rate": form})]))
    profile = engine.new_profile("user_id:u1")
    for number, (name, time_ms) in enumerate((("Mail", T), ("Mail", T + H - 1), ("Open", T + H + 1))):
        engine.on_event(profile, Event(name, time_ms, f"m{number}", {}), clock_ms=time_ms)
    assert figure_value(figure, profile, T + H + 1) == now
    series = list(reading_of(figure).series(profile, T + H + 1))
    in_force = [[value for time_ms, value in series if time_ms <= at][-1] for at, _ in coming]
    assert in_force == [value for _, value in coming]


def test_indicator_means_the_node() -> None:
    test = {"gte": 0.5}
    node = {"ratio": {**RATE["ratio"], "is": test}}
    of_indicator = read({"indicator": "rate", "is": test}, {"rate": RATE})
    assert of_indicator.identity == read(node).identity
    frozen = read({"indicator": "rate", "is": test}, {"rate": {**RATE, "refresh": DAILY}})
    assert frozen.identity == read({**node, "refresh": DAILY}).identity


def test_words_and_blocks_see_both_figures() -> None:
    rule = {"compare": [{"ratio": {"of": {"sum": "total", "of": "Buy"}, "to": {"rfm": "recency"}}}, "gt", 3]}
    definition = read(rule)
    assert label(definition.when) == "ratio of (sum of total over Buy) to (rfm recency) > 3"
    assert reads_rfm(definition.when)
    survey = Survey([definition])
    survey.observe(Event("Buy", T, "m1", {}))
    assert list(survey.paths_never_met()) == ["no Buy has total"]


@pytest.mark.parametrize(
    ("form", "path", "reason"),
    [
        ({"compare": [{"ratio": {"of": {"did": "A"}}}, "gt", 1]}, "[0].ratio", "a map with of and to"),
        (
            {"compare": [{"ratio": {"of": {"did": "A"}, "to": {"did": "A"}}}, "gt", 1]},
            "[0].ratio",
            "the same one twice",
        ),
        (
            {"compare": [{"ratio": {"of": {"did": "A"}, "to": {"days_since_last": "A"}}}, "gt", 1]},
            "[0].ratio",
            "only the node ratio divides days",
        ),
        (
            {"compare": [{"ratio": {"of": {"did": "A"}, "to": {"trait": "p"}}, "refresh": DAILY}, "gt", 1]},
            "[0].refresh",
            "none is a figure over events",
        ),
        (
            {"compare": [{"ratio": {"of": {"did": "A", "refresh": DAILY}, "to": {"did": "B"}}}, "gt", 1]},
            "[0].ratio",
            "expected two figures with the same refresh",
        ),
        (
            {
                "compare": [
                    {"ratio": {"of": {"did": "A", "where": {"p": {"gt": 2, "lt": 1}}}, "to": {"did": "B"}}},
                    "gt",
                    1,
                ]
            },
            "[0].ratio.of.where.p",
            "no value satisfies",
        ),
    ],
    ids=str,
)
def test_mistake_is_reported_at_its_path(form: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(DefinitionError) as found:
        read(form)
    (issue,) = found.value.issues
    assert issue.path == f"segments[0].when.compare{path}" and reason in issue.reason
