"""From a Kafka record of a source to plain values."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from segops.core.errors import DefinitionError, Issue, RejectedEvent, UserError
from segops.schemas.records import Headers, Record
from segops.sources.conversions import plain
from segops.sources.debezium import unwrap
from segops.sources.framing import UNDECODABLE, message_indexes, unframe
from segops.sources.mapping import Decoded
from segops.sources.model import Source
from segops.sources.registry import RegisteredSchema, Registry

log = logging.getLogger(__name__)

_MAX_SCHEMAS: Final = 1_000
#: A bare number may be an identifier such as 12e5, which is text.
_JSON_BEGINS: Final = ("{", "[", '"')


class Schema(Protocol):
    """What decodes the payloads of one schema."""

    def decode(self, payload: bytes) -> Any: ...
    def lacks(self, path: tuple[str, ...]) -> bool: ...


class Decoder:
    """Decodes the records of one source.

    Raises UserError if a library for its format is not installed, DefinitionError if its schema is invalid.
    """

    def __init__(self, source: Source, registry: Registry) -> None:
        self._source = source
        self._registry = registry
        self._schemas: dict[tuple[int, tuple[int, ...]], Schema | RejectedEvent] = {}
        self._own: Schema | None = None
        if source.encoding != "json":
            _require_library(source.encoding)
        if source.schema is not None:
            self._own = _own_schema(source)

    async def decode(self, record: Record, partition: int) -> Decoded | None:
        """Return a decoded record; None for a tombstone, and for what changes no row.

        Raises RejectedEvent if it cannot be decoded, RegistryAway while its schema cannot be fetched.
        """
        if record.value is None:
            return None
        written = await self._value(record.value)
        origin = f"{self._source.topic}:{partition}:{record.offset}"
        meta = {
            "$key": _key(record.key),
            "$timestamp": record.timestamp,
            "$headers": _headers(record.headers),
        }
        if self._source.format == "debezium":
            change = unwrap(plain(written))
            if change is None:
                return None
            meta |= change.meta
            return Decoded(origin, record.timestamp, change.row, meta, change.operation, change.time_ms)
        value = plain(written)
        if not isinstance(value, dict):
            raise RejectedEvent(UNDECODABLE, f"expected an object, got {type(value).__name__}")
        return Decoded(origin, record.timestamp, value, meta)

    async def _value(self, value: bytes) -> Any:
        source = self._source
        if source.encoding == "json":
            return _json(value)
        if self._own is not None:
            return self._own.decode(self._unframed(value))
        schema_id, payload = unframe(value)
        schema = await self._registry.schema(schema_id)
        indexes: tuple[int, ...] = ()
        if source.encoding == "protobuf":
            indexes, payload = message_indexes(payload)
        return self._schema(schema, indexes).decode(payload)

    def _unframed(self, value: bytes) -> bytes:
        if self._source.framing == "none":
            return value
        payload = unframe(value).payload
        return message_indexes(payload)[1] if self._source.encoding == "protobuf" else payload

    def _schema(self, registered: RegisteredSchema, indexes: tuple[int, ...]) -> Schema:
        """Return the parsed schema; parse each once. Raises RejectedEvent if it is invalid."""
        key = registered.id, indexes
        if key not in self._schemas:
            if len(self._schemas) >= _MAX_SCHEMAS:
                self._schemas.clear()
            self._schemas[key] = self._parsed(registered, indexes)
        found = self._schemas[key]
        if isinstance(found, RejectedEvent):
            raise RejectedEvent(found.reason, found.detail)
        return found

    def _parsed(self, registered: RegisteredSchema, indexes: tuple[int, ...]) -> Schema | RejectedEvent:
        source, where = self._source, f"schema {registered.id}"
        expected = source.encoding.upper()
        if registered.type != expected:
            return RejectedEvent(UNDECODABLE, f"{where} is {registered.type}, expected {expected}")
        try:
            schema = _parse(registered, indexes)
        except ValueError as error:
            return RejectedEvent(UNDECODABLE, f"{where}: {error}")
        missing = sorted(".".join(path) for path in self._row_paths() if schema.lacks(path))
        log.info("%s: records of %s", source.topic, where)
        if missing:
            log.warning("%s: %s lacks what the mapping reads: %s", source.topic, where, ", ".join(missing))
        return schema

    def _row_paths(self) -> set[tuple[str, ...]]:
        paths = self._source.paths()
        return {("after", *path) for path in paths} if self._source.format == "debezium" else paths


def _require_library(encoding: str) -> None:
    try:
        __import__("fastavro" if encoding == "avro" else "google.protobuf")
    except ImportError as error:
        install = "pip install 'segops-engine[sources]'"
        raise UserError(f"{encoding} sources need the extra `sources`: {install}") from error


def _own_schema(source: Source) -> Schema:
    registered = RegisteredSchema(0, source.encoding.upper(), source.schema or "")
    try:
        if source.encoding == "protobuf":
            from segops.sources.protobuf import ProtobufSchema

            return ProtobufSchema.described(registered.text, source.message or "")
        return _parse(registered, ())
    except ValueError as error:
        raise DefinitionError([Issue(source.topic, "schema", str(error))]) from None


def _parse(registered: RegisteredSchema, indexes: tuple[int, ...]) -> Schema:
    if registered.type == "PROTOBUF":
        from segops.sources.protobuf import ProtobufSchema

        return ProtobufSchema.registered(registered.text, registered.references, indexes)
    from segops.sources.avro import AvroSchema

    return AvroSchema(registered.text, registered.references)


def _json(value: bytes) -> Any:
    """Decode JSON; a registry's framing before it is skipped, since no JSON begins with a zero byte."""
    text = unframe(value).payload if value[:1] == b"\x00" else value.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedEvent(UNDECODABLE, f"not JSON: {error}") from None


def _key(key: bytes | None) -> Any:
    r"""Return a record's key: the value of JSON, other text as it is; None if it is neither.

    >>> _key(b'{"id": 7}'), _key(b"12e5"), _key(b"\xff")
    ({'id': 7}, '12e5', None)
    """
    try:
        text = (key or b"").decode()
        return msgspec.json.decode(text) if text[:1] in _JSON_BEGINS else text or None
    except msgspec.DecodeError:
        return text
    except (UnicodeDecodeError, RecursionError):
        return None


def _headers(headers: Headers) -> Mapping[str, str]:
    return {name: value.decode(errors="replace") for name, value in headers if value is not None}
