"""JSON Schemas as people write them, read strictly: closed keywords, nothing fetched, bounded cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from segops.core.rules.parsing import Reader
from segops.core.values import kind
from segops.tracking.formats import FORMATS
from segops.tracking.model import Schema

TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")
#: A schema with its references replaced: every value is compared with at most so many subschemas.
MAX_SUBSCHEMAS: Final = 500
_MAX_DEPTH: Final = 32
_MAX_VALUES: Final = 500
_MAX_TEXT: Final = 500
_MAX_PATTERN: Final = 200
_MAX_BOUND: Final = 10**15
#: Keywords that say nothing about validity; ``labels`` is Segment's.
_ANNOTATIONS: Final = frozenset(
    (
        "title",
        "description",
        "$comment",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "labels",
    )
)
_ROOT: Final = frozenset(("$schema", "definitions", "$defs"))
_DRAFTS: Final = tuple(
    f"{scheme}://json-schema.org/draft-0{number}/schema"
    for scheme in ("http", "https")
    for number in (4, 6, 7)
)


def read_schema(raw: Reader) -> Schema:
    """Read the schema of an object. Raises DefinitionError with every mistake."""
    return _SchemaReader(raw).read()


class _SchemaReader:
    def __init__(self, raw: Reader) -> None:
        self._root = raw
        self._patterns: dict[str, str] = {}
        self._subschemas = 0
        self._open: list[str] = []

    def read(self) -> Schema:
        raw = self._root
        if isinstance(raw.raw, dict) and "$schema" in raw:
            draft = raw.at("$schema")
            if draft.text().rstrip("#") not in _DRAFTS:
                draft.fail(f"expected draft-04, -06 or -07 of JSON Schema, got {draft.raw!r:.80}")
        found = self.schema(raw, 0)
        if not isinstance(found, dict) or found.get("type", "object") != "object":
            raw.at("type").fail("expected object: properties and traits are objects")
        return Schema({"type": "object", **found}, self._patterns)

    def schema(self, raw: Reader, depth: int) -> Any:
        """Return a subschema without references and annotations."""
        self._subschemas += 1
        if self._subschemas > MAX_SUBSCHEMAS or depth > _MAX_DEPTH:
            self._root.fail(
                f"expected at most {MAX_SUBSCHEMAS} subschemas, with references replaced, "
                f"nested at most {_MAX_DEPTH} deep"
            )
        if isinstance(raw.raw, bool) and depth:
            return raw.raw
        if not isinstance(raw.raw, dict):
            raw.fail(f"expected a JSON Schema: a map, got {raw.raw!r:.40}")
        if "$ref" in raw:
            return self._referred(raw, depth)
        return self._known(raw, depth)

    def _known(self, raw: Reader, depth: int) -> dict[str, Any]:
        left_out = _ANNOTATIONS if depth else _ANNOTATIONS | _ROOT
        names = [name for name in raw.raw if name not in left_out]
        unknown = [name for name in names if name not in _KEYWORDS and name not in _NESTED]
        if unknown:
            raw.at(unknown[0]).fail(
                f"unknown keyword; expected one of {', '.join((*_KEYWORDS, *_NESTED, '$ref'))}"
            )
        reads = [partial(self._keyword, name, raw.at(name), depth) for name in names]
        found: dict[str, Any] = {}
        for part in raw.gather(*reads):
            for name, value in part.items():
                found[name] = [*found.get(name, ()), *value] if name == "allOf" else value
        return found

    def _keyword(self, name: str, raw: Reader, depth: int) -> dict[str, Any]:
        if name == "pattern":
            return {"allOf": [{"format": self._pattern(raw)}]}
        if name == "const":
            return {"enum": [_scalar(raw)]}
        if name in _NESTED:
            return {name: _NESTED[name](self, raw, depth + 1)}
        return {name: _KEYWORDS[name](raw)}

    def _referred(self, raw: Reader, depth: int) -> Any:
        """Read what a reference names in its place, so that neither recursion nor a resolver is needed."""
        ref = raw.at("$ref")
        group, _, name = ref.text().removeprefix("#/").partition("/")
        if group not in ("definitions", "$defs") or not ref.raw.startswith("#/") or not name:
            ref.fail(f"expected #/definitions/NAME or #/$defs/NAME (nothing is fetched), got {ref.raw!r:.80}")
        groups = self._root.raw.get(group)
        if not isinstance(groups, dict) or name not in groups:
            ref.fail(f"unknown definition {ref.raw!r:.80}")
        if ref.raw in self._open:
            ref.fail(f"{ref.raw!r:.80} refers to itself")
        self._open.append(ref.raw)
        found = self.schema(self._root.at(group).at(name), depth + 1)
        self._open.pop()
        return found

    def _pattern(self, raw: Reader) -> str:
        if len(raw.text()) > _MAX_PATTERN:
            raw.fail(f"expected at most {_MAX_PATTERN} characters, got {len(raw.raw)}")
        raw.pattern()
        name = f"pattern-{len(self._patterns)}"
        self._patterns[name] = raw.raw
        return name

    def schemas(self, raw: Reader, depth: int) -> dict[str, Any]:
        if not isinstance(raw.raw, dict):
            raw.fail(f"expected a map of names to schemas, got {raw.raw!r:.40}")
        names = [_short(name, raw) for name in raw.raw]
        return dict(
            zip(names, raw.gather(*(partial(self.schema, raw.at(n), depth) for n in names)), strict=True)
        )

    def choices(self, raw: Reader, depth: int) -> list[Any]:
        items = raw.items("a list of 1 to 20 schemas", 20)
        return raw.gather(*(partial(self.schema, item, depth) for item in items))


def _short(name: object, raw: Reader) -> str:
    if not isinstance(name, str) or len(name) > _MAX_TEXT:
        raw.fail(f"expected names of at most {_MAX_TEXT} characters, got {name!r:.40}")
    return name


def _type(raw: Reader) -> Any:
    if isinstance(raw.raw, list):
        return [item.known("type", TYPES) for item in raw.values("a list of types", len(TYPES))]
    return raw.known("type", TYPES)


def _scalar(raw: Reader) -> Any:
    if raw.raw is None or isinstance(raw.raw, bool):
        return raw.raw
    if kind(raw.raw) == "number":
        return _number(raw)
    if isinstance(raw.raw, str):
        return _short(raw.raw, raw)
    return raw.fail(f"expected a string, a number, true, false or null, got {raw.raw!r:.40}")


def _enum(raw: Reader) -> list[Any]:
    return [_scalar(item) for item in raw.values(f"a list of 1 to {_MAX_VALUES} values", _MAX_VALUES)]


def _names(raw: Reader) -> list[str]:
    if raw.raw == []:
        return []
    return [
        _short(item.text(), raw) for item in raw.values(f"a list of at most {_MAX_VALUES} names", _MAX_VALUES)
    ]


def _count(raw: Reader) -> int:
    return raw.integer(0, _MAX_BOUND, f"{_MAX_BOUND:,}")


def _number(raw: Reader) -> Any:
    """Read a number as the generated code can write it."""
    found = raw.number(-_MAX_BOUND, _MAX_BOUND, f"a number from -{_MAX_BOUND:,} to {_MAX_BOUND:,}")
    return int(found) if found == int(found) else float(found)


def _step(raw: Reader) -> Any:
    found = _number(raw)
    return found if found > 0 else raw.fail(f"expected a number above 0, got {raw.raw!r}")


def _format(raw: Reader) -> str:
    return raw.known("format", FORMATS)


_KEYWORDS: Final[Mapping[str, Callable[[Reader], Any]]] = {
    "type": _type,
    "enum": _enum,
    "const": _scalar,
    "required": _names,
    "minLength": _count,
    "maxLength": _count,
    "pattern": Reader.text,
    "format": _format,
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": _step,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": Reader.boolean,
    "minProperties": _count,
    "maxProperties": _count,
}
_NESTED: Final[Mapping[str, Callable[[_SchemaReader, Reader, int], Any]]] = {
    "properties": _SchemaReader.schemas,
    "additionalProperties": _SchemaReader.schema,
    "items": _SchemaReader.schema,
    "not": _SchemaReader.schema,
    "allOf": _SchemaReader.choices,
    "anyOf": _SchemaReader.choices,
    "oneOf": _SchemaReader.choices,
    "if": _SchemaReader.schema,
    "then": _SchemaReader.schema,
    "else": _SchemaReader.schema,
}
