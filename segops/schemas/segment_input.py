"""Segment files and records of the segments topic as plain values, before their contents are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from segops.core.errors import DefinitionError, Issue, UserError
from segops.schemas.written import check_bounds, read_json, read_yaml

SUFFIXES = (".yaml", ".yml", ".json")
MAX_VERSION = (1 << 63) - 1
#: The source of mistakes in records.
TOPIC = "segments topic"


def files_in(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files among some files and folders. Raises UserError if there is none."""
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
            if not found:
                raise UserError(f"{path}: no segment files ({', '.join(SUFFIXES)}) in this folder")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path}: no such file or folder")


def parse(file: Path) -> Any:
    """Read a file. Raises OSError, ValueError or yaml.YAMLError."""
    text = file.read_text("utf-8-sig")
    return read_json(text) if file.suffix == ".json" else read_yaml(text)


def record_of(value: bytes) -> dict[str, Any]:
    """Decode a record of the segments topic. Raises DefinitionError unless it is a map within the limits."""
    try:
        raw = msgspec.json.decode(value)
        check_bounds(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DefinitionError([Issue(TOPIC, "-", f"invalid JSON: {error}")]) from None
    if not isinstance(raw, dict):
        raise DefinitionError([Issue(TOPIC, "-", "expected a map")])
    return raw


def paused_in(raw: dict[str, Any]) -> bool:
    """Return whether a record says that the segment is paused. Raises DefinitionError."""
    paused = raw.get("paused", False)
    if not isinstance(paused, bool):
        raise DefinitionError([Issue(TOPIC, "paused", f"expected true or false, got {paused!r:.40}")])
    return paused


def version_of(raw: dict[str, Any]) -> int:
    """Return the version in a record. Raises DefinitionError."""
    version = raw.get("version")
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        reason = f"expected an integer from 1 to {MAX_VERSION}, got {version!r}"
        raise DefinitionError([Issue(TOPIC, "version", reason)])
    return version
