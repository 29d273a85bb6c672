"""The AsyncAPI document is that of the topics and structs, is valid, and describes what is published."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given

from segops import config
from segops.core.events import Change
from segops.kafka.topics import topic_specs
from segops.output import cloudevents, connect_json, segment
from segops.output.formats import FORMATS
from segops.schemas.changes import encode_change
from tests import asyncapi
from tests.collector.npm import installed
from tests.output.helpers import changes
from tests.rest import rest

SPECIFICATION = "@asyncapi/specs@6.11.1"
DOCUMENT = yaml.safe_load(asyncapi.FILE.read_text("utf-8"))


def test_file_is_what_the_topics_and_structs_say() -> None:
    assert asyncapi.FILE.read_text("utf-8") == asyncapi.text(), "run: python -m tests.asyncapi"


def test_every_topic_is_a_channel_and_every_reference_leads_somewhere() -> None:
    names = {spec.name for spec in topic_specs(config.load())}
    for form in FORMATS:
        names |= {spec.name for spec in topic_specs(config.load(output={"format": form}))}
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == names
    assert names - asyncapi.table().keys() == {name for name in names if ".output." in name}
    for reference in references(DOCUMENT):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


@rest
def test_document_is_valid() -> None:
    folder = installed(SPECIFICATION) / "@asyncapi/specs/schemas"
    schema = json.loads((folder / "3.1.0.json").read_text("utf-8"))
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    assert not validator.is_valid({**DOCUMENT, "info": {"version": "1"}})


def payload_of(topic: str) -> dict[str, Any]:
    """Return the schema of a topic's values, its references to be resolved in the document."""
    channel = next(each for each in DOCUMENT["channels"].values() if each["address"] == topic)
    message = channel["messages"]["record"]
    if "$ref" in message:
        message = DOCUMENT["components"]["messages"][message["$ref"].rpartition("/")[2]]
    return {**message["payload"], "components": DOCUMENT["components"]}


def check(topic: str, value: bytes) -> None:
    jsonschema.Draft202012Validator(payload_of(topic)).validate(json.loads(value))


@given(changes())
def test_published_records_are_those_of_the_document(change: Change) -> None:
    for topic in ("segops.membership.changes", "segops.membership.state"):
        check(topic, encode_change(change, change.evaluated_at))
    forms = {
        "connect-json": connect_json.FORM,
        "segment": segment.form("segops"),
        "cloudevents": cloudevents.form("segops"),
    }
    for name, form in forms.items():
        check(f"segops.output.{name}.memberships", form.membership(change))
        check(f"segops.output.{name}.changes", form.change(change))


@pytest.mark.parametrize("value", [b"{}", b'{"schema": {}, "payload": {}}', b"[]"])
def test_other_records_are_not(value: bytes) -> None:
    for name in ("connect-json", "segment", "cloudevents"):
        with pytest.raises(jsonschema.ValidationError):
            check(f"segops.output.{name}.changes", value)
