"""Source files and the records of the sources topic, to and from validated sources."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.core.errors import DefinitionError, Issue
from segops.core.rules.parsing import Context, Reader, path_of_element
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.written import check_bounds, read_json, read_yaml
from segops.sources.conversions import CONVERSIONS
from segops.sources.model import (
    BEGINNINGS,
    ENCODINGS,
    FORMATS,
    FRAMINGS,
    OPERATIONS,
    WHOLE,
    Expression,
    Fields,
    Mapping,
    Source,
)

_TYPES: Final = ("track", "identify", "page", "screen", "group", "alias")
_FIELDS: Final = ("timestamp", "messageId", "userId", "anonymousId")
_KEYS: Final = ("type", "event", "when", "operations", *_FIELDS, "identifiers", "properties", "traits")
_IDENTIFIER: Final = re.compile("[A-Za-z0-9_.-]{1,64}")
_MAX_MAPPINGS: Final = 20
_MAX_FIELDS: Final = 500
_MAX_SCHEMA_BYTES: Final = 500_000
#: What is read of a Debezium table by default: a row is an event once, and a state whenever it changes.
_DEFAULT_OPERATIONS: Final = {"identify": ("create", "read", "update"), "group": ("create", "read", "update")}
_ROWS: Final = ("create", "read")


class SourceFileForm(BaseModel):
    """A source file as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=1)
    sources: list[dict[Any, Any]] = Field(min_length=1)


class SourceForm(BaseModel):
    """A source as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    topic: str = Field(min_length=1, max_length=249)
    format: str
    encoding: str = "json"
    framing: str | None = None
    schema_: str | None = Field(default=None, alias="schema", max_length=_MAX_SCHEMA_BYTES)
    message: str | None = None
    begin: str = Field(default="earliest", alias="from")
    where: Any = None
    identifiers: Any = None
    map: Any


class _Stored(msgspec.Struct):
    source: dict[str, Any]
    since_ms: int
    starts: dict[int, int] = {}


def load(path: Path, *, own: Collection[str] = ()) -> list[Source]:
    """Load the sources of a file. A schema file is named relative to it.

    ``own``: the topics of the application, which cannot be sources. Raises DefinitionError with all mistakes.
    """
    name = str(path)
    try:
        text = path.read_text("utf-8-sig")
        form = SourceFileForm.model_validate(read_json(text) if path.suffix == ".json" else read_yaml(text))
    except ValidationError as error:
        raise DefinitionError(form_issues(name, "", error)) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DefinitionError([unreadable(path, error)]) from None
    readers = [Reader(raw, f"sources[{i}]", Context(name)) for i, raw in enumerate(form.sources)]
    reads = [partial(_from_file, each, path.parent, own) for each in readers]
    sources: list[Source] = readers[0].gather(*reads)
    topics = [source.topic for source in sources]
    repeated = [i for i, topic in enumerate(topics) if topic in topics[:i]]
    if repeated:
        reason = "this topic has a source already: give that one several mappings"
        raise DefinitionError([Issue(name, f"sources[{i}].topic", reason) for i in repeated])
    return sources


def encode(source: Source) -> bytes:
    """Encode the record that publishes a source."""
    return msgspec.json.encode(_Stored(dict(source.written), source.since_ms, dict(source.starts)))


def decode(value: bytes) -> Source:
    """Decode a published source. Raises DefinitionError for an invalid record: any client may write one."""
    try:
        stored = msgspec.json.decode(value, type=_Stored)
        check_bounds(stored.source)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DefinitionError([Issue("sources topic", "-", f"invalid record: {error}")]) from None
    source = read_source(Reader(stored.source, "source", Context("sources topic")))
    return msgspec.structs.replace(source, since_ms=stored.since_ms, starts=stored.starts)


def _from_file(raw: Reader, folder: Path, own: Collection[str]) -> Source:
    if isinstance(raw.raw.get("topic"), str) and raw.raw["topic"] in own:
        raw.at("topic").fail(f"{raw.raw['topic']!r} is a topic of segops itself")
    written = dict(raw.raw)
    if isinstance(written.get("schema"), str):
        written["schema"] = _schema(raw.at("schema"), folder / written["schema"], written.get("format"))
    return read_source(Reader(written, raw.path, raw.context))


def _schema(reader: Reader, file: Path, form: object) -> str:
    try:
        content = file.read_bytes()
        if len(content) > _MAX_SCHEMA_BYTES:
            reader.fail(f"expected at most {_MAX_SCHEMA_BYTES:,} bytes in {file}, got {len(content):,}")
        return base64.b64encode(content).decode() if form == "protobuf" else content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reader.fail(f"cannot read {file}: {error}")


def read_source(raw: Reader) -> Source:
    """Read a source whose ``schema`` is the schema itself. Raises DefinitionError with every mistake."""
    try:
        form = SourceForm.model_validate(raw.raw)
    except ValidationError as error:
        raise DefinitionError(form_issues(raw.context.source, raw.path, error)) from None
    format_, encoding = raw.gather(
        lambda: raw.at("format").one_of(FORMATS), lambda: raw.at("encoding", "json").one_of(ENCODINGS)
    )
    if format_ != "debezium":
        if "encoding" in raw:
            raw.at("encoding").fail("only debezium has an encoding")
        encoding = format_
    framing = raw.at("framing", "none" if form.schema_ is not None else "confluent").one_of(FRAMINGS)
    begin, where, shared = raw.gather(
        lambda: raw.at("from", "earliest").one_of(BEGINNINGS),
        lambda: raw.at("where").where() if "where" in raw else (),
        lambda: _identifiers(raw.at("identifiers")) if "identifiers" in raw else (),
    )
    source = Source(
        form.topic,
        format_,
        encoding,
        framing,
        _mappings(raw.at("map"), shared, is_table=format_ == "debezium"),
        where,
        begin,
        form.schema_,
        form.message,
        raw.raw,
    )
    _check_schema(raw, source)
    return source


def _check_schema(raw: Reader, source: Source) -> None:
    if source.schema is not None and source.encoding == "json":
        raw.at("schema").fail("JSON needs no schema")
    if source.framing == "none" and source.schema is None and source.encoding != "json":
        raw.at("framing").fail(f"{source.encoding} without a registry's framing needs a schema")
    if source.message is not None and source.encoding != "protobuf":
        raw.at("message").fail("only protobuf has a message")
    if source.encoding == "protobuf" and source.schema is not None and source.message is None:
        raw.at("message").fail("missing key: the message type in the descriptor set, such as shop.Order")


def _mappings(raw: Reader, shared: Fields, *, is_table: bool) -> tuple[Mapping, ...]:
    if isinstance(raw.raw, list):
        readers = raw.items(f"a map, or a list of 1 to {_MAX_MAPPINGS} maps", _MAX_MAPPINGS)
    else:
        readers = [raw]
    return tuple(raw.gather(*(partial(_mapping, each, shared, is_table) for each in readers)))


def _mapping(raw: Reader, shared: Fields, is_table: bool) -> Mapping:
    if not isinstance(raw.raw, dict):
        raw.fail(f"expected a map with type and any of {', '.join(_KEYS[1:])}, got {raw.raw!r:.40}")
    _, kind, event, when, operations, identifiers, properties, traits, *fields = raw.gather(
        lambda: raw.only(*_KEYS),
        lambda: raw.at("type", "track").one_of(_TYPES),
        lambda: _event(raw.at("event")) if "event" in raw else None,
        lambda: raw.at("when").where() if "when" in raw else (),
        lambda: _operations(raw, is_table),
        lambda: _identifiers(raw.at("identifiers")) if "identifiers" in raw else (),
        lambda: _object(raw.at("properties")) if "properties" in raw else (),
        lambda: _object(raw.at("traits")) if "traits" in raw else (),
        *(partial(_expression, raw.at(name)) for name in _FIELDS if name in raw),
    )
    if (kind == "track") != (event is not None):
        raw.at("event").fail(
            "missing key" if event is None else "unexpected key: only track events have names"
        )
    names = [name for name in _FIELDS if name in raw]
    found = dict(shared) | dict(identifiers)
    if not found and not {"userId", "anonymousId"} & set(names):
        raw.fail("missing userId, anonymousId or identifiers: an event belongs to a profile")
    return Mapping(
        kind,
        event,
        when,
        operations,
        tuple(zip(names, fields, strict=True)),
        tuple(found.items()),
        properties,
        traits,
    )


def _operations(raw: Reader, is_table: bool) -> tuple[str, ...]:
    if not is_table:
        return raw.at("operations").fail("only debezium has operations") if "operations" in raw else ()
    if "operations" not in raw:
        return _DEFAULT_OPERATIONS.get(str(raw.at("type", "track").raw), _ROWS)
    items = raw.at("operations").values(f"a list of {', '.join(OPERATIONS)}", len(OPERATIONS))
    return tuple(item.one_of(tuple(OPERATIONS)) for item in items)


def _event(raw: Reader) -> Expression:
    """Read the name of an event: a text is the name itself."""
    if isinstance(raw.raw, str):
        if not raw.raw:
            raw.fail("expected the name of an event, or {path: …}")
        return Expression(raw.path, constant=raw.raw, is_constant=True)
    return _expression(raw)


def _identifiers(raw: Reader) -> Fields:
    found = _fields(raw)
    for name, _ in found:
        if _IDENTIFIER.fullmatch(name) is None:
            raw.at(name).fail("expected a type of identifier: up to 64 letters, digits, '_', '.' and '-'")
    return found


def _object(raw: Reader) -> Fields | Expression:
    """Read an object: a path to one, or a map of its values."""
    if isinstance(raw.raw, str) or (isinstance(raw.raw, dict) and raw.raw.keys() == {"path", "as"}):
        return _expression(raw)
    return _fields(raw)


def _fields(raw: Reader) -> Fields:
    if not isinstance(raw.raw, dict) or not 1 <= len(raw.raw) <= _MAX_FIELDS:
        raw.fail(f"expected a map of 1 to {_MAX_FIELDS} names to paths, got {raw.raw!r:.40}")
    if not all(isinstance(name, str) for name in raw.raw):
        raw.fail("expected names that are strings")
    expressions = raw.gather(*(partial(_expression, raw.at(name)) for name in raw.raw))
    return tuple(zip(raw.raw, expressions, strict=True))


def _expression(raw: Reader) -> Expression:
    """Read a path, ``{value: constant}``, or ``{path: …, as: conversion}``."""
    if not isinstance(raw.raw, dict):
        return Expression(raw.path, _path(raw))
    if "value" in raw:
        raw.only("value")
        return Expression(raw.path, constant=raw.at("value").scalar(), is_constant=True)
    path, conversion = raw.record({"path": _path}, "{path: total, as: cents}", {"as": _conversion})
    return Expression(raw.path, path, conversion=conversion)


def _conversion(raw: Reader) -> str:
    return raw.known("conversion", CONVERSIONS)


def _path(raw: Reader) -> tuple[str, ...]:
    return WHOLE if raw.raw == "*" else path_of_element(raw, raw.raw)
