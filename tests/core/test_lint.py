"""The findings of the rule linter."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import DefinitionError, Issue
from segops.core.rules import model
from segops.core.rules.analysis import Lint, lint
from segops.core.rules.parsing import Context, Reader, read_rfm, read_rule

from .contradictory_rules import trait
from .strategies import RFM
from .strategies_areas import area_context
from .strategies_scores import OWN_SCORES, score_models


def checked(rule: dict[str, Any]) -> model.Node:
    context = area_context("t", read_rfm(RFM, "rfm", Context("t")))
    context.scores, context.models = OWN_SCORES, score_models(rule)
    return read_rule(rule, "when", context)


def linted(rule: dict[str, Any], rfm: bool = False) -> Lint:
    return lint(checked(rule) if rfm else read_rule(rule, "when", Context("t")), "when")


# -- predicates ------------------------------------------------------------------------------------------

NEVER: list[dict[str, Any]] = [
    {"gte": 10, "lt": 5},
    {"gt": 5, "lt": 5},
    {"gt": 5, "lte": 5},
    {"gte": 5, "lte": 5, "ne": 5},
    {"between": [5, 10], "gt": 10},
    {"eq": 5, "ne": 5},
    {"eq": 5, "in": [6, "5", True]},
    {"eq": True, "ne": True},
    {"eq": True, "not_in": [False, True]},
    {"ne": True, "not_in": [False, 3]},
    {"eq": "a", "in": ["b", "c"]},
    {"in": ["a", "b"], "not_in": ["a", "b"]},
    {"exists": False, "gte": 3},
    {"exists": False, "ne": 3},
    {"starts_with": "ab", "eq": "xyz"},
    {"starts_with": "b", "lt": "a"},
    {"starts_with": "a", "gt": "b"},
    {"ends_with": "b", "in": ["ba", "c"]},
    {"matches": "^x", "eq": "yx"},
    {"lt": ""},
    {"gt": "b", "lt": "a"},
    {"gt": 5, "contains": "x"},
    {"includes": 3, "eq": 3},
    {"includes": 3, "starts_with": "x"},
    {"gt": 5, "before": "2026-01-01"},
    {"before": "2024-01-01", "after": "2025-01-01"},
    {"before": "2024-01-01T00:00:00.001Z", "after": "2024-01-01"},
    {"in_last": "3d", "in_next": "3d"},
    {"older_than": "5d", "newer_than": "3d"},
    {"older_than": "3d", "in_last": "3d"},
    {"older_than": "0d", "in_next": "3d"},
    {"eq": "soon", "in_next": "3d"},
    {"eq": "2024-01-01", "after": "2024-01-01"},
]

SOMETIMES: list[dict[str, Any]] = [
    {"gte": 5, "lte": 5},
    {"gt": 5, "lt": 5.001},
    {"gte": "a", "lte": "a"},
    {"between": [5, 10], "gte": 10},
    {"ne": True, "not_in": [3, True]},
    {"starts_with": "ab", "gt": "a", "lt": "b"},
    {"starts_with": "ab", "gt": "abc"},
    {"starts_with": "ab", "ends_with": "b", "contains": "x"},
    {"gt": "a", "before": "2026-01-01"},
    {"includes": 3, "exists": True},
    {"before": "2024-01-01T00:00:00.002Z", "after": "2024-01-01"},
    {"older_than": "3d", "newer_than": "5d"},
    {"in_last": "3d", "anniversary_in_next": "3d"},
    {"eq": "2024-01-01", "in_next": "3d", "before": "2024-01-02"},
    {"exists": False},
    {"matches": "^x", "starts_with": "y"},  # it never holds, but regular expressions are not analyzed
]


@pytest.mark.parametrize("test", NEVER, ids=str)
def test_unsatisfiable_predicate_is_found_everywhere(test: dict[str, Any]) -> None:
    rules_by_path = {
        "when.is": trait(test),
        "when.where.p": {"did": "A", "where": {"p": test}},
        "when.has_been.is": {"has_been": {"trait": "p", "is": test}, "for": "1d"},
        "when.all[1].not.is": {"all": [{"did": "A"}, {"not": {"latest": "p", "of": "A", "is": test}}]},
    }
    if not Reader(test, "is").predicate().timed:
        rules_by_path["when.sequence[1].where.p"] = {
            "sequence": [{"did": "A"}, {"did": "B", "where": {"p": test}}]
        }
    for path, rule in rules_by_path.items():
        (found,) = linted(rule).never
        assert (found.path, found.reason[:12]) == (path, "never holds:")


@pytest.mark.parametrize("test", SOMETIMES, ids=str)
def test_satisfiable_predicate_is_not_reported(test: dict[str, Any]) -> None:
    assert linted(trait(test)) == Lint([], [], [])


# -- whole rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "path", "reason"),
    [
        (
            {"all": [{"did": "A"}, {"not": {"did": "A"}}]},
            "when",
            "all[0] (did A) and all[1].not (not: did A)",
        ),
        (
            {"all": [{"any": [{"did": "A"}, {"did": "B"}]}, {"not": {"any": [{"did": "B"}, {"did": "A"}]}}]},
            "when",
            "all[0] (any of) and all[1].not (not: any of)",
        ),
        (
            {"all": [trait({"eq": "FR"}, "country"), {"did": "A"}, trait({"eq": "DE"}, "country")]},
            "when",
            "all[0] (trait country = FR) and all[2] (trait country = DE) exclude each other",
        ),
        (
            {
                "any": [
                    {"did": "B"},
                    {"all": [trait({"gte": 30}, "age"), {"all": [trait({"lt": 20}, "age")]}]},
                ]
            },
            "when.any[1]",
            "all[0] (trait age ≥ 30) and all[1].all[0] (trait age < 20)",
        ),
        (
            {"all": [trait({"in": [1, 2]}), {"not": trait({"in": [1, 2, 3]})}]},
            "when",
            "(not: trait p in [1, 2, 3])",
        ),
        (
            {"all": [{"did": "A", "within": "1h"}, {"did_not": "A", "within": "48h"}]},
            "when",
            "all[0] (did A within 1h) and all[1] (did not A within 2d)",
        ),
        (
            {
                "all": [
                    {"did": "A", "where": {"p": 1}, "within": "1h"},
                    {"did_not": ["A", "B"], "within": "1h"},
                ]
            },
            "when",
            "exclude each other",
        ),
        (
            {"all": [{"did": "A", "count": {"gte": 5}, "within": "1h"}, {"did": "A", "count": {"lt": 5}}]},
            "when",
            "did A < 5",
        ),
        ({"all": [{"did": "A", "within": "1h"}, {"not": {"did": "A"}}]}, "when", "exclude each other"),
        (
            {"all": [{"did": "A", "between": {"from": "9d", "to": "2d"}}, {"did_not": "A", "within": "9d"}]},
            "when",
            "9d",
        ),
        (
            {
                "all": [
                    {"did": "A", "since": "2026-01-05", "until": "2026-02-01"},
                    {"did_not": "A", "since": "2026-01-01"},
                ]
            },
            "when",
            "exclude each other",
        ),
        (
            {"all": [{"did_not": "A"}, {"last": "A", "is": {"older_than": "60d"}}]},
            "when",
            "exclude each other",
        ),
        (
            {"all": [{"did": "A", "within": "30d"}, {"last": "A", "is": {"older_than": "60d"}}]},
            "when",
            "all[0] (did A within 30d) and all[1] (last A older than 60d)",
        ),
        ({"all": [{"sum": "p", "of": "A", "is": {"gt": 0}}, {"did_not": "A"}]}, "when", "sum of p"),
        (
            {"all": [{"distinct": "p", "of": "A", "is": {"gte": 3}}, {"did": "A", "count": {"lte": 2}}]},
            "when",
            "did A ≤ 2",
        ),
        (
            {"all": [{"sequence": [{"did": "A"}, {"did": "B"}]}, {"did_not": "B"}]},
            "when",
            "sequence did A → did B",
        ),
        ({"all": [{"rfm": "new"}, {"did_not": "Order Completed"}]}, "when", "rfm new"),
        ({"all": [{"rfm": "champions"}, {"rfm": {"recency": {"lte": 2}}}]}, "when", "rfm champions"),
        ({"all": [{"known_for": "60d"}, {"not": {"known_for": "30d"}}]}, "when", "(not: known for 30d)"),
        (
            {"all": [{"bucket": {"salt": "s", "from": a, "to": b}} for a, b in ((0, 50), (50, 100))]},
            "when",
            "bucket 's' from 50 to 100 %",
        ),
        ({"at_least": {"k": 2, "of": [{"did": "A"}, {"did_not": "A"}]}}, "when", "at_least.of[0] (did A)"),
        (
            {
                "all": [
                    {"score": "recency_days", "is": {"gte": 9}},
                    {"score": "recency_days", "is": {"lt": 9}},
                ]
            },
            "when",
            "score",
        ),
        ({"not": {"any": [{"did": "A"}, {"did_not": "A"}]}}, "when", "the negated node always holds"),
        ({"avg": "p", "of": "A", "is": {"contains": "x"}}, "when.is", "no avg satisfies: contains x"),
        ({"sum": "p", "of": "A", "is": {"exists": False}}, "when.is", "no sum satisfies: does not exist"),
        ({"rfm": {"recency": {"gte": 6}}}, "when.rfm", "no digits satisfy: rfm recency ≥ 6"),
    ],
)
def test_contradictory_rule_never_holds(rule: dict[str, Any], path: str, reason: str) -> None:
    (found,) = linted(rule).never
    assert found.path == path
    assert found.reason.startswith("never holds: ")
    assert reason in found.reason


@pytest.mark.parametrize(
    "rule",
    [
        {"all": [{"did": "A", "within": "48h"}, {"did_not": "A", "within": "1h"}]},
        {"all": [{"did": "A", "where": {"p": 1}}, {"did_not": "A", "where": {"p": 2}}]},
        {"all": [{"did": ["A", "B"]}, {"did_not": "A"}]},
        {"all": [{"did": "A", "since": "2026-01-01"}, {"did_not": "A", "since": "2026-01-05"}]},
        {"all": [{"did": "A", "calendar": {"this": "day"}}, {"did_not": "A", "within": "24h"}]},
        {"all": [trait({"gte": 20}), trait({"lt": 30})]},
        {"all": [trait({"eq": 1}), trait({"eq": 2}, "q")]},
        {"all": [trait({"eq": 1}), trait({"eq": True}, "q"), {"not": trait({"eq": True})}]},
        {"any": [trait({"eq": 1}), trait({"ne": 1})]},  # neither holds on a missing value
        {"any": [trait({"eq": 1}), trait({"eq": 2})]},
        {"all": [{"known_for": "30d"}, {"not": {"known_for": "60d"}}]},
        {"all": [{"first": "A", "is": {"older_than": "60d"}}, {"did": "A", "within": "30d"}]},
        {"all": [{"not": {"rfm": "new"}}, {"did_not": "Order Completed"}]},
        {"all": [{"distinct": "p", "of": "A", "is": {"lte": 2}}, {"did": "A", "count": {"gte": 3}}]},
        {"not": {"not": {"did": "A"}}},
        {"at_least": {"k": 1, "of": [{"all": [{"did": "A"}]}, {"did": "B"}]}},
        {"at_least": {"k": 2, "of": [{"did": "A"}, {"did": "A"}, {"did": "B"}]}},  # A counts twice
        {"any": [{"rfm": "new"}, {"rfm": {"recency": {"gte": 2}}}]},
        {"all": [{"in_segment": "a"}, {"not": {"in_segment": "b"}}]},
        {"did": "A", "count": {"gte": 300}},
        {"did": "A", "count": {"lte": 256}, "within": "1d"},
        {"distinct": "p", "of": "A", "is": {"gte": 257}, "within": "1d"},
    ],
    ids=str,
)
def test_satisfiable_rule_has_no_findings(rule: dict[str, Any]) -> None:
    assert linted(rule) == Lint([], [], [])


@pytest.mark.parametrize(
    ("rule", "path", "reason"),
    [
        ({"bucket": {"salt": "s", "from": 0, "to": 100}}, "when.bucket", "every customer is in it"),
        ({"known_for": "0d"}, "when.known_for", "every customer has been known for that long"),
        ({"sum": "p", "of": "A", "is": {"exists": True}}, "when.is", "every sum satisfies: exists"),
        (
            {"any": [{"did": "A"}, {"not": {"did": "A"}}]},
            "when",
            "one of any[0] (did A) and any[1].not (not: did A)",
        ),
        (
            {"any": [{"did": "A", "within": "1h"}, {"did_not": "A", "within": "1h"}]},
            "when",
            "did not A within 1h",
        ),
        (
            {"any": [{"did": "A"}, {"did": "A", "count": {"lt": 3}, "within": "1d"}]},
            "when",
            "did A < 3 within 1d",
        ),
        (
            {"at_least": {"k": 1, "of": [{"did": "B"}, {"did_not": "A"}, {"did": "A"}]}},
            "when",
            "at_least.of[2] (did A)",
        ),
        (
            {"any": [{"sum": "p", "of": "A", "is": {op: 0.3}} for op in ("gte", "lt")]},
            "when",
            "sum of p over A",
        ),
    ],
)
def test_rule_that_always_holds_is_reported(rule: dict[str, Any], path: str, reason: str) -> None:
    found = linted(rule)
    assert found.never == []
    assert [finding.path for finding in found.always] == [path]
    assert reason in found.always[0].reason


@pytest.mark.parametrize(
    ("rule", "path", "reason"),
    [
        (
            {"all": [{"did": "A", "within": "48h"}, {"did": "A", "within": "2d"}]},
            "when.all[1]",
            "duplicate of when.all[0]",
        ),
        (
            {"any": [{"did": "A"}, {"did": "B"}, {"did": ["A"]}]},
            "when.any[2]",
            "duplicate of when.any[0]",
        ),
        (
            {"rfm": {"recency": {"gte": 1}}},
            "when.rfm.recency",
            "holds for every customer with an order: this digit is from 1 to 5",
        ),
        (
            {"did": "A", "count": {"gte": 300}, "within": "1d"},
            "when.count",
            "stores every entry of a customer; beyond 4,096",
        ),
        (
            {"did": "A", "count": {"in": [3, 257]}, "within": "1d"},
            "when.count",
            "up to a threshold of 256, at most 257 are stored, and the count is exact",
        ),
        (
            {"did": "A", "count": {"gte": 300}, "between": {"from": "2d", "to": "1d"}},
            "when.count",
            "stores every entry of a customer that may still count, without limit",
        ),
        (
            {"did": "A", "count": {"gte": 300}, "where": {"p": {"in_next": "1d"}}},
            "when.count",
            "stores every entry of a customer that may still count",
        ),
        (
            {"distinct": "p", "of": "A", "is": {"gte": 258}},
            "when.is",
            "stores every distinct value of a customer, without limit",
        ),
    ],
)
def test_useless_or_costly_part_is_reported(rule: dict[str, Any], path: str, reason: str) -> None:
    found = linted(rule)
    assert (found.never, found.always) == ([], [])
    assert [finding.path for finding in found.notes] == [path]
    assert reason in found.notes[0].reason


def test_invalid_rule_is_not_linted() -> None:
    with pytest.raises(DefinitionError) as refused:
        read_rule({"did": []}, "when", Context("t"))
    assert refused.value.issues == [
        Issue("t", "when.did", "expected an event name, any_event, or a non-empty list of event names")
    ]
    with pytest.raises(DefinitionError):
        Reader({"between": [10, 5]}, "is").predicate()
