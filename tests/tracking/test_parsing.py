"""Files of tracking plans, the schemas in them, and the records of their topic."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segops.core.errors import DefinitionError
from segops.kafka.resources import ResourceLog
from segops.tracking.compiler import compile_plan
from segops.tracking.json_schema import MAX_SUBSCHEMAS
from segops.tracking.parsing import decode, encode
from segops.tracking.published import PLAN, change_of

from .helpers import ORDER, Stored, compiled_of, loaded, plan_of

FILE = """
version: 1
plans:
- source: website
  violations: reject
  unknown_events: warn
  events:
    Order Completed:
      description: once per order
      violations: warn
      schema: {type: object, required: [revenue], properties: {revenue: {type: number}}}
    Signed Up:
  identify: {schema: {properties: {plan: {enum: [free, pro]}}}}
- {source: app, unknown_properties: omit, events: {Opened: {schema: {properties: {screen: {type: string}}}}}}
"""


def test_plan_has_modes_of_its_own_and_per_event(tmp_path: Path) -> None:
    website, app = loaded(tmp_path, FILE)
    assert (website.source, website.unknown_events) == ("website", "warn")
    assert {name: event.violations for name, event in website.events.items()} == {
        "Order Completed": "warn",
        "Signed Up": "reject",
    }
    assert website.calls["identify"].schema is not None and website.events["Signed Up"].schema is None
    assert app.events["Opened"].unknown_properties == "omit"
    assert (app.unknown_events, app.events["Opened"].violations) == ("allow", "warn")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: Web Site", "plans[0].source: expected the name of a source"),
        ("violations: block", "plans[0].violations: expected one of allow, warn, reject, got 'block'"),
        ("unknown_events: omit", "plans[0].unknown_events: expected one of allow, warn, reject"),
        ("evnts: {}", "plans[0].evnts: unknown key"),
        ("events: [A]", "plans[0].events: expected a map of at most 1,000 names"),
        ("events: {'': {}}", "plans[0].events: expected names of 1 to 200 characters"),
        ("events: {A: 5}", "plans[0].events.A: expected a map"),
        ("identify: {mode: warn}", "plans[0].identify.mode: unknown key"),
    ],
)
def test_mistake_is_named_with_its_path(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        plan_of(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ("[]", "", "expected a JSON Schema"),
        ("{type: array}", ".type", "expected object"),
        (
            "{$schema: 'https://json-schema.org/draft/2020-12/schema'}",
            ".$schema",
            "expected draft-04, -06 or -07",
        ),
        ("{proprties: {}}", ".proprties", "unknown keyword"),
        ("{$id: 'https://x', type: object}", ".$id", "unknown keyword"),
        ("{patternProperties: {}}", ".patternProperties", "unknown keyword"),
        ("{properties: {a: {type: strng}}}", ".properties.a.type", "unknown type 'strng'"),
        ("{properties: {a: {type: [string, strng]}}}", ".properties.a.type", "unknown type"),
        ("{properties: {a: {minimum: '3'}}}", ".properties.a.minimum", "expected a number from"),
        ("{properties: {a: {minimum: .inf}}}", ".properties.a.minimum", "expected a number from"),
        ("{properties: {a: {enum: [.nan]}}}", ".properties.a.enum", "expected a number from"),
        ("{properties: {a: {multipleOf: 0}}}", ".properties.a.multipleOf", "expected a number above 0"),
        ("{properties: {a: {minLength: -1}}}", ".properties.a.minLength", "expected an integer from 0"),
        ("{properties: {a: {enum: []}}}", ".properties.a.enum", "expected a list of 1 to 500 values"),
        ("{properties: {a: {const: [1]}}}", ".properties.a.const", "expected a string, a number"),
        ("{properties: {a: {format: regex}}}", ".properties.a.format", "unknown format 'regex'"),
        ("{properties: {a: {pattern: '(?=a)'}}}", ".properties.a.pattern", "invalid regular expression"),
        (
            "{properties: {a: {pattern: '(a){1000000}'}}}",
            ".properties.a.pattern",
            "invalid regular expression",
        ),
        ("{properties: {a: {items: [{}]}}}", ".properties.a.items", "expected a JSON Schema"),
        ("{required: a}", ".required", "expected a list of at most 500 names"),
    ],
)
def test_schema_is_read_strictly(schema: str, path: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        plan_of(f"events: {{A: {{schema: {schema}}}}}")
    assert f"plan.yaml: plans[0].events.A.schema{path}: " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "ref",
    [
        "https://schemas.example/a.json",
        "file:///etc/passwd",
        "#",
        "#/properties/a",
        "other.json#/definitions/a",
        "",
    ],
)
def test_nothing_is_fetched(ref: str) -> None:
    with pytest.raises(DefinitionError, match="nothing is fetched"):
        plan_of(f"events: {{A: {{schema: {{properties: {{a: {{$ref: '{ref}'}}}}}}}}}}")


def test_local_references_are_replaced() -> None:
    plan = compiled_of(
        "events: {A: {schema: {definitions: {money: {type: number}}, "
        "properties: {a: {$ref: '#/definitions/money'}}}}}"
    )
    assert plan.check("track", "A", {"properties": {"a": "x"}}) is not None
    assert plan.check("track", "A", {"properties": {"a": 1}}) is None


def test_schema_that_refers_to_itself_is_refused() -> None:
    with pytest.raises(DefinitionError, match="refers to itself"):
        plan_of(
            "events: {A: {schema: {definitions: {n: {items: {$ref: '#/definitions/n'}}}, "
            "properties: {a: {$ref: '#/definitions/n'}}}}}"
        )


def test_references_that_multiply_are_refused() -> None:
    """Each definition uses the next one twice: 40 of them would be 2^40 schemas."""
    definitions = {f"d{n}": {"allOf": [{"$ref": f"#/definitions/d{n + 1}"}] * 2} for n in range(10)} | {
        "d10": {}
    }
    schema = {"definitions": definitions, "properties": {"a": {"$ref": "#/definitions/d0"}}}
    with pytest.raises(DefinitionError, match=f"at most {MAX_SUBSCHEMAS} subschemas"):
        plan_of(yaml.safe_dump({"events": {"A": {"schema": schema}}}))


@pytest.mark.parametrize("levels", [33, 190])
def test_deep_schema_is_refused(levels: int) -> None:
    schema: dict[str, object] = {}
    for _ in range(levels):
        schema = {"not": schema}
    with pytest.raises(DefinitionError, match="nested at most 32 deep"):
        plan_of(yaml.safe_dump({"events": {"A": {"schema": schema}}}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2\nplans: [{source: a}]", "version"),
        ("version: 1\nplans: []", "plans"),
        ("version: 1\nplans: [{source: a}, {source: a}]", "plans[1].source: duplicate source"),
        ("version: 1\nplans: [{source: a, 5: b}]", "expected keys that are strings"),
        ("version: 1\nplans: [{source: a, x: 1}, {source: B}]", "plans[1].source"),
        ("{", "plans.yaml"),
    ],
)
def test_file_is_refused_as_a_whole(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        loaded(tmp_path, text)
    assert message in str(caught.value)


def test_plan_too_large_for_a_record_is_refused(tmp_path: Path) -> None:
    long = yaml.safe_dump({f"Event {n}": {"description": "x" * 1_000} for n in range(950)})
    indented = "\n".join(f"    {line}" for line in long.splitlines())
    with pytest.raises(DefinitionError, match="expected at most 900,000 bytes"):
        loaded(tmp_path, f"version: 1\nplans:\n- source: a\n  events:\n{indented}\n")


def test_published_plan_is_the_plan_as_written(tmp_path: Path) -> None:
    for plan in loaded(tmp_path, FILE):
        read = decode(encode(plan))
        assert (read.written, read.events, read.calls) == (plan.written, plan.events, plan.calls)
        compile_plan(read)


def test_log_holds_the_latest_plan_and_survives_bad_records() -> None:
    bad: list[str] = []
    log, plan = ResourceLog(PLAN, bad.append), plan_of(f"events: {{A: {{schema: {ORDER_JSON}}}}}")
    assert log.apply_all([Stored(b"website", encode(plan))])
    assert not log.apply_all([Stored(b"website", encode(plan))])
    for offset, value in enumerate((b"{", b"{}", b'{"plan": {"source": "website", "x": 1}, "at_ms": 1}'), 1):
        assert not log.apply_all([Stored(b"website", value, offset)])
    assert not log.apply_all([Stored(b"other", encode(plan), 4)])
    assert log.found.keys() == {"website"}
    assert [line.split(" (")[0] for line in bad] == [
        f"skipping tracking plan record {n}" for n in range(1, 5)
    ]
    assert log.apply_all([Stored(b"website", None)])
    assert log.found == {}


ORDER_JSON = yaml.safe_dump(yaml.safe_load(ORDER), default_flow_style=True).strip()


def test_change_of_a_plan() -> None:
    plan = plan_of("events: {A: }")
    added = change_of(None, plan, now_ms=5)
    assert added.action == "added" and added.resource is not None and added.resource.at_ms == 5
    assert change_of(added.resource, plan, now_ms=6).action == "unchanged"
    assert change_of(added.resource, plan_of("events: {B: }"), now_ms=6).action == "changed"
