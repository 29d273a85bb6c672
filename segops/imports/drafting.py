"""A draft of a map from the first rows of a file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from segops.core.errors import UserError
from segops.imports.model import CsvLayout, Form, ImportMap
from segops.imports.rows import RowFile, sample
from segops.sources.inference import Draft, draft
from segops.sources.model import Source

_SAMPLE: Final = 1_000
_HEAD: Final = 1 << 18
_DELIMITERS: Final = ",;\t|"
_INTEGER: Final = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL: Final = re.compile(r"-?\d{1,15}\.\d+")
_COMMA: Final = re.compile(r"-?\d{1,3}(\.\d{3})*,\d+|-?\d{1,15},\d+")


def draft_map(path: Path, form: Form) -> tuple[dict[str, Any], Draft]:
    """Return a map as it would be written, and what the sample shows. Raises UserError for an empty file."""
    layout = _layout(RowFile(path, form)) if form == "csv" else {}
    mapping = ImportMap(Source("", "json", "json", "none", ()), form, CsvLayout(**layout), frozenset(), b"")
    rows = sample(RowFile(path, form, mapping).rows(), _SAMPLE)
    if not rows:
        raise UserError(f"{path}: no row that can be read")
    commas = form == "csv" and any(_COMMA.fullmatch(each) for row in rows for each in row.values())
    values = [_typed(row, commas) for row in rows] if form == "csv" else rows
    drafted = draft(path.name.partition(".")[0], {"format": "json"}, values)
    written: dict[str, Any] = {"version": 1, "format": form}
    if commas:
        layout["decimal"] = ","
    if layout:
        written["csv"] = layout
    source = {key: each for key, each in drafted.source.items() if key in ("identifiers", "map")}
    if form == "csv":
        _convert(source["map"], drafted)
    return {**written, **source}, drafted


def _layout(rows: RowFile) -> dict[str, Any]:
    """Return what differs from the default layout: the encoding, and the delimiter of the first line."""
    with rows.opened() as file:
        head = file.read(_HEAD)
    found: dict[str, Any] = {}
    if not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not _is_utf8(head):
        found["encoding"] = "cp1252"
    line = head.decode("latin-1").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=line.count)
    if delimiter != "," and delimiter in line:
        found["delimiter"] = delimiter
    return found


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _typed(row: dict[str, Any], commas: bool) -> dict[str, Any]:
    return {name: _value(each, commas) for name, each in row.items()}


def _value(text: str, commas: bool) -> Any:
    """Return the number that a text is, else the text; one with a leading zero is a code, no number."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and not commas:
        return float(text)
    if commas and _COMMA.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    return text


def _convert(mapping: dict[str, Any], drafted: Draft) -> None:
    """Let columns that hold only numbers be read as numbers: all values of a CSV file are texts."""
    numeric = {each.name for each in drafted.fields if set(each.kinds) == {"number"}}
    for part in ("properties", "traits"):
        for name, path in mapping.get(part, {}).items():
            if path in numeric:
                mapping[part][name] = {"path": path, "as": "number"}


def fields(drafted: Draft) -> Iterator[str]:
    """Yield a line for each column: its types, and in how many rows it has a value."""
    for each in drafted.fields:
        yield f"#   {each.name}: {each.type()}, in {each.present:,}"
