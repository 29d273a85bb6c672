"""Which definitions the kernel evaluates itself, and what it is told of the others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.features import Feature
from segops.core.features.feature import Money
from segops.core.features.orders import Purchases
from segops.core.features.sequence import Sequence, SequenceStep
from segops.core.identifiers import Rules
from segops.core.operators import Predicate
from segops.core.refresh import Refresh
from segops.core.rules import figures, model
from segops.core.rules.policy import Policy
from segops.core.scoring.buying import Buying
from segops.core.scoring.figure_scores import WeightedScore
from segops.core.scoring.losses import Spans
from segops.core.scoring.models import (
    ORDER_SCORES,
    BuyingParameters,
    Gaps,
    Input,
    Isotonic,
    Model,
    Platt,
    SpendingParameters,
    WeightedParameters,
)
from segops.core.scoring.order_scores import OrderScore
from segops.core.scoring.rfm import Rfm
from segops.core.scoring.scored import Scored
from segops.core.scoring.spending import Spending
from segops.core.segments import SegmentSet
from segops.core.windows import Between, Calendar, Fixed, SinceLast, Within
from segops.kernel import reducers
from segops.kernel.reducers import reducer_name
from segops.kernel.rules import NODES
from segops.kernel.tables import Limits, exported
from segops.schemas.models import read_model
from segops.testing import definition
from tests.bench.workload import segments as workload

LIMITS = Limits(("null",), ("traits",), Rules(), 1_000)

FIGURES: dict[str, dict[str, Any]] = {
    "views": {"did": "A", "within": "2d"},
    "all_views": {"did": "A"},
    "spent": {"sum": "p", "of": "A", "within": "2d"},
    "idle": {"days_since_last": "A"},
    "age": {"trait": "age"},
}
#: ``unfitted`` has too little data.
MODELS = {
    "buying": Model("buying", "bg-nbd", BuyingParameters(Buying(0.2, 30.0, 0.8, 2.4), Gaps(2.5, 2.0))),
    "spending": Model("spending", "gamma-gamma", SpendingParameters(Spending(6.25, 3.74, 15.44))),
    "likely": read_model(
        {
            "name": "likely",
            "kind": "logistic",
            "fitted_at": "2026-01-01T00:00:00Z",
            "features": [{"name": name, "figure": figure} for name, figure in FIGURES.items()],
            "parameters": {"intercept": 0.5, "weights": dict.fromkeys(FIGURES, 1)},
        },
        "test",
    ),
    "moody": read_model(
        {
            "name": "moody",
            "kind": "linear",
            "fitted_at": "2026-01-01T00:00:00Z",
            "features": [{"name": "mood", "figure": {"avg": "p", "of": "A"}}],
            "parameters": {"intercept": 0.5, "weights": {"mood": 1}},
        },
        "test",
    ),
    "unfitted": Model("unfitted", "linear", None, status="not_enough_data"),
}
NATIVE: list[dict[str, Any]] = [
    {"did": "A", "count": {"gte": 3}, "within": "2d", "where": {"p": "x", "o.r": {"gt": 1}}},
    {"did": "A", "count": {"gte": 1_000}, "within": "2d"},
    {"sum": "p", "of": "A", "within": "2d", "is": {"gte": 0.3}},
    {"avg": "p", "of": "A", "is": {"lt": 5}},
    {"max": "p", "of": "A", "since": "2026-01-01", "is": {"gte": 5}},
    {"latest": "p", "of": "A", "within": "2d", "is": {"eq": "x"}},
    {"distinct": "p", "of": "A", "is": {"gte": 5}},
    {"last": "A", "is": {"older_than": "3d"}},
    {"trait": "o.r", "is": {"in": ["x", 1]}},
    {"trait": "d", "is": {"in_last": "3d"}},
    {"known_for": "3d"},
    {"has_identifier": "email"},
    {"did": "A", "since_last": "B"},
    {"score": "recency_days", "is": {"gte": 3}},
    *({"score": name, "is": {"gte": 0.5}} for name in ORDER_SCORES if name != "next_order_at"),
    {"score": "next_order_at", "is": {"in_next": "3d"}},
    {"score": "likely", "is": {"gte": 0.5}},
    {
        "all": [
            {"score": "likely", "is": {"gte": 0.5}},
            {"sum": "p", "of": "A", "within": "2d", "is": {"gte": 1}},
        ]
    },
    {
        "all": [
            {"sum": "p", "of": "A", "within": "2d", "is": {"gte": 1}},
            {"trait": "d", "is": {"in_last": "3d"}},
        ]
    },
    {
        "all": [
            {"score": "p_alive", "is": {"gte": 0.5}},
            {"sum": "p", "of": "A", "within": "2d", "is": {"gte": 1}},
        ]
    },
    {"score": "unfitted", "is": {"exists": False}},
    {"near": {"lat": 0, "lon": 0, "radius": "3km"}},
    {"has_been": {"trait": "p", "is": {"eq": "x"}}, "for": "1d"},
    {"did": "A", "where": {"p": {"matches": "^x"}}},
    {"did": "A", "calendar": {"this": "day", "zone": "UTC"}},
    {"trait": "p", "is": {"includes": 5}},
    {"latest": "p", "of": "A", "is": {"in_last": "3d"}},
    {"did": "A", "between": {"from": "2d", "to": "1d"}},
    {"avg": "p", "of": "A", "between": {"from": "2d", "to": "1d"}, "is": {"gte": 1}},
    {"compare": [{"did": "A", "within": "2d"}, "gt", {"distinct": "p", "of": "B"}]},
    {"compare": [{"days_since_last": "A"}, "gt", 2.5]},
    {"ratio": {"of": {"did": "A"}, "to": {"trait": "p"}, "is": {"gte": 0.3}}},
    {"most_frequent": "p", "of": "A", "calendar": {"this": "day", "zone": "UTC"}, "is": {"eq": 1}},
    {"active_days": "A", "within": "9d", "is": {"gte": 2}},
    {"sessions": "A", "since": "2026-01-01", "is": {"gte": 2}},
    {"session": {"last": "p"}, "of": "A", "is": {"eq": 1}},
    {"regularly": "A", "every": "1d", "k": 3, "of": 4},
    {"lifecycle": {"of": "A", "period": "28d", "is": "new"}},
    {"score_percentile": "recency_days", "is": {"gte": 90}},
    {"did": "A", "within": "2d", "refresh": {"every": "day"}},
    {"rfm": ["champions"], "refresh": {"every": "hour"}},
]
ASKED: list[dict[str, Any]] = [
    {"did": "A", "where": {"context.app": "x"}},
    {"did": "A", "between": {"from": "4000d", "to": "1d"}},
    {"lifecycle": {"of": "A", "period": "2000d", "is": "new"}},
    {"active_days": "A", "within": "9d", "where": {"d": {"in_last": "3d"}}, "is": {"gte": 2}},
    {"compare": [{"days_since_last": "A"}, "gt", {"did": "B"}]},
    {"compare": [{"score": "recency_days"}, "gt", 4_000]},
    {"sum": "p", "of": "A", "within": "4000d", "is": {"gte": 1}},
    {
        "all": [
            {"did": "A", "calendar": {"this": "day", "zone": "UTC"}},
            {"trait": "d", "is": {"in_last": "3d"}},
        ]
    },
    {"score": "moody", "is": {"gte": 0.5}},
    {"score": "next_order_at", "is": {"matches": "^2026"}},
]


#: What the exporter reads: a field that is added to one of these has to be exported, or lead to a question.
READ: dict[type, tuple[str, ...]] = {
    model.All: ("of",),
    model.Any: ("of",),
    model.Not: ("of",),
    model.AtLeast: ("k", "of"),
    model.Did: ("select", "window", "count"),
    model.Aggregate: ("function", "path", "select", "window", "test", "convert", "money"),
    model.Occurrence: ("which", "select", "older_than_ms", "newer_than_ms"),
    model.Trait: ("path", "test"),
    model.HasBeen: ("path", "test", "length_ms"),
    model.SequenceNode: ("sequence",),
    model.RfmNode: ("rfm", "tiers", "tests"),
    model.ScoreNode: ("name", "test", "model", "of"),
    model.Near: ("lat", "lon", "radius_m", "within_ms", "by"),
    model.Located: ("name", "areas", "within_ms", "by"),
    model.Compare: ("left", "operator", "right"),
    model.Ratio: ("upper", "lower", "test"),
    model.ActivePeriods: ("select", "calendar", "window", "count"),
    model.Sessions: ("select", "gap_ms", "window", "count"),
    model.SessionFigure: ("figure", "path", "select", "gap_ms", "which", "test"),
    model.Regularly: ("select", "period_ms", "k", "periods"),
    model.LifecycleNode: ("select", "period_ms", "stages"),
    model.KnownFor: ("length_ms",),
    model.Bucket: ("salt", "low", "high"),
    model.HasIdentifier: ("types",),
    model.Frozen: ("of", "refresh"),
    model.InSegment: ("key",),
}
PARTS: dict[type, tuple[str, ...]] = {
    model.Selection: ("names", "where"),
    Sequence: ("steps", "within_ms", "strict"),
    SequenceStep: ("names", "where", "within_ms", "absent", "same_as"),
    Purchases: ("period_ms", "currency"),
    Policy: ("min_stay_ms", "cool_down_ms", "max_entries"),
    Scored: ("formula", "valid_until_ms", "status", "reasons"),
    WeightedScore: ("parameters",),
    WeightedParameters: ("inputs", "weights", "intercept", "calibration"),
    Input: ("name", "figure", "transform", "missing", "mean", "scale"),
    Platt: ("a", "b"),
    Isotonic: ("points",),
    OrderScore: ("name", "buying", "spending", "gaps", "discount", "currency"),
    Buying: ("r", "alpha", "a", "b", "modified"),
    Spending: ("p", "q", "gamma"),
    Gaps: ("shape", "scale"),
    Spans: ("days", "shares", "total", "sums"),
    Rfm: ("purchases", "recency_ms", "frequency", "monetary", "tiers", "actions", "quantiles"),
    Predicate: ("ops",),
    figures.CountFigure: ("select", "window"),
    figures.AggregateFigure: ("function", "path", "select", "window", "convert", "money"),
    figures.TraitFigure: ("path",),
    figures.PercentileFigure: ("score", "edges"),
    figures.RatioFigure: ("upper", "lower"),
    figures.DaysFigure: ("which", "select"),
    figures.ScoreFigure: ("name", "model", "of"),
    figures.Number: ("number",),
    Between: ("from_ms", "to_ms"),
    Fixed: ("since_ms", "until_ms"),
    Within: ("length_ms",),
    SinceLast: ("names", "same"),
}


def test_the_exporter_reads_every_field_of_what_it_writes() -> None:
    assert {node: node.__struct_fields__ for node in NODES} == READ  # type: ignore[attr-defined]
    assert {part: part.__struct_fields__ for part in PARTS} == PARTS  # type: ignore[attr-defined]


def test_a_feature_with_a_value_in_an_unknown_field_is_asked() -> None:
    plain = Feature("count", ("A",), (), Within(10), capacity=4)
    assert reducer_name(plain) == "slide_count"
    values = {"convert": "number", "located": (), "days": Calendar("day", "UTC"), "length_ms": 5}
    further = {**values, "money": Money("EUR"), "refresh": Refresh("hour"), "sequence": Sequence(())}
    unknown = set(Feature.__struct_fields__) - set(reducers.FIELDS)
    assert unknown == {*further, "purchases"}
    known = {"sequence": "sequence", "days": "slide_count", "refresh": "slide_count"}
    for name in sorted(further):
        found = reducer_name(msgspec.structs.replace(plain, **{name: further[name]}))
        assert found == known.get(name, "python"), name


def rule_of(form: dict[str, Any]) -> Any:
    of = SegmentSet([definition("s", form, models=MODELS)])
    return msgspec.msgpack.decode(exported(of, LIMITS).tables)[3][0][4]


@pytest.mark.parametrize("form", NATIVE, ids=str)
def test_rules_for_the_kernel(form: dict[str, Any]) -> None:
    assert rule_of(form) is not None


@pytest.mark.parametrize("form", ASKED, ids=str)
def test_rules_that_python_is_asked_about(form: dict[str, Any]) -> None:
    assert rule_of(form) is None


def test_a_rule_that_refers_to_an_asked_one_is_asked() -> None:
    of = SegmentSet(
        [definition("a", ASKED[0]), definition("b", {"in_segment": "a"}), definition("c", NATIVE[0])]
    )
    rows = msgspec.msgpack.decode(exported(of, LIMITS).tables)[3]
    assert [(key, rule is None) for key, *_, rule, _ in rows] == [("a", True), ("b", True), ("c", False)]


def test_the_benchmark_leaves_nothing_to_python() -> None:
    assert all(rule for *_, rule, _ in msgspec.msgpack.decode(exported(workload(), LIMITS).tables)[3])
