"""The schema of segment files accepts what the check accepts, and refuses what an editor can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from segops.core.operators import OPERATORS
from segops.core.rules.parsing import HEADS, WINDOW_KEYS
from segops.schemas import json_schema
from segops.schemas.segment_input import parse as _parse
from tests.command import run
from tests.core.strategies import policies, rules
from tests.core.strategies_areas import PLACES
from tests.test_docs import ROOT, examples

VALIDATOR = Draft202012Validator(json_schema.json_schema())


def file(when: Any, **more: Any) -> dict[str, Any]:
    return {"version": 1, "segments": [{"key": "s", "when": when, **more}]}


def test_schema_is_valid_in_its_dialect() -> None:
    Draft202012Validator.check_schema(json_schema.json_schema())


def test_schema_covers_every_node_operator_and_window() -> None:
    schema = json_schema.json_schema()["$defs"]
    assert set(json_schema._NODES) == set(HEADS)
    assert set(schema["test"]["properties"]) == {*OPERATORS, "zone", "as"}
    assert set(WINDOW_KEYS) <= set(schema["node.did"]["properties"])


@pytest.mark.parametrize(
    "path", sorted((ROOT / "segops/demo/segments").glob("*.yaml")), ids=lambda path: path.name
)
def test_shipped_segments_are_valid(path: Path) -> None:
    VALIDATOR.validate(_parse(path))


@pytest.mark.parametrize("block", list(examples()))
def test_documentation_examples_are_valid(block: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(block, "utf-8")
    form = _parse(path)
    VALIDATOR.validate(form if "version" in form else file(form))


@given(rules(), policies())
def test_schema_accepts_what_check_accepts(rule: dict[str, Any], policy: dict[str, Any]) -> None:
    VALIDATOR.validate(file(rule, membership=policy))


@pytest.mark.parametrize("name", PLACES)
def test_schema_accepts_every_kind_of_place(name: str) -> None:
    VALIDATOR.validate({**file({"inside": name, "anytime": True}), "places": {name: PLACES[name]}})


CODES = {"75001": {"lat": 48.8627, "lon": "2.3362", "city": "Paris"}}


@pytest.mark.parametrize(
    "blocks",
    [
        {"lookups": {"products": {"file": "data/p.csv", "key": "id"}, "b": {"rows": {"1": {}}}}},
        {"postal_codes": {"rows": CODES}},
        {"postal_codes": {"file": "codes.jsonl", "code": "plz", "lat": "y", "lon": "x"}},
    ],
)
def test_schema_accepts_every_kind_of_table(blocks: dict[str, Any]) -> None:
    VALIDATOR.validate({**file({"did": "A", "where": {"products[o.id].a": 1}}), **blocks})
    for located_by in ("zip", ["context", "postal_code"]):
        VALIDATOR.validate({**file({"inside": "a", "located_by": located_by}), **blocks})


@pytest.mark.parametrize(
    "blocks",
    [
        {"lookups": {}},
        {"lookups": {"a b": {"rows": {"1": {}}}}},
        {"lookups": {"p": {"file": "p.txt", "key": "id"}}},
        {"lookups": {"p": {"file": "p.csv"}}},
        {"lookups": {"p": {"rows": {"1": 5}}}},
        {"postal_codes": {"rows": {"1": {"lat": 5}}}},
        {"postal_codes": {"file": "p.csv", "code": "plz"}},
    ],
)
def test_schema_refuses_an_incomplete_table(blocks: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**file({"did": "A"}), **blocks})


@pytest.mark.parametrize(
    "odd", [{}, {"lat": 0}, {"lat": 91, "lon": 0}, {"polygon": [[0, 0], [1, 1]]}, {"south": 0}, [], [[0, 0]]]
)
def test_schema_refuses_an_incomplete_place(odd: Any) -> None:
    assert not VALIDATOR.is_valid({**file({"did": "A"}), "places": {"a": odd}})


@pytest.mark.parametrize(
    "when",
    [
        {"inside": "a", "since": "2026-01-01"},
        {"changed": {"trait": "p"}},
        {"identified": "yes"},
        {"has_identifier": []},
        {"trait": "p", "is": {"weekday": "monday"}},
        {"trait": "p", "is": {"month": 13}},
        {"trait": "p", "is": {"gte": 3, "zone": "UTC"}},
    ],
)
def test_schema_refuses_mistakes_about_customers_and_dates(when: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(file(when))


WRONG_BLOCKS: list[Any] = [
    None,
    {},
    {"min_stay": "0d"},
    {"cool_down": 3},
    {"max_entries": 0},
    {"max_stay": "1d"},
]


@pytest.mark.parametrize(
    "form",
    [
        {"segments": [{"key": "s", "when": {"did": "A"}}]},
        {"version": 2, "segments": [{"key": "s", "when": {"did": "A"}}]},
        {"version": 1, "segments": []},
        {"version": 1, "segments": [{"key": "S!", "when": {"did": "A"}}]},
        file({"did": "A"}, unknown=1),
        *(file({"did": "A"}, membership=block) for block in WRONG_BLOCKS),
        *map(
            file,
            [
                {},
                {"dit": "A"},
                {"did": "A", "did_not": "B"},
                {"did": "A", "whithin": "1d"},
                {"did": "A", "within": "0d"},
                {"did": "A", "within": "1 day"},
                {"did": "A", "within": "1d", "since": "2026-01-01"},
                {"did": "A", "count": {"contains": 1}},
                {"did": "A", "count": {"gte": 1.5}},
                {"did": "A", "count": 3},
                {"did": "A", "where": {}},
                {"did": "A", "where": {"p": {"equals": 1}}},
                {"did": "A", "calendar": {"this": "decade"}},
                {"did_not": "A", "count": {"gte": 1}},
                {"all": []},
                {"all": [{"did": "A"}, {"any": [{"nope": 1}]}]},
                {"sum": "p", "of": "A"},
                {"last": "A", "is": {"gte": 3}},
                {"trait": "a..b", "is": {"eq": 1}},
                {"trait": "a", "is": {"between": [1]}},
                {"trait": "a", "is": {"eq": 1, "zone": "UTC"}},
                {"score": "recency_days"},
                {"score": "recency_days", "is": {"gte": 3}, "enter": {"gte": 3}, "exit": {"lt": 3}},
                {"score": "recency_days", "enter": {"gte": 3}},
                {"rfm": {"enter": "champions"}},
                {"rfm": {"enter": "champions", "exit": "new", "recency": 3}},
                {"near": {"lat": 91, "lon": 0, "radius": "5km"}},
                {"bucket": {"salt": "s", "from": 0, "to": 101}},
                {"sequence": [{"did_not": "A", "within": "1h"}]},
                {"sequence": [{"did": "A"}, {"did": "B", "where": {"p": {"in_next": "1d"}}}]},
                {"sequence": [{"did": "A"}, {"did": "B", "where": {"p": {"same_as": 0}}}]},
            ],
        ),
    ],
    ids=str,
)
def test_schema_rejects_invalid_files(form: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(form)


def test_schema_command_prints_the_schema() -> None:
    done = run("schema")
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out) == json_schema.json_schema()
