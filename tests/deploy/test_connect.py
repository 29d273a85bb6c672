"""The connectors of deploy/connect read topics that exist, in the form, and hold no secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from segops import config
from segops.brokers.base import KAFKA_VERSION
from segops.core.events import Change
from segops.kafka.topics import topic_specs
from segops.output.connect_json import FORM
from segops.output.converting import copies_of
from segops.output.formats import FORMATS
from segops.schemas.changes import encode_change
from tests.output.helpers import Written, changes
from tests.output.sinks import FieldTypes, take_elasticsearch, take_http, take_jdbc, take_s3

FOLDER = Path(__file__).parents[2] / "deploy/connect"
CONNECTORS: dict[str, dict[str, str]] = {
    path.stem: json.loads(path.read_text("utf-8"))["config"] for path in sorted(FOLDER.glob("*.json"))
}
every_connector = pytest.mark.parametrize("name", CONNECTORS)
#: How a connector treats null values, if it takes any.
DELETES = {"delete.enabled": "true", "behavior.on.null.values": "delete"}
WITH_SCHEMA = {"connect-json": "true", "json": "false"}


def specs() -> dict[str, Any]:
    """Return all topics, with the format of those that have one."""
    found = {spec.name: ("json", spec) for spec in topic_specs(config.load())}
    for name in FORMATS:
        of_format = topic_specs(config.load(output={"format": name}))
        found = {**{spec.name: (name, spec) for spec in of_format}, **found}
    return found


@every_connector
def test_topic_exists_and_the_converters_fit_its_form(name: str) -> None:
    connector = CONNECTORS[name]
    form, spec = specs()[connector["topics"]]
    converter = connector["value.converter"].rpartition(".")[2]
    assert converter == "StringConverter" or (
        connector["value.converter.schemas.enable"] == WITH_SCHEMA[form] and converter == "JsonConverter"
    )
    text_keys = connector["key.converter"].endswith("StringConverter")
    assert text_keys == (form != "connect-json")
    takes_null = any(connector.get(option) == value for option, value in DELETES.items())
    assert takes_null == (spec.cleanup_policy == "compact"), "a compacted topic has tombstones"


@every_connector
def test_secrets_are_variables_and_records_are_committed(name: str) -> None:
    connector = CONNECTORS[name]
    secret = re.compile("password|secret|authorization$|access.key|username")
    found = {option: value for option, value in connector.items() if secret.search(option)}
    assert found
    assert all(re.fullmatch(r"\$\{env:[A-Z0-9_]+\}", value) for value in found.values()), found
    assert connector["consumer.override.isolation.level"] == "read_committed"


def test_every_file_is_explained_and_versions_are_those_of_the_broker() -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    for path in FOLDER.iterdir():
        assert path.name == "README.md" or f"]({path.name})" in page
    kafka = (FOLDER.parent / "kafka/pom.xml").read_text("utf-8")
    worker = (FOLDER / "worker-pom.xml").read_text("utf-8")
    for version in ("kafka.version", "log4j.version"):
        pattern = rf"<{version}>(.*)</{version}>"
        assert re.findall(pattern, worker) == re.findall(pattern, kafka)
    assert f"<kafka.version>{KAFKA_VERSION}<" in worker


# -- the records that they read ----------------------------------------------------------------------------


@given(changes(), changes())
def test_records_of_the_membership_topics_are_taken_by_their_sinks(first: Change, second: Change) -> None:
    types = FieldTypes()
    for change in (first, second):
        value = encode_change(change, 7)
        types.add(take_http(value))
        assert take_s3(value, "occurred_at")["change_id"] == change.change_id
        key = f"{change.profile_id}|{change.segment_key}".encode()
        assert take_elasticsearch(key, value)[0].rpartition("|")[2] == change.segment_key
        assert take_elasticsearch(key, None)[1] is None


@given(changes())
def test_records_of_an_output_topic_are_taken_by_the_jdbc_sink(change: Change) -> None:
    settings = config.load(output={"format": "connect-json"})
    memberships, _ = copies_of(settings, FORM)
    assert CONNECTORS["jdbc-postgresql"]["topics"] == memberships.target
    key = f"{change.profile_id}|{change.segment_key}".encode()
    row = memberships.convert(Written(key, encode_change(change, 7)))
    gone = memberships.convert(Written(key, None))
    assert row is not None and gone is not None and row.key is not None and gone.key is not None
    primary_key, columns = take_jdbc(row.key, row.value)
    assert take_jdbc(gone.key, gone.value) == (primary_key, None)
    assert columns is not None and columns["change_id"] == change.change_id
