"""Every table of nodes covers the node union, or excludes nodes for a reason listed here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

import pytest

from segops.core import profile, survey
from segops.core.rules import model, wording
from segops.core.rules.analysis import capacity, contradictions, cost, linter
from segops.core.rules.execution import compile_rule, compiler
from segops.core.rules.parsing import HEADS, Context, read_areas, read_indicators, read_rule
from segops.core.rules.reference import evaluator, instants
from segops.core.views import explain
from segops.schemas import json_schema
from tests.test_docs import GUIDE, first_cells

NODES = frozenset(get_args(model.Node))

_AGGREGATE = {"of": "A", "is": {"gte": 2}}
#: Head -> the other keys of the shortest node.
FORMS: dict[str, dict[str, Any]] = {
    **{head: {head: [{"did": "A"}]} for head in ("all", "any")},
    "not": {"not": {"did": "A"}},
    "at_least": {"at_least": {"k": 1, "of": [{"did": "A"}]}},
    **{head: {head: "A"} for head in ("did", "did_not")},
    **{
        head: {head: "p", **_AGGREGATE}
        for head in ("sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent")
    },
    **{head: {head: "A", "is": {"older_than": "1d"}} for head in ("first", "last")},
    "trait": {"trait": "p", "is": {"eq": 1}},
    "known_for": {"known_for": "1d"},
    "has_been": {"has_been": {"trait": "p", "is": {"eq": 1}}, "for": "1d"},
    "changed": {"changed": {"trait": "p", "to": 1}},
    "identified": {"identified": True},
    "list": {"list": "vip"},
    "has_identifier": {"has_identifier": "email"},
    "near": {"near": {"lat": 0, "lon": 0, "radius": "1km"}},
    "inside": {"inside": "zone"},
    "distance_to": {"distance_to": "zone", "is": {"lte": "1km"}},
    "bucket": {"bucket": {"salt": "s", "from": 0, "to": 10}},
    "sequence": {"sequence": [{"did": "A"}]},
    "rfm": {"rfm": "champions"},
    "score": {"score": "recency_days", "is": {"gte": 3}},
    "score_percentile": {"score_percentile": "recency_days", "is": {"gte": 90}},
    "in_segment": {"in_segment": "vip"},
    **{head: {head: "A", "is": {"gte": 2}} for head in ("active_days", "active_weeks", "active_months")},
    "sessions": {"sessions": "A", "is": {"gte": 2}},
    "session": {"session": "duration", "of": "A", "is": {"gte": "10m"}},
    "regularly": {"regularly": "A", "every": "7d", "k": 3, "of": 4},
    "lifecycle": {"lifecycle": {"of": "A", "period": "28d", "is": "new"}},
    "compare": {"compare": [{"did": "A"}, "gt", {"did": "B"}]},
    "indicator": {"indicator": "plan", "is": {"eq": 1}},
    "ratio": {"ratio": {"of": {"did": "A"}, "to": {"did": "B"}, "is": {"gte": 0.5}}},
}
VISITED = {"inside": "zone", "anytime": True}
FROZEN = {"did": "A", "refresh": {"every": "day"}}
HYSTERESIS = {"score": "recency_days", "enter": {"lte": 3}, "exit": {"gte": 9}}

GROUPS = dict.fromkeys(
    (model.All, model.Any, model.Not, model.AtLeast), "the children are checked one by one"
)
THAWED = {model.Frozen: "reported as the node without its refresh"}
TWO_SIDED = {model.Hysteresis: "stands for two nodes: ``model.side`` replaces it by one of them"}
REFERS = {model.InSegment: "the finding concerns the segment that it names"}
PUBLISHED = {model.PublishedFigure: "stands for an indicator: no rule contains it"}

#: Pass -> the nodes of its table, and the excluded nodes with the reason of each.
TABLES: dict[str, tuple[Collection[type], dict[type, str]]] = {
    "wording: labels": (wording._LABELS, {}),
    "wording: thresholds": (
        wording._THRESHOLDS,
        {
            model.Not: "there is one child, which holds or does not",
            model.SequenceNode: "it has happened or has not",
            **PUBLISHED,
            **TWO_SIDED,
            **REFERS,
        },
    ),
    "lint: never": (
        linter._NEVER,
        {
            **GROUPS,
            **THAWED,
            **PUBLISHED,
            **TWO_SIDED,
            **REFERS,
            model.Did: "a count that never holds is refused when it is read",
            model.Occurrence: "ages that exclude each other are refused when they are read",
            model.KnownFor: "any age is reached at last",
            **dict.fromkeys((model.Near, model.Located, model.Visited), "distances are not looked into"),
            model.Changed: "its conditions are looked at one by one",
            model.HasIdentifier: "any customer may have any identifier",
            model.OnList: "any customer may be on any list",
            model.Bucket: "an empty one is refused when it is read",
            model.SequenceNode: "its conditions are looked at one by one",
            **dict.fromkeys(
                (model.ActivePeriods, model.Sessions), "a count that never holds is refused when it is read"
            ),
            **dict.fromkeys((model.Regularly, model.LifecycleNode), "any number and stage can be reached"),
        },
    ),
    "lint: always": (
        linter._ALWAYS,
        {
            **GROUPS,
            **THAWED,
            **PUBLISHED,
            **TWO_SIDED,
            **REFERS,
            model.Did: "a count that always holds is refused, or warned of, when it is read",
            **dict.fromkeys(
                (model.Trait, model.HasBeen, model.ScoreNode, model.RfmNode),
                "fails where there is no value",
            ),
            **dict.fromkeys((model.Occurrence, model.SequenceNode), "fails where there is no event"),
            **dict.fromkeys((model.Ratio, model.Distance), "fails where there is no value"),
            **dict.fromkeys((model.Near, model.Located, model.Visited), "distances are not looked into"),
            model.Changed: "fails where the trait was never set",
            model.HasIdentifier: "fails where there is no such identifier",
            model.OnList: "fails where the list does not name the customer",
            **dict.fromkeys(
                (model.ActivePeriods, model.Sessions),
                "a count that always holds is refused, or warned of, when it is read",
            ),
            **dict.fromkeys(
                (model.SessionFigure, model.Regularly, model.LifecycleNode), "fails where there is no event"
            ),
        },
    ),
    "satisfiability": (
        frozenset[type]().union(*contradictions._SEARCHES.values()),
        {
            **GROUPS,
            **PUBLISHED,
            **TWO_SIDED,
            **REFERS,
            **dict.fromkeys((model.Near, model.Located, model.Visited), "distances are not looked into"),
            **dict.fromkeys(
                (model.Changed, model.HasIdentifier, model.OnList), "only equal nodes are compared"
            ),
        },
    ),
    "compile": (compiler._EMITTERS, TWO_SIDED),
    "cost": (
        cost._TIMED,
        {**GROUPS, **TWO_SIDED, model.InSegment: "moves with time if the segment that it names does"},
    ),
    "explain": (
        explain._VALUES,
        {
            **GROUPS,
            **PUBLISHED,
            **TWO_SIDED,
            model.SequenceNode: "it has happened or has not",
            model.InSegment: "a membership has no value",
            model.Frozen: "has the value of the node in it, as of the latest refresh",
        },
    ),
    "lint: conditions": (
        linter._CONDITIONS,
        {
            **GROUPS,
            **TWO_SIDED,
            **REFERS,
            **dict.fromkeys(
                (
                    model.Trait,
                    model.HasBeen,
                    model.KnownFor,
                    model.Near,
                    model.Located,
                    model.Visited,
                    model.Distance,
                    model.Bucket,
                    model.HasIdentifier,
                    model.OnList,
                ),
                "selects no events",
            ),
            model.ScoreNode: "selects events without conditions",
        },
    ),
    "lint: stored in full": (
        capacity._IN_FULL,
        {
            **GROUPS,
            **PUBLISHED,
            **TWO_SIDED,
            **REFERS,
            **dict.fromkeys(
                (
                    model.Occurrence,
                    model.Trait,
                    model.KnownFor,
                    model.HasBeen,
                    model.Changed,
                    model.HasIdentifier,
                    model.OnList,
                    model.Near,
                    model.Located,
                    model.Visited,
                    model.Distance,
                    model.Bucket,
                    model.ScoreNode,
                ),
                "its threshold is not a number of entries",
            ),
            model.ActivePeriods: "stores at most one entry per day",
            **dict.fromkeys((model.Compare, model.Ratio), "figures are stored in full for any threshold"),
            **dict.fromkeys(
                (
                    model.SequenceNode,
                    model.RfmNode,
                    model.Sessions,
                    model.SessionFigure,
                    model.Regularly,
                    model.LifecycleNode,
                ),
                "stores a bounded number of entries for any threshold",
            ),
        },
    ),
    "survey": (
        survey._READ,
        {
            **GROUPS,
            **TWO_SIDED,
            **REFERS,
            model.KnownFor: "reads the times of all events",
            model.Bucket: "reads the profile's id",
            model.OnList: "reads uploaded identifiers",
        },
    ),
    "reference": (evaluator._NODES, PUBLISHED),
    "reference: times": (
        instants._TIMES,
        {
            **GROUPS,
            **TWO_SIDED,
            model.InSegment: "moves with time if the segment that it names does",
            model.Bucket: "never moves",
            model.HasIdentifier: "never moves",
        },
    ),
}


def read(form: dict[str, Any]) -> model.Node:
    zones = read_areas({"zone": {"lat": 0, "lon": 0, "radius": "1km"}}, "places", Context())
    context = Context(areas=zones)
    context.indicators = read_indicators({"plan": {"trait": "plan"}}, "indicators", context)
    return read_rule(form, "when", context)


@pytest.mark.parametrize("name", TABLES)
def test_table_covers_every_node_or_lists_its_exclusions(name: str) -> None:
    covered, left_out = TABLES[name]
    assert set(covered) | set(left_out) == NODES
    assert not set(covered) & set(left_out)


def test_shortest_nodes_cover_every_node() -> None:
    assert set(FORMS) == set(HEADS)
    read_forms = {type(read(form)) for form in (*FORMS.values(), HYSTERESIS, VISITED, FROZEN)}
    assert read_forms == NODES - PUBLISHED.keys()


@pytest.mark.parametrize("heads", [set(json_schema._NODES), first_cells(GUIDE)], ids=["schema", "guide"])
def test_schema_and_guide_have_every_head(heads: set[str]) -> None:
    assert set(HEADS) <= heads


@pytest.mark.parametrize("form", [*FORMS.values(), HYSTERESIS, VISITED, FROZEN], ids=str)
def test_every_node_passes_every_pass(form: dict[str, Any]) -> None:
    node = read(form)
    vip = compile_rule("vip", model.KnownFor(0), {})
    for inside in (False, True):
        rule = compile_rule("a", model.side(node, inside=inside), {"vip": vip})
        assert rule.holds(profile.Profile("user_id:u1"), 0) in (False, True)
    assert wording.label(node)
    assert linter.lint(node, "when").never == []
