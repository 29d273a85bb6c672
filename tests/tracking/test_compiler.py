"""What events violate, by examples, and by random schemas against the reference implementation."""

from __future__ import annotations

import threading
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context, Reader
from segops.tracking.compiler import compiled
from segops.tracking.json_schema import read_schema
from tests.rest import examples

from .helpers import compiled_of, order_plan, violations_of

GOOD = {"revenue": 20, "currency": "EUR"}


def test_event_that_conforms_has_no_verdict() -> None:
    plan = order_plan()
    assert violations_of(plan, {**GOOD, "coupon": "SUMMER", "items": [{"sku": "a"}], "more": 1}) == []
    assert plan.check("track", "Other", {"properties": {}}) is None
    assert plan.check("identify", "", {"traits": {"revenue": "x"}}) is None


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"currency": "EUR"}, "properties.revenue: expected a value, got nothing"),
        ({**GOOD, "revenue": "20"}, "properties.revenue: expected number, got string"),
        ({**GOOD, "revenue": True}, "properties.revenue: expected number, got boolean"),
        ({**GOOD, "revenue": -1}, "properties.revenue: expected minimum 0, got number"),
        ({**GOOD, "currency": "secret"}, "properties.currency: expected one of EUR, GBP, got string"),
        ({**GOOD, "currency": None}, "properties.currency: expected one of EUR, GBP, got null"),
        ({**GOOD, "coupon": "secret"}, "properties.coupon: expected pattern ^[A-Z]+$, got string"),
        ({**GOOD, "items": [{}, {"sku": 1}]}, "properties.items[1].sku: expected string, got number"),
    ],
)
def test_violation_names_path_expectation_and_type_but_no_value(
    properties: dict[str, Any], expected: str
) -> None:
    assert list(map(str, violations_of(order_plan(), properties))) == [expected]


def test_all_violations_of_an_event_are_found() -> None:
    found = violations_of(order_plan(), {"revenue": "x", "coupon": 1})
    assert [each.reason for each in found] == ["missing", "type", "type"]


def test_names_that_may_be_values_are_hidden() -> None:
    plan = order_plan(unknown_properties="warn")
    found = violations_of(plan, {**GOOD, "ann@shop.example": 1, "gift": True})
    assert [(each.path, each.got) for each in found] == [
        ("properties.*", "number"),
        ("properties.gift", "boolean"),
    ]


@pytest.mark.parametrize(
    ("modes", "properties", "action"),
    [
        ({}, {"currency": "EUR"}, "warned"),
        ({"violations": "reject"}, {"currency": "EUR"}, "rejected"),
        ({"violations": "allow"}, {"currency": "EUR"}, None),
        ({}, {**GOOD, "gift": 1}, None),
        ({"unknown_properties": "warn"}, {**GOOD, "gift": 1}, "warned"),
        ({"unknown_properties": "omit"}, {**GOOD, "gift": 1}, "omitted"),
        ({"unknown_properties": "reject"}, {**GOOD, "gift": 1}, "rejected"),
        ({"unknown_properties": "omit", "violations": "reject"}, {"gift": 1}, "rejected"),
    ],
)
def test_mode_decides_what_becomes_of_an_event(
    modes: dict[str, str], properties: dict[str, Any], action: str | None
) -> None:
    verdict = order_plan(**modes).check("track", "Order Completed", {"properties": properties})
    assert (None if verdict is None else verdict.action) == action


def test_omitted_properties_are_named_with_their_field() -> None:
    plan = compiled_of("unknown_properties: omit\nidentify: {schema: {properties: {plan: {type: string}}}}")
    verdict = plan.check("identify", "", {"traits": {"plan": "a", "age": 3}, "properties": {"x": 1}})
    assert verdict is not None and verdict.omitted == {"traits.age"}


@pytest.mark.parametrize(("mode", "rejected"), [("allow", None), ("warn", False), ("reject", True)])
def test_unknown_events_have_a_mode_of_their_own(mode: str, rejected: bool | None) -> None:
    plan = order_plan(unknown_events=mode)
    verdict = plan.check("track", "ann@shop.example", {"properties": {}})
    assert (None if verdict is None else verdict.rejected) == rejected
    if verdict is not None:
        assert (verdict.event, verdict.violations[0].got) == ("(unknown)", "*")
    assert plan.check("identify", "", {"traits": {}}) is None


def test_event_of_a_plan_without_a_schema_conforms() -> None:
    plan = compiled_of("unknown_events: reject\nunknown_properties: reject\nevents: {Signed Up: }")
    assert plan.check("track", "Signed Up", {"properties": {"any": 1}}) is None


def test_deeply_nested_values_are_a_violation_not_a_failure() -> None:
    deep: Any = []
    for _ in range(250):
        deep = [deep]
    plan = compiled_of(
        "events: {Order Completed: {schema: {properties: {items: {type: array, uniqueItems: true}}}}}"
    )
    assert violations_of(plan, {"items": deep}) == []


def test_pattern_that_would_backtrack_takes_linear_time() -> None:
    """With Python's own engine this match takes longer than the age of the universe."""
    plan = compiled_of('events: {Order Completed: {schema: {properties: {coupon: {pattern: "^(a+)+$"}}}}}')
    found: list[int] = []
    check = threading.Thread(
        target=lambda: found.append(len(violations_of(plan, {"coupon": "a" * 20_000 + "!"}))), daemon=True
    )
    check.start()
    check.join(60)
    assert found == [1]


def test_schema_that_contradicts_itself_is_refused() -> None:
    schema = "{required: [a], properties: {b: {}}, additionalProperties: false}"
    with pytest.raises(DefinitionError, match="required but not allowed"):
        compiled_of(f"events: {{A: {{schema: {schema}}}}}")


# -- random schemas --------------------------------------------------------------------------------------

#: Texts that code generation might take for code.
TEXTS = st.one_of(
    st.sampled_from(
        ["a", "b", "{x}", "{", "}}", "'", '"', "\\", "\n", '"""', "{variable}", "__import__('os')", "%s"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.5]), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(TEXTS, below, max_size=3)),
    max_leaves=8,
)
KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null"])
        | st.just(["string", "null"]),
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "const": SCALARS,
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "multipleOf": st.sampled_from([1, 2]),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "pattern": st.sampled_from(["^a", "b$", "[{]x[}]"]),
        "minItems": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "maxProperties": st.integers(0, 2),
        "required": st.lists(TEXTS, max_size=2, unique=True),
        "description": TEXTS,
    },
)


def _nested(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(below, min_size=1, max_size=2)
    nested = st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(TEXTS, below, max_size=3),
            "additionalProperties": st.booleans() | below,
            "items": below,
            "not": below,
            "allOf": several,
            "anyOf": several,
            "oneOf": several,
        },
    )
    return st.builds(lambda a, b: {**a, **b}, KEYWORDS, nested)


SCHEMAS = st.recursive(KEYWORDS, _nested, max_leaves=6)


@examples(60, of=1_500)
@given(SCHEMAS, st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=4))
def test_compiled_schemas_agree_with_the_reference(schema: dict[str, Any], values: list[Any]) -> None:
    schema = {**schema, "type": "object"}
    reference = jsonschema.Draft7Validator(schema)
    read = read_schema(Reader(schema, "schema", Context("test")))
    try:
        fast, slow = compiled(read), compiled(read, all_errors=True)
    except ValueError:  # contradictions: test_schema_that_contradicts_itself_is_refused
        return
    for value in values:
        expected = reference.is_valid(value)
        assert [_accepts(check, value) for check in (fast, slow)] == [expected, expected], value


def _accepts(check: Any, value: Any) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True
