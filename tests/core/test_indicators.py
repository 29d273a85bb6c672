"""Indicators: a rule on one equals the rule on its figure; mistakes; the records of definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.errors import DefinitionError
from segops.core.rules.model import identity
from segops.core.rules.parsing import Context, read_indicators, read_rule
from segops.core.segments import Definition, version_after
from segops.schemas.segments import definition_from_record, definition_to_record, inline, load

AOV = {"avg": "total", "of": "Order Completed", "within": "90d"}
CONVERTED = {
    "sum": "context.total",
    "of": "any_event",
    "as": "number",
    "money": {"currency": "EUR", "path": "unit"},
    "time_of_day": {"from": "18:00", "to": "22:00"},
}


def definition(indicator: Any, when: dict[str, Any]) -> Definition:
    (found,) = inline(
        [{"key": "s", "when": when}], "f", "segments", indicators={"x": indicator, "y": {"did": "B"}}
    )
    return found


@pytest.mark.parametrize(
    ("figure", "test", "form"),
    [
        (AOV, {"gte": 50}, {**AOV, "is": {"gte": 50}}),
        ({"did": "A", "within": "1d"}, {"gte": 2}, {"did": "A", "within": "1d", "count": {"gte": 2}}),
        ({"distinct": "p", "of": "A"}, {"eq": 2}, {"distinct": "p", "of": "A", "is": {"eq": 2}}),
        (
            {"most_frequent": "p", "of": "A"},
            {"eq": "x"},
            {"most_frequent": "p", "of": "A", "is": {"eq": "x"}},
        ),
        ({"trait": "born"}, {"older_than": "1d"}, {"trait": "born", "is": {"older_than": "1d"}}),
        (
            {"trait": ["traits", "a.b"]},
            {"as": "number", "gt": 1},
            {"trait": ["traits", "a.b"], "is": {"as": "number", "gt": 1}},
        ),
        (CONVERTED, {"lt": 9}, {**CONVERTED, "is": {"lt": 9}}),
        (
            {"most_frequent": "l.p", "of": "A"},
            {"as": "date", "older_than": "1d"},
            {"most_frequent": "l.p", "of": "A", "is": {"as": "date", "older_than": "1d"}},
        ),
        ({"score": "recency_days"}, {"lt": 2}, {"score": "recency_days", "is": {"lt": 2}}),
        ({"rfm": "recency"}, {"gte": 4}, {"rfm": {"recency": {"gte": 4}}}),
        ({"rfm": "tier"}, ["loyal", "champions"], {"rfm": ["champions", "loyal"]}),
        (
            {"ratio": {"of": {"did": "A"}, "to": {"did": "C"}}},
            {"gte": 0.5},
            {"ratio": {"of": {"did": "A"}, "to": {"did": "C"}, "is": {"gte": 0.5}}},
        ),
        ({"days_since_last": "A"}, {"gt": 3}, {"compare": [{"days_since_last": "A"}, "gt", 3]}),
        (
            {"days_since_first": "A"},
            {"gte": 3, "not_in": [5, 6]},
            {
                "all": [
                    {"compare": [{"days_since_first": "A"}, "gte", 3]},
                    {"all": [{"compare": [{"days_since_first": "A"}, "ne", day]} for day in (5, 6)]},
                ]
            },
        ),
    ],
    ids=str,
)
def test_rule_on_an_indicator_is_the_rule_on_its_figure(
    figure: dict[str, Any], test: Any, form: dict[str, Any]
) -> None:
    found = definition(figure, {"indicator": "x", "is": test})
    assert identity(found.when) == identity(read_rule(form, "when", Context()))
    compared = definition(figure, {"compare": [{"indicator": "x"}, "gt", {"indicator": "y"}]})
    plain = read_rule({"compare": [figure, "gt", {"did": "B"}]}, "when", Context())
    assert compared.when == plain
    assert compared.indicators == {"x": figure, "y": {"did": "B"}}


def test_record_carries_the_indicators_that_its_rule_reads() -> None:
    written = definition(AOV, {"not": {"indicator": "x", "is": {"gte": 50}}})
    record = definition_to_record(written)
    assert msgspec.json.decode(record)["indicators"] == {"x": AOV}
    again = definition_from_record(record)
    assert again is not None
    assert (again.when, again.indicators, again.identity) == (
        written.when,
        written.indicators,
        written.identity,
    )
    assert definition(AOV, {"did": "A"}).indicators is None


def test_version_rises_with_the_meaning_of_the_indicator() -> None:
    when = {"indicator": "x", "is": {"gte": 50}}
    former = definition(AOV, when)
    assert version_after(former, definition({**AOV, "within": "2160h"}, when)) == 1
    assert version_after(former, definition({**AOV, "within": "30d"}, when)) == 2


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({}, "indicators: expected a map of keys to figures"),
        ([], "indicators: expected a map of keys to figures"),
        ({"AOV": AOV}, "indicators.AOV: expected a key of at most 64 lower-case letters"),
        ({5: AOV}, "indicators.5: expected a key of at most 64 lower-case letters"),
        ({"a": {"indicator": "b"}}, "indicators.a: expected a figure, got another indicator"),
        ({"a": {**AOV, "is": {"gte": 1}}}, "indicators.a.is: unknown key"),
        ({"a": {"known_for": "1d"}}, "indicators.a: expected a figure with exactly one of did"),
        ({"a": 5}, "indicators.a: expected a figure, such as"),
    ],
    ids=str,
)
def test_mistakes_in_the_block(block: Any, expected: str) -> None:
    with pytest.raises(DefinitionError) as found:
        read_indicators(block, "indicators", Context())
    (issue,) = found.value.issues
    assert f"{issue.path}: {issue.reason}".startswith(expected)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (
            {"indicator": "z", "is": {"gte": 1}},
            "segments[0].when.indicator: unknown indicator 'z'; expected one of x, y",
        ),
        ({"indicator": ["x"], "is": {"gte": 1}}, "segments[0].when.indicator: unknown indicator ['x']"),
        ({"indicator": "x"}, "segments[0].when.is: expected a map of operators"),
        ({"indicator": "y", "is": {"gte": 0.5}}, "segments[0].when.is.gte: expected an integer, got 0.5"),
        ({"indicator": "x", "is": {"gte": 1}, "within": "1d"}, "segments[0].when.within: unknown key"),
    ],
    ids=str,
)
def test_mistakes_in_a_rule(when: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError) as found:
        definition(AOV, when)
    (issue,) = found.value.issues
    assert f"{issue.path}: {issue.reason}".startswith(expected)


def test_mistake_in_the_block_is_reported_once() -> None:
    when = {"all": [{"indicator": "a", "is": {"gte": 1}}, {"did": "A"}]}
    with pytest.raises(DefinitionError) as found:
        inline([{"key": "s", "when": when}], "f", "segments", indicators={"a": {"avg": "p"}})
    assert [issue.path for issue in found.value.issues] == ["indicators.a.of"]


def test_files_read_together_define_a_key_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        form = {"version": 1, "indicators": {"x": AOV}, "segments": [{"key": name, "when": {"did": "A"}}]}
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(form))
    assert len(load([tmp_path / "a.json"])) == 1
    with pytest.raises(DefinitionError) as found:
        load([tmp_path])
    (issue,) = found.value.issues
    first = tmp_path / "a.json"
    assert (issue.path, issue.reason) == ("indicators.x", f"duplicate indicator 'x': {first} defines it, too")


def test_damaged_record_is_refused() -> None:
    record = {"key": "s", "version": 1, "when": {"indicator": "x", "is": {"gte": 1}}}
    for block in (None, 5, {"x": {"avg": "p"}}):
        with pytest.raises(DefinitionError):
            definition_from_record(msgspec.json.encode({**record, "indicators": block}))
