"""The AsyncAPI document of all topics, from their specifications, their structs and the table of topics.

``python -m tests.asyncapi`` writes it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from segops import __version__
from segops.config import Settings, load
from segops.core.audiences.audit import AuditEntry
from segops.core.events import Change, IndicatorValue
from segops.kafka.topics import TopicSpec, topic_specs
from segops.output.avro import SCHEMAS
from segops.output.columns import CHANGE_KEY, COLUMNS, MEMBERSHIP_KEY
from segops.output.connect_json import struct_schema
from segops.output.formats import FORMATS
from segops.schemas.access_audit import AccessEntry
from segops.schemas.alerts import AlertRecord, Evaluated
from segops.schemas.erasures import Receipt
from segops.schemas.sizes import EndedRecord, PopulationRecord, SizeRecord, TrendRecord
from segops.tracking.violations import ViolationRecord

ROOT: Final = Path(__file__).parents[1]
FILE: Final = ROOT / "deploy/asyncapi.yaml"
_HEAD: Final = """\
# All topics of segops (AsyncAPI 3). Written by `python -m tests.asyncapi`; a test compares the two.
"""
_ABOUT: Final = """\
Topics of segops, with the default SEGOPS_TOPIC_PREFIX and SEGOPS_APP_ID. Producers write events to
segops.events; consumers read what segops publishes. A channel without an operation is internal: its records
may change with any version.
"""

#: Topic without the prefix -> the structs that its values are, by what other systems may rely on.
_STRUCTS: Final[Mapping[str, tuple[type, ...]]] = {
    "membership.changes": (Change,),
    "membership.state": (Change,),
    "indicators": (IndicatorValue,),
    "sizes": (SizeRecord, PopulationRecord),
    "trends": (TrendRecord, PopulationRecord, EndedRecord),
    "alerts": (AlertRecord, Evaluated),
    "receipts": (Receipt,),
    "violations": (ViolationRecord,),
    "access-audit": (AccessEntry,),
}
_EVENT: Final = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"enum": ["track", "identify", "page", "screen", "group", "alias"]},
        "event": {"type": "string"},
        "userId": {"type": ["string", "null"]},
        "anonymousId": {"type": ["string", "null"]},
        "messageId": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
        "properties": {"type": "object"},
        "traits": {"type": "object"},
        "context": {"type": "object"},
    },
}
#: Topic without the prefix -> the schema of values that no struct describes.
_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "events": _EVENT,
    "audit": {
        "type": "object",
        "required": ["entry", "signature"],
        "properties": {"entry": {"$ref": "#/components/schemas/AuditEntry"}, "signature": {"type": "string"}},
    },
}
#: What others write, and segops reads. All other channels with an operation are written by segops.
_RECEIVED: Final = ("events", "control")
_SENT: Final = (*_STRUCTS, "audit", "dead-letters")
#: Settings of topics that AsyncAPI's bindings for Kafka know.
_NUMBERS: Final = ("retention.ms", "retention.bytes", "delete.retention.ms")


def document() -> dict[str, Any]:
    """Return the document."""
    specs = _specs()
    structs = {each for found in _STRUCTS.values() for each in found} | {AuditEntry}
    _, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    channels = {_id(name): _channel(spec, form) for name, (spec, form) in specs.items()}
    operations = dict(_operation(name) for name in specs if _suffix(name) in (*_RECEIVED, *_SENT))
    operations |= dict(_operation(name) for name, (_, form) in specs.items() if form is not None)
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "segops",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": {name: _described(components[name]) for name in sorted(components)},
            "messages": _format_messages(),
        },
    }


def _specs() -> dict[str, tuple[TopicSpec, str | None]]:
    """Return each topic with its specification, and the format of an output topic."""
    found: dict[str, tuple[TopicSpec, str | None]] = {spec.name: (spec, None) for spec in topic_specs(load())}
    for form in FORMATS:
        for spec in topic_specs(_settings(form)):
            found.setdefault(spec.name, (spec, form))
    return found


def _settings(form: str) -> Settings:
    return load(output={"format": form})


def _id(topic: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", topic)


def _suffix(topic: str) -> str:
    return topic.removeprefix("segops.")


def _channel(spec: TopicSpec, form: str | None) -> dict[str, Any]:
    configs = {name: int(value) for name, value in spec.configs.items() if name in _NUMBERS}
    policy = spec.cleanup_policy.split(",")
    kafka = {
        "partitions": spec.partitions,
        "replicas": spec.replication,
        "topicConfiguration": {"cleanup.policy": policy, **configs},
        "bindingVersion": "0.5.0",
    }
    return {
        "address": spec.name,
        "description": spec.holds,
        "messages": {"record": _message(spec, form)},
        "bindings": {"kafka": kafka},
    }


def _message(spec: TopicSpec, form: str | None) -> dict[str, Any]:
    if form is not None:
        return {"$ref": f"#/components/messages/{form}-{spec.name.rpartition('.')[2]}"}
    key, value, headers = table()[spec.name]
    described = {"description": f"Value: {value}", "bindings": _key({"type": "string", "description": key})}
    if headers != "–":
        described["headers"] = {"type": "object", "description": headers}
    payload = _payload(_suffix(spec.name))
    return {**described, **({} if payload is None else {"payload": payload})}


def _key(schema: Any) -> dict[str, Any]:
    return {"kafka": {"key": schema, "bindingVersion": "0.5.0"}}


def _payload(suffix: str) -> dict[str, Any] | None:
    if suffix in _SCHEMAS:
        return dict(_SCHEMAS[suffix])
    refs = [{"$ref": f"#/components/schemas/{struct.__name__}"} for struct in _STRUCTS.get(suffix, ())]
    if not refs:
        return None
    return refs[0] if len(refs) == 1 else {"oneOf": refs}


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with the docstring of its struct as Markdown."""
    description = inspect.cleandoc(schema["description"]).replace("``", "`")
    return {**schema, "description": description}


def _operation(topic: str) -> tuple[str, dict[str, Any]]:
    action = "receive" if _suffix(topic) in _RECEIVED else "send"
    return f"{action}-{_id(topic)}", {"action": action, "channel": {"$ref": f"#/channels/{_id(topic)}"}}


# -- the formats of output topics --------------------------------------------------------------------------


def _format_messages() -> dict[str, Any]:
    return {
        f"{form}-{topic}": {"contentType": content_type, **message}
        for form, content_type, messages in (
            ("connect-json", "application/json", _connect_json()),
            ("avro", "application/vnd.apache.avro", _avro()),
            ("segment", "application/json", _segment()),
            ("cloudevents", "application/cloudevents+json", _cloudevents()),
        )
        for topic, message in messages.items()
    }


def _connect_json() -> dict[str, Any]:
    value = _envelope("Membership", tuple(COLUMNS))
    return {
        "memberships": {"payload": value, "bindings": _key(_envelope("MembershipKey", MEMBERSHIP_KEY))},
        "changes": {"payload": value, "bindings": _key(_envelope("ChangeKey", CHANGE_KEY))},
    }


_JSON_TYPES: Final = {"string": "string", "boolean": "boolean", "int64": "integer", "timestamp": "integer"}


def _envelope(name: str, columns: tuple[str, ...]) -> dict[str, Any]:
    types = {each: _JSON_TYPES[COLUMNS[each].kind] for each in columns}
    properties = {
        each: {"type": [kind, "null"] if COLUMNS[each].nullable else kind} for each, kind in types.items()
    }
    payload = {"type": "object", "properties": properties, "required": list(columns)}
    envelope = {"schema": {"const": struct_schema(name, columns)}, "payload": payload}
    for each in (payload, whole := {"type": "object", "properties": envelope, "required": list(envelope)}):
        each["additionalProperties"] = False
    return whole


def _avro() -> dict[str, Any]:
    version = "application/vnd.apache.avro;version=1.9.0"
    value = {"schemaFormat": version, "schema": SCHEMAS["value"]}
    return {
        name: {"payload": value, "bindings": _key({"schemaFormat": version, "schema": SCHEMAS[key]})}
        for name, key in (("memberships", "membership_key"), ("changes", "change_key"))
    }


def _segment() -> dict[str, Any]:
    call = {"type": "object", "required": ["type", "messageId", "timestamp", "context"]}
    ids = [{"required": ["userId"]}, {"required": ["anonymousId"]}]
    identify = {"type": {"const": "identify"}, "traits": {"type": "object"}}
    events = {"enum": ["Audience Entered", "Audience Exited"]}
    track = {"type": {"const": "track"}, "event": events, "properties": {"type": "object"}}
    return {
        "memberships": {"payload": {**call, "anyOf": ids, "properties": identify}, "bindings": _text_key()},
        "changes": {"payload": {**call, "anyOf": ids, "properties": track}, "bindings": _text_key()},
    }


def _cloudevents() -> dict[str, Any]:
    texts = ("id", "source", "type", "subject", "time", "partitionkey", "datacontenttype")
    properties: dict[str, Any] = {"specversion": {"const": "1.0"}}
    properties |= {name: {"type": "string"} for name in texts}
    properties["data"] = {"$ref": "#/components/schemas/Change"}
    payload = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {name: {"payload": payload, "bindings": _text_key()} for name in ("memberships", "changes")}


def _text_key() -> dict[str, Any]:
    return _key({"type": "string"})


# -- the table of topics -----------------------------------------------------------------------------------


def table() -> dict[str, tuple[str, str, str]]:
    """Return key, value and headers of each topic, of the table in ``segops/README.md``, without links."""
    return dict(_table_rows())


def _table_rows() -> Iterator[tuple[str, tuple[str, str, str]]]:
    for line in (ROOT / "segops/README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")]
        if len(cells) == 5 and line.startswith("| `segops"):
            key, value, headers = (_plain(cell) for cell in cells[2:])
            yield cells[0].strip("`"), (key, value, headers)


def _plain(cell: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell.replace("¦", "|"))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and what stands twice twice, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _written(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _written)


def text() -> str:
    """Return the document as YAML."""
    body = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return _HEAD + body


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
