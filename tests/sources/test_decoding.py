"""Records of each format, decoded as a client of the format wrote them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from segops.config import SourceSettings
from segops.core.errors import DefinitionError, RejectedEvent
from segops.sources.avro import AvroSchema
from segops.sources.decoding import Decoder
from segops.sources.mapping import Decoded
from segops.sources.model import Source
from segops.sources.registry import Registry, RegistryAway

from .helpers import AT_MS, Written, source_of
from .small_registry import SmallRegistry, frame

MONEY = {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "note", "type": ["null", "string"]},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
    ],
}
AVRO_ORDER = {
    "id": "o1",
    "at": datetime(2026, 3, 1, tzinfo=UTC),
    "total": Decimal("19.99"),
    "note": None,
    "tags": {"k": "v"},
}
PLAIN_ORDER = {**AVRO_ORDER, "at": "2026-03-01T00:00:00.000Z"}


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with SmallRegistry().serving() as found:
        yield found


def avro(schema: object, value: object) -> bytes:
    """Return a value as Avro."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def decoded(source: Source, *records: Written, url: str | None = None) -> list[Decoded | Exception | None]:
    """Decode records one after the other with one decoder."""

    async def run() -> list[Decoded | Exception | None]:
        async with Registry(SourceSettings(registry_url=url)) as registry:
            decoder = Decoder(source, registry)
            return await asyncio.gather(
                *(decoder.decode(record, 2) for record in records), return_exceptions=True
            )

    return asyncio.run(run())


def value_of(source: Source, value: bytes, url: str | None = None) -> Any:
    """Return the decoded value of one record. Raises what the decoder raises."""
    (found,) = decoded(source, Written(value), url=url)
    if isinstance(found, Exception):
        raise found
    return found and found.value


@pytest.fixture
def of_format(tmp_path: Path) -> Any:
    return lambda text: source_of(f"{text}\nmap: {{event: A, userId: id}}", tmp_path)


@pytest.mark.parametrize("value", [b'{"id": 1}', b'\xef\xbb\xbf{"id": 1}', frame(9, b'{"id": 1}')])
def test_json_is_decoded(of_format: Any, value: bytes) -> None:
    assert value_of(of_format("format: json"), value) == {"id": 1}


@pytest.mark.parametrize("value", [b"", b"{", b"[1]", b"7", b"\xff", b"\x00\x00", b"[" * 100_000])
def test_other_bytes_are_rejected(of_format: Any, value: bytes) -> None:
    with pytest.raises(RejectedEvent) as caught:
        value_of(of_format("format: json"), value)
    assert caught.value.reason == "undecodable"


def test_key_headers_and_position_are_known(of_format: Any) -> None:
    record = Written(b"{}", b'{"id": 7}', [("h", b"x")], 5)
    (found,) = decoded(of_format("format: json"), record)
    assert isinstance(found, Decoded)
    assert found.origin == "orders:2:5"
    assert found.meta == {"$key": {"id": 7}, "$timestamp": AT_MS, "$headers": {"h": "x"}}


def test_tombstone_is_nothing(of_format: Any) -> None:
    assert decoded(of_format("format: json"), Written(None)) == [None]


def test_avro_is_decoded_by_the_schema_of_the_registry(of_format: Any, registry: SmallRegistry) -> None:
    registry.add(5, ORDER)
    value = frame(5, avro(ORDER, AVRO_ORDER))
    found = decoded(of_format("format: avro"), *[Written(value)] * 50, url=registry.url)
    assert {json.dumps(each.value, default=str) for each in found} == {json.dumps(PLAIN_ORDER, default=str)}  # type: ignore[union-attr]
    assert registry.asked == {"/schemas/ids/5": 1}


def test_avro_schema_may_refer_to_others(of_format: Any, registry: SmallRegistry) -> None:
    order = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "Money"}]}
    registry.subjects["money", 2] = {"schema": json.dumps(MONEY)}
    registry.add(5, order, references=[{"name": "Money", "subject": "money", "version": 2}])
    named: dict[str, Any] = {}
    fastavro.parse_schema(MONEY, named)
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(order, named), {"total": {"cents": 5}})
    assert value_of(of_format("format: avro"), frame(5, stream.getvalue()), registry.url) == {
        "total": {"cents": 5}
    }


def test_schema_may_change_within_a_topic(
    of_format: Any, registry: SmallRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    later = {"type": "record", "name": "Order", "fields": [{"name": "order_id", "type": "string"}]}
    registry.add(5, ORDER)
    registry.add(6, later)
    values = [frame(5, avro(ORDER, AVRO_ORDER)), frame(6, avro(later, {"order_id": "o2"}))]
    found = decoded(of_format("format: avro"), *map(Written, values), url=registry.url)
    assert [each.value for each in found] == [PLAIN_ORDER, {"order_id": "o2"}]  # type: ignore[union-attr]
    assert [each.message for each in caplog.records] == ["orders: schema 6 lacks what the mapping reads: id"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"id": 1}', "undecodable"),
        (frame(5, b"\x04o1"), "undecodable"),
        (frame(5, avro(ORDER, AVRO_ORDER) + b"x"), "undecodable"),
        (frame(6, b"x"), "undecodable"),
        (frame(7, b"x"), "undecodable"),
        (frame(404, b"x"), "unknown_schema"),
    ],
)
def test_what_is_not_avro_is_rejected(
    of_format: Any, registry: SmallRegistry, value: bytes, reason: str
) -> None:
    registry.add(5, ORDER)
    registry.add(6, {"type": "record"})
    registry.add(7, "syntax", "PROTOBUF")
    found = decoded(of_format("format: avro"), Written(value), Written(value), url=registry.url)
    assert [error.reason for error in found] == [reason] * 2  # type: ignore[union-attr]
    assert max(registry.asked.values(), default=0) <= 1


@given(payload=st.binary(max_size=60))
def test_any_payload_is_decoded_or_rejected(payload: bytes) -> None:
    try:
        value = AvroSchema(json.dumps(ORDER)).decode(payload)
    except RejectedEvent:
        return
    assert value.keys() == AVRO_ORDER.keys()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_registry_that_refuses_is_away(of_format: Any, registry: SmallRegistry, status: int) -> None:
    registry.status = status
    with pytest.raises(RegistryAway, match=f"status {status}"):
        value_of(of_format("format: avro"), frame(5, b""), registry.url)


def test_registry_that_is_not_there_is_away(of_format: Any) -> None:
    for url in ("http://127.0.0.1:1", None):
        with pytest.raises(RegistryAway):
            value_of(of_format("format: avro"), frame(5, b""), url)


def test_login_is_sent(of_format: Any, registry: SmallRegistry) -> None:
    registry.add(5, ORDER)
    registry.login_with("key", "s3cret")

    async def fetch(**login: str) -> str:
        async with Registry(SourceSettings(registry_url=registry.url, **login)) as client:
            return (await client.schema(5)).type

    assert asyncio.run(fetch(registry_username="key", registry_password="s3cret")) == "AVRO"
    with pytest.raises(RegistryAway, match="status 401") as caught:
        asyncio.run(fetch(registry_username="key", registry_password="wrong"))
    assert "wrong" not in str(caught.value)
    registry.login = "Bearer t0ken"
    assert asyncio.run(fetch(registry_token="t0ken")) == "AVRO"


def test_avro_without_a_registry(tmp_path: Path) -> None:
    (tmp_path / "order.avsc").write_text(json.dumps(ORDER))
    text = "format: avro\nschema: order.avsc\nmap: {event: A, userId: id}"
    assert value_of(source_of(text, tmp_path), avro(ORDER, AVRO_ORDER)) == PLAIN_ORDER
    framed = source_of(f"framing: confluent\n{text}", tmp_path)
    assert value_of(framed, frame(77, avro(ORDER, AVRO_ORDER))) == PLAIN_ORDER
    (tmp_path / "order.avsc").write_text('{"type": "order"}')
    with pytest.raises(DefinitionError, match="orders: schema: invalid Avro schema"):
        value_of(source_of(text, tmp_path), b"")


# -- protobuf ------------------------------------------------------------------------------------------


def file_of() -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptor of a file with messages Other and Order (with Line nested in it)."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.message_type.add(name="Other")
    order = file.message_type.add(name="Order")
    line = order.nested_type.add(name="Line")
    line.field.add(name="sku", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    status = order.enum_type.add(name="Status")
    status.value.add(name="NEW", number=0)
    status.value.add(name="PAID", number=1)
    entry = order.nested_type.add(name="TagsEntry")
    entry.options.map_entry = True
    for number, name in enumerate(("key", "value"), 1):
        entry.field.add(name=name, number=number, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    fields: list[tuple[str, Any, Any, str]] = [
        ("id", field.TYPE_INT64, field.LABEL_OPTIONAL, ""),
        ("lines", field.TYPE_MESSAGE, field.LABEL_REPEATED, ".shop.Order.Line"),
        ("status", field.TYPE_ENUM, field.LABEL_OPTIONAL, ".shop.Order.Status"),
        ("tags", field.TYPE_MESSAGE, field.LABEL_REPEATED, ".shop.Order.TagsEntry"),
        ("at", field.TYPE_MESSAGE, field.LABEL_OPTIONAL, ".google.protobuf.Timestamp"),
        ("raw", field.TYPE_BYTES, field.LABEL_OPTIONAL, ""),
    ]
    for number, (name, type_, label, of) in enumerate(fields, 1):
        order.field.add(name=name, number=number, type=type_, label=label, type_name=of or None)
    return file


def order_message() -> bytes:
    """Return an order as protobuf."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file_of())
    message: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))()
    message.id, message.status, message.raw = 1 << 53, 1, b"x"
    message.lines.add(sku="A")
    message.tags["k"] = "v"
    message.at.FromDatetime(datetime(2026, 3, 1, tzinfo=UTC))
    return bytes(message.SerializeToString())


PROTOBUF_ORDER = {
    "id": 1 << 53,
    "lines": [{"sku": "A"}],
    "status": "PAID",
    "tags": {"k": "v"},
    "at": "2026-03-01T00:00:00Z",
    "raw": "x",
}


def serialized() -> str:
    return base64.b64encode(file_of().SerializeToString()).decode()


def test_protobuf_is_decoded_by_the_registry(of_format: Any, registry: SmallRegistry) -> None:
    registry.add(5, serialized(), "PROTOBUF")
    value = frame(5, b"\x02\x02" + order_message())
    assert value_of(of_format("format: protobuf"), value, registry.url) == PROTOBUF_ORDER
    line = frame(5, b"\x04\x02\x00" + b"\x0a\x01A")
    assert value_of(of_format("format: protobuf"), line, registry.url) == {"sku": "A"}


@pytest.mark.parametrize("payload", [b"\x08\x02", b"\x02\x02\xff", b"", b"\x04\x02\x09"])
def test_what_is_not_protobuf_is_rejected(of_format: Any, registry: SmallRegistry, payload: bytes) -> None:
    registry.add(5, serialized(), "PROTOBUF")
    with pytest.raises(RejectedEvent) as caught:
        value_of(of_format("format: protobuf"), frame(5, payload), registry.url)
    assert caught.value.reason == "undecodable"


def test_registry_without_serialized_schemas_is_waited_for(of_format: Any, registry: SmallRegistry) -> None:
    registry.add(5, 'syntax = "proto3";', "PROTOBUF")
    with pytest.raises(RegistryAway, match="name a descriptor set"):
        value_of(of_format("format: protobuf"), frame(5, b"\x00"), registry.url)


def test_protobuf_without_a_registry(tmp_path: Path) -> None:
    files = descriptor_pb2.FileDescriptorSet()
    files.file.add().CopyFrom(file_of())
    (tmp_path / "shop.desc").write_bytes(files.SerializeToString())
    text = "format: protobuf\nschema: shop.desc\nmessage: {}\nmap: {{event: A, userId: id}}"
    source = source_of(text.format("shop.Order"), tmp_path)
    assert value_of(source, order_message()) == PROTOBUF_ORDER
    with pytest.raises(DefinitionError, match="no message shop"):
        value_of(source_of(text.format("shop.Cart"), tmp_path), b"")
