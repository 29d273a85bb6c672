"""Source files: what is valid, and the place and reason of every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from segops.core.errors import DefinitionError
from segops.sources.parsing import decode, encode, load

from .helpers import mapped, source_of, sources_in

MAP = {"event": "Bought", "userId": "id"}


def mistakes(text: str, folder: Path) -> list[str]:
    """Return the mistakes of a source of the topic ``orders``, without the name of the file."""
    form = {"topic": "orders", "format": "json", "map": MAP, **yaml.safe_load(text)}
    with pytest.raises(DefinitionError) as caught:
        sources_in([form], folder)
    assert {issue.source for issue in caught.value.issues} == {str(folder / "sources.yaml")}
    return [f"{issue.path.removeprefix('sources[0].')}: {issue.reason}" for issue in caught.value.issues]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format: xml", ["format: expected one of json, avro, protobuf, debezium, got 'xml'"]),
        ("colour: red", ["colour: unknown key"]),
        ("from: yesterday", ["from: expected one of earliest, latest, got 'yesterday'"]),
        ("encoding: avro", ["encoding: only debezium has an encoding"]),
        ("message: shop.Order", ["message: only protobuf has a message"]),
        ("{format: avro, framing: none}", ["framing: avro without a registry's framing needs a schema"]),
        ("where: {total: {above: 3}}", ["where.total.above: unknown operator; expected one of "]),
        ("where: []", ["where: expected a non-empty map of properties to predicates"]),
        ("identifiers: {'e mail': email}", ["identifiers.e mail: expected a type of identifier"]),
        ("map: {event: Bought}", ["map: missing userId, anonymousId or identifiers"]),
        ("map: {userId: id}", ["map.event: missing key"]),
        ("map: {type: identify, event: A, userId: id}", ["map.event: unexpected key: only track"]),
        ("map: {type: buy, event: A, userId: id}", ["map.type: expected one of track, identify,"]),
        ("map: {event: '', userId: id}", ["map.event: expected the name of an event, or {path: …}"]),
        (
            "map: {event: A, userId: id, operations: [create]}",
            ["map.operations: only debezium has operations"],
        ),
        ("map: {event: A, userId: a..b}", ["map.userId: expected a property path, such as cart.total"]),
        ("map: {event: A, userId: 7}", ["map.userId: expected a property path, such as cart.total"]),
        ("map: {event: A, userId: {value: [1]}}", ["map.userId.value: expected a number, a string or"]),
        ("map: {event: A, userId: {as: string}}", ["map.userId: expected a map with path, such as"]),
        (
            "map: {event: A, userId: id, timestamp: {path: at, as: epoch}, properties: [a]}",
            [
                "map.properties: expected a map of 1 to 500 names",
                "map.timestamp.as: unknown conversion 'epoch'",
            ],
        ),
        ("map: [{event: A, userId: id}, {event: B}]", ["map[1]: missing userId, anonymousId or ident"]),
        ("map: []", ["map: expected a map, or a list of 1 to 20 maps"]),
        ("map: text", ["map: expected a map with type and any of event,"]),
        (
            "{format: debezium, map: {event: A, userId: id, operations: [insert]}}",
            ["map.operations: expected one of create,"],
        ),
    ],
)
def test_mistake_is_named_with_its_place(text: str, expected: list[str], tmp_path: Path) -> None:
    found = mistakes(text, tmp_path)
    assert len(found) == len(expected)
    for one, beginning in zip(found, expected, strict=True):
        assert one.startswith(beginning)


def test_mistakes_of_all_sources_are_reported(tmp_path: Path) -> None:
    forms: list[dict[str, Any]] = [
        {"topic": "a", "format": "xml", "map": MAP},
        {"topic": "segops.events", "format": "json", "map": MAP},
        {"topic": "b", "format": "json"},
    ]
    with pytest.raises(DefinitionError) as caught:
        sources_in(forms, tmp_path, own={"segops.events"})
    assert [issue.path for issue in caught.value.issues] == [
        "sources[0].format",
        "sources[1].topic",
        "sources[2].map",
    ]


def test_topic_has_one_source(tmp_path: Path) -> None:
    form = {"topic": "a", "format": "json", "map": MAP}
    with pytest.raises(DefinitionError, match=r"sources\[1\].topic: this topic has a source already"):
        sources_in([form, form], tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version: 2\nsources: [{}]", "version"),
        ("version: 1\nsources: []", "sources: expected a non-empty list"),
        ("[", "line 2"),
        ("", "expected a map"),
    ],
)
def test_unreadable_file_is_named(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(text)
    with pytest.raises(DefinitionError, match=reason):
        load(file)
    with pytest.raises(DefinitionError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_published_source_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "order.avsc").write_text('{"type": "string"}')
    text = (
        "{schema: order.avsc, from: latest, where: {a: 1}, map: {event: A, userId: id, operations: [delete]}}"
    )
    source = source_of(text.replace(", operations: [delete]", ""), tmp_path, format="avro")
    assert (source.schema, source.framing, source.begin) == ('{"type": "string"}', "none", "latest")
    again = decode(encode(source))
    assert again.written == source.written and again.schema == source.schema
    assert mapped(again, {"a": 1, "id": "u"}) == mapped(source, {"a": 1, "id": "u"})


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'{"source": 1, "since_ms": 0}', b'{"source": {"topic": "a"}, "since_ms": 0}']
)
def test_foreign_record_is_a_definition_error(value: bytes) -> None:
    with pytest.raises(DefinitionError):
        decode(value)


def test_schema_file_must_be_readable(tmp_path: Path) -> None:
    found = mistakes("{format: avro, schema: missing.avsc}", tmp_path)
    assert found[0].startswith(f"schema: cannot read {tmp_path / 'missing.avsc'}")
    (tmp_path / "large.avsc").write_bytes(b" " * 500_001)
    assert mistakes("{format: avro, schema: large.avsc}", tmp_path)[0].startswith(
        "schema: expected at most 500,000"
    )
