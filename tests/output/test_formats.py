"""Each format can be read back, and is what its readers demand."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given

from segops.config import Settings, SourceSettings, load
from segops.core.errors import UserError
from segops.core.events import Change
from segops.core.values import format_instant
from segops.output import avro, cloudevents, connect_json, segment
from segops.output.columns import COLUMNS
from segops.output.form import Form
from segops.output.formats import FORMATS, check
from segops.sources.framing import unframe
from segops.sources.registry import Registry, RegistryAway
from tests.sources.small_registry import SmallRegistry

from .helpers import CHANGE, LEFT, changes, plain
from .sinks import FieldTypes, connect_data, strict_json, take_http, take_jdbc

MEMBERSHIPS, CHANGES = "segops.output.avro.memberships", "segops.output.avro.changes"


def settings_of(**output: str) -> Settings:
    return load(output=output)


def test_columns_are_the_fields_of_a_change() -> None:
    assert tuple(COLUMNS) == Change.__struct_fields__


# -- connect-json ------------------------------------------------------------------------------------------


@given(changes())
def test_connect_json_is_taken_by_jdbc_sinks_and_has_every_column(change: Change) -> None:
    form, row = connect_json.FORM, plain(change)
    key = form.membership_key(change.profile_id, change.segment_key)
    expected = (row["profile_id"], row["segment_key"])
    assert take_jdbc(key, form.membership(change)) == (expected, row)
    assert take_jdbc(key, None) == (expected, None)
    assert take_jdbc(form.change_key(change.profile_id), form.change(change)) == (expected[:1], row)


def test_connect_json_declares_times_as_timestamps() -> None:
    schema = json.loads(connect_json.FORM.membership(CHANGE))["schema"]
    types = {field["field"]: (field["type"], field.get("name")) for field in schema["fields"]}
    timestamp = ("int64", "org.apache.kafka.connect.data.Timestamp")
    assert [name for name, found in types.items() if found == timestamp] == [
        "occurred_at",
        "evaluated_at",
        "flips_at",
    ]
    assert connect_data(connect_json.FORM.membership(LEFT))["member"] is False


# -- avro --------------------------------------------------------------------------------------------------


def avro_form(registry: SmallRegistry) -> Form:
    async def run() -> Form:
        async with Registry(SourceSettings(registry_url=registry.url)) as client:
            return await avro.open_form(client, MEMBERSHIPS, CHANGES)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def registry() -> Any:
    with SmallRegistry().serving() as registry:
        yield registry


def read(registry: SmallRegistry, data: bytes) -> Any:
    """Return a record as a consumer reads it, with the schema that the registry has under its id."""
    framed = unframe(data)
    schema = fastavro.parse_schema(json.loads(registry.schemas[framed.schema_id]["schema"]))
    stream = BytesIO(framed.payload)
    value = fastavro.schemaless_reader(stream, schema, None)
    assert stream.read() == b""
    return value


@given(changes())
def test_avro_is_read_with_the_registered_schema(registry: SmallRegistry, change: Change) -> None:
    form, row = avro_form_once(registry), plain(change)
    for value in (form.membership(change), form.change(change)):
        found = read(registry, value)
        times = {name for name, column in COLUMNS.items() if column.kind == "timestamp"}
        assert list(found) == list(row)
        assert {name: found[name] for name in row if name not in times} == {
            name: row[name] for name in row if name not in times
        }
    key = read(registry, form.membership_key(change.profile_id, change.segment_key))
    assert key == {name: row[name] for name in ("profile_id", "segment_key")}
    assert read(registry, form.change_key(change.profile_id)) == {"profile_id": row["profile_id"]}


_forms: dict[str, Form] = {}


def avro_form_once(registry: SmallRegistry) -> Form:
    if registry.url not in _forms:
        _forms[registry.url] = avro_form(registry)
    return _forms[registry.url]


def test_avro_writes_times_in_milliseconds(registry: SmallRegistry) -> None:
    found = read(registry, avro_form_once(registry).membership(CHANGE))
    assert found["occurred_at"].timestamp() * 1000 == CHANGE.occurred_at
    assert found["flips_at"] is None


def test_schemas_are_registered_once_under_the_topics() -> None:
    with SmallRegistry().serving() as registry:
        first = avro_form(registry)
        assert {(subject, number) for subject, number in registry.subjects} == {
            (f"{topic}-{part}", 1) for topic in (MEMBERSHIPS, CHANGES) for part in ("key", "value")
        }
        registry.asked.clear()
        assert avro_form(registry).membership(CHANGE) == first.membership(CHANGE)
        assert not [path for path in registry.asked if path.endswith("/versions")]


def test_refused_schema_is_an_operators_error_and_an_absent_registry_is_not() -> None:
    with SmallRegistry().serving() as registry:
        registry.refused.add(f"{MEMBERSHIPS}-value")
        with pytest.raises(UserError, match=r"memberships-value/versions: .*a field was removed"):
            avro_form(registry)
        registry.refused.clear()
        registry.status = 503
        with pytest.raises(RegistryAway, match="status 503"):
            avro_form(registry)
        registry.status = 200
        registry.login_with("ann", "secret")
        with pytest.raises(RegistryAway, match="status 401"):
            avro_form(registry)
    with pytest.raises(RegistryAway):
        avro_form(registry)


# -- cloudevents -------------------------------------------------------------------------------------------


@given(changes())
def test_cloudevents_hold_the_change_and_the_key(change: Change) -> None:
    form = cloudevents.form("shop")
    key = form.membership_key(change.profile_id, change.segment_key).decode()
    for value, partition_key in (
        (form.membership(change), key),
        (form.change(change), form.change_key(change.profile_id).decode()),
    ):
        event = take_http(value)
        assert all(name.isalnum() and name.islower() and len(name) <= 20 for name in event)
        data = event.pop("data")
        assert list(data) == list(Change.__struct_fields__)
        assert data == {name: getattr(change, name) for name in data}
        assert event == {
            "specversion": "1.0",
            "id": change.change_id,
            "source": "segops/shop",
            "type": f"segops.membership.{change.action}",
            "subject": change.segment_key,
            "time": format_instant(change.occurred_at),
            "partitionkey": partition_key,
            "datacontenttype": "application/json",
        }


# -- segment -----------------------------------------------------------------------------------------------


@given(changes())
def test_segment_calls_have_an_id_and_state_the_membership(change: Change) -> None:
    form = segment.form("shop")
    track, identify = take_http(form.change(change)), take_http(form.membership(change))
    for call in (track, identify):
        assert call.get("userId") == change.user_id
        expected = change.anonymous_id if change.user_id or change.anonymous_id else change.profile_id
        assert call.get("anonymousId") == expected
        assert (call["messageId"], call["timestamp"]) == (
            change.change_id,
            format_instant(change.occurred_at),
        )
        assert call["context"]["personas"]["computation_key"] == change.segment_key
        assert call["context"]["traits"].get("email") == change.email
    assert (track["type"], identify["type"]) == ("track", "identify")
    assert track["event"] == ("Audience Entered" if change.member else "Audience Exited")
    assert track["properties"]["audience_key"] == change.segment_key
    assert identify["traits"][change.segment_key] is change.member


def test_segment_call_of_a_change() -> None:
    assert strict_json(segment.form("shop").change(LEFT)) == {
        "type": "track",
        "event": "Audience Exited",
        "messageId": "c13",
        "userId": "u1",
        "timestamp": "2025-10-09T08:53:20.000Z",
        "context": {
            "traits": {"email": "ann@example.com"},
            "personas": {
                "computation_class": "audience",
                "computation_id": "aud_vip",
                "computation_key": "vip",
                "namespace": "spa_shop",
                "space_id": "spa_shop",
            },
        },
        "properties": {"vip": False, "audience_key": "vip"},
    }


# -- all ---------------------------------------------------------------------------------------------------


@given(changes(), changes())
def test_types_of_fields_never_change(first: Change, second: Change) -> None:
    for form in (connect_json.FORM, cloudevents.form("shop"), segment.form("shop")):
        for write in (form.membership, form.change):
            types = FieldTypes()
            types.add(take_http(write(first)))
            types.add(take_http(write(second)))


def test_settings_name_a_format_that_is_known() -> None:
    for name in FORMATS:
        if name != "avro":
            check(settings_of(format=name))
    with pytest.raises(UserError, match=r"SEGOPS_OUTPUT_FORMAT is json: consumers read segops.membership.st"):
        check(settings_of())
    with pytest.raises(UserError, match="SEGOPS_SCHEMA_REGISTRY_URL is required"):
        check(settings_of(format="avro"))
    with pytest.raises(UserError, match="SEGOPS_OUTPUT_FORMAT"):
        settings_of(format="xml")
