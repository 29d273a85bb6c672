"""The map of a file: its layout, and the mappings of sources that make events of its rows."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from segops.core.errors import DefinitionError, Issue
from segops.core.rules.parsing import Context, Reader
from segops.core.values import format_instant
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.written import read_json, read_yaml
from segops.sources.model import Expression, Source
from segops.sources.parsing import read_source

Form = Literal["csv", "jsonl", "parquet"]
_FORMS: Final[dict[str, Form]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
#: Calls that describe a person as of now; all others happened at some time.
_TIMELESS: Final = frozenset(("identify", "group", "alias"))
_NUMERIC: Final = frozenset(("number", "cents"))


class CsvLayout(BaseModel):
    """How a CSV file is written. ``missing``: the texts that stand for no value, besides the empty one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    missing: list[str] = []
    columns: list[str] | None = None

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return codecs.lookup(name).name
        except LookupError:
            raise ValueError(f"unknown encoding {name!r}") from None


class _MapForm(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=1)
    format: Form | None = None
    csv: CsvLayout = CsvLayout()
    where: Any = None
    identifiers: Any = None
    map: Any


class ImportMap(msgspec.Struct, frozen=True):
    """What is made of a file's rows. ``numeric``: the columns that mappings read as numbers."""

    source: Source
    format: Form | None
    csv: CsvLayout
    numeric: frozenset[str]
    written: bytes

    def bound(self, default_ms: int) -> Source:
        """Return the source whose mappings without a ``timestamp`` take place at ``default_ms``."""
        default = Expression("timestamp", constant=format_instant(default_ms), is_constant=True)
        mappings = [
            each
            if "timestamp" in dict(each.fields)
            else msgspec.structs.replace(each, fields=(*each.fields, ("timestamp", default)))
            for each in self.source.mappings
        ]
        return msgspec.structs.replace(self.source, mappings=tuple(mappings))


def format_of(path: Path, given: Form | None = None) -> Form | None:
    """Return the format of a file, by its name unless it is given; None if the name does not tell.

    >>> format_of(Path("orders.CSV.gz")), format_of(Path("orders.xlsx"))
    ('csv', None)
    """
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return given or _FORMS.get(name.suffix.lower())


def load_map(path: Path) -> ImportMap:
    """Load a map. Raises DefinitionError with all mistakes, each with its place in the file."""
    name = str(path)
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
        raw = read_json(text) if path.suffix == ".json" else read_yaml(text)
        form = _MapForm.model_validate(raw)
    except ValidationError as error:
        raise DefinitionError(form_issues(name, "", error)) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DefinitionError([unreadable(path, error)]) from None
    if not isinstance(raw, dict):
        raise DefinitionError([Issue(name, "-", "expected a map with version and map")])
    written = {key: raw[key] for key in ("where", "identifiers", "map") if key in raw}
    reader = Reader({"topic": path.stem or "file", "format": "json", **written}, "", Context(name))
    try:
        source = read_source(reader)
    except DefinitionError as error:
        raise DefinitionError([replace(each, path=each.path.lstrip(".")) for each in error.issues]) from None
    _require_times(name, source)
    return ImportMap(source, form.format, form.csv, _numeric(source), data)


def _require_times(name: str, source: Source) -> None:
    several = len(source.mappings) > 1
    issues = [
        Issue(name, f"map[{n}]" if several else "map", f"missing timestamp: when a {each.type} call happened")
        for n, each in enumerate(source.mappings)
        if each.type not in _TIMELESS and "timestamp" not in dict(each.fields)
    ]
    if issues:
        raise DefinitionError(issues)


def _numeric(source: Source) -> frozenset[str]:
    found: set[str] = set()
    for mapping in source.mappings:
        nested = (mapping.properties, mapping.traits)
        fields = [each for part in nested if isinstance(part, tuple) for _, each in part]
        fields += [each for _, each in (*mapping.fields, *mapping.identifiers)]
        found |= {each.path[0] for each in fields if each.conversion in _NUMERIC and each.path}
    return frozenset(found)
