"""Which definitions the kernel evaluates itself, and what it is told of the others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.identifiers import Rules
from segops.core.segments import SegmentSet
from segops.kernel.tables import Limits, tables_of
from segops.testing import definition
from tests.bench.workload import segments as workload

LIMITS = Limits(("null",), ("traits",), Rules(), 1_000)

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
]
PYTHON: list[dict[str, Any]] = [
    {"did": "A", "where": {"p": {"matches": "^x"}}},
    {"did": "A", "where": {"context.app": "x"}},
    {"did": "A", "calendar": {"this": "day", "zone": "UTC"}},
    {"did": "A", "between": {"from": "2d", "to": "1d"}},
    {"did": "A", "since_last": "B"},
    {"sum": "p", "of": "A", "within": "4000d", "is": {"gte": 1}},
    {"most_frequent": "p", "of": "A", "is": {"eq": 1}},
    {"trait": "p", "is": {"includes": 5}},
    {"has_been": {"trait": "p", "is": {"eq": "x"}}, "for": "1d"},
    {"score": "recency_days", "is": {"gte": 3}},
    {"latest": "p", "of": "A", "is": {"in_last": "3d"}},
    {
        "all": [
            {"sum": "p", "of": "A", "within": "2d", "is": {"gte": 1}},
            {"trait": "d", "is": {"in_last": "3d"}},
        ]
    },
]


def rule_of(form: dict[str, Any]) -> Any:
    return msgspec.msgpack.decode(tables_of(SegmentSet([definition("s", form)]), LIMITS))[2][0][2]


@pytest.mark.parametrize("form", NATIVE, ids=str)
def test_rules_for_the_kernel(form: dict[str, Any]) -> None:
    assert rule_of(form) is not None


@pytest.mark.parametrize("form", PYTHON, ids=str)
def test_rules_left_to_python(form: dict[str, Any]) -> None:
    assert rule_of(form) is None


def test_a_rule_that_refers_to_one_of_python_is_one_of_python() -> None:
    of = SegmentSet(
        [definition("a", PYTHON[0]), definition("b", {"in_segment": "a"}), definition("c", NATIVE[0])]
    )
    rows = msgspec.msgpack.decode(tables_of(of, LIMITS))[2]
    assert [(key, rule is None) for key, _, rule in rows] == [("a", True), ("b", True), ("c", False)]


def test_the_benchmark_leaves_nothing_to_python() -> None:
    assert all(rule for _, _, rule in msgspec.msgpack.decode(tables_of(workload(), LIMITS))[2])
