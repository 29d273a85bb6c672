"""A source: the topic, how its records are decoded, and the mappings that make events of them."""

from __future__ import annotations

from collections.abc import Mapping as Map
from typing import Any, Final, Literal

import msgspec

from segops.core.operators import Predicate

Format = Literal["json", "avro", "protobuf", "debezium"]
FORMATS: Final = ("json", "avro", "protobuf", "debezium")
ENCODINGS: Final = ("json", "avro", "protobuf")
FRAMINGS: Final = ("confluent", "none")
BEGINNINGS: Final = ("earliest", "latest")
#: The operations of a Debezium table, as written in a mapping -> in its records.
OPERATIONS: Final = {"create": "c", "read": "r", "update": "u", "delete": "d"}

Path = tuple[str, ...]
#: Paths with their predicates: all must hold.
Conditions = tuple[tuple[Path, Predicate], ...]
#: The path of the whole record.
WHOLE: Final[Path] = ()


class Expression(msgspec.Struct, frozen=True):
    """Where a value comes from: a path, or a constant. ``at`` is the expression's own path in the file."""

    at: str
    path: Path = WHOLE
    constant: Any = None
    is_constant: bool = False
    #: The name of a conversion (``conversions.CONVERSIONS``).
    conversion: str | None = None


Fields = tuple[tuple[str, Expression], ...]


class Mapping(msgspec.Struct, frozen=True):
    """How a record becomes one event. ``operations`` are those of a Debezium table that it applies to."""

    type: str
    event: Expression | None = None
    when: Conditions = ()
    operations: tuple[str, ...] = ()
    #: ``timestamp``, ``messageId``, ``userId``, ``anonymousId``.
    fields: Fields = ()
    #: By type of identifier, as in ``SEGOPS_IDENTIFIERS``.
    identifiers: Fields = ()
    properties: Fields | Expression = ()
    traits: Fields | Expression = ()

    def paths(self) -> set[Path]:
        """Return the paths that the mapping reads, in its conditions too."""
        nested = [self.properties, self.traits]
        many = [each for fields in nested if isinstance(fields, tuple) for _, each in fields]
        many += [each for _, each in (*self.fields, *self.identifiers)]
        many += [each for each in (self.event, *nested) if isinstance(each, Expression)]
        found = {each.path for each in many if not each.is_constant}
        return found | {path for path, _ in self.when}


class Source(msgspec.Struct, frozen=True):
    """A topic and its mappings.

    ``starts``: the offset of each partition from which a source that begins with the latest records is read.
    ``since_ms``: when the source was published first; the committed offsets of an earlier one do not count.
    """

    topic: str
    format: Format
    encoding: str
    framing: str
    mappings: tuple[Mapping, ...]
    where: Conditions = ()
    begin: str = "earliest"
    #: Without a registry: an Avro schema (JSON), or a base64 protobuf descriptor set.
    schema: str | None = None
    #: The full name of a protobuf message.
    message: str | None = None
    #: The source as written, with the contents of its schema file.
    written: Map[str, Any] = {}
    starts: Map[int, int] = {}
    since_ms: int = 0

    def paths(self) -> set[Path]:
        """Return the paths that the source reads of a record, without its metadata."""
        found = {path for path, _ in self.where}.union(*(each.paths() for each in self.mappings))
        return {path for path in found if path and not path[0].startswith("$")}
