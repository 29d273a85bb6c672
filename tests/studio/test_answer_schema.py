"""The schema of a model's answer: every rule of a catalogue satisfies it, and names of others do not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from segops.core.rules.parsing import HEADS
from segops.studio.catalogue import StudioCatalogue
from segops.studio.model.schema import answer_schema
from tests.studio.model_server import answer
from tests.studio.test_equality import CATALOGUE, RULES

SCHEMA = answer_schema(CATALOGUE)
VALID = Draft202012Validator(SCHEMA)
BARE = answer_schema(StudioCatalogue.from_document({"events": {"A": {}}}, "bare"))


def heads(schema: dict[str, Any]) -> set[str]:
    return {name.removeprefix("node_") for name in schema["$defs"] if name.startswith("node_")}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator.check_schema(BARE)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_of_the_catalogue_satisfies_it(rule: dict[str, Any]) -> None:
    assert [error.message for error in VALID.iter_errors(answer("rule", rule))] == []


@pytest.mark.parametrize(
    "wrong",
    [
        answer("rule", {"did": "Nowhere"}),
        answer("rule", {"did": ["A", "Nowhere"]}),
        answer("rule", {"did": "A", "within": 30}),
        answer("rule", {"delete": "A"}),
        answer("rule", {"did": "A"}, confidence=1),
        answer("approve"),
        {"outcome": "question"},
    ],
)
def test_another_answer_does_not(wrong: dict[str, Any]) -> None:
    assert not VALID.is_valid(wrong)


def test_it_has_the_nodes_that_the_catalogue_has_something_for() -> None:
    left_out = {"indicator", "bucket", "identified", "has_identifier"}
    assert heads(SCHEMA) == HEADS.keys() - left_out
    of_names = {"list", "score", "rfm", "in_segment", "near", "inside", "distance_to"}
    assert heads(BARE) == HEADS.keys() - left_out - of_names


def test_every_reference_leads_to_a_definition_with_a_plain_name() -> None:
    text = json.dumps(SCHEMA)
    names = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert names <= SCHEMA["$defs"].keys()
    assert all(name.replace("_", "").isalpha() for name in SCHEMA["$defs"])
