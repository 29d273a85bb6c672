"""Catalogues from files: one alone, one of several by name, or as ``segops catalogue`` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from segops.core.errors import UserError
from segops.schemas.issues import unreadable
from segops.schemas.segment_input import parse
from segops.studio.catalogue import StudioCatalogue

#: Types of values that no rule compares.
_NOT_COMPARED: Final = ("object", "null", "missing")
_CATALOGUES: Final = "catalogues"


def load_catalogue(file: Path, name: str | None = None) -> StudioCatalogue:
    """Read a catalogue from a YAML or JSON file.

    The file is a catalogue, or has some by name under ``catalogues``: then ``name`` chooses one, unless there
    is only one. Raises UserError that names the file and the place.
    """
    try:
        document = parse(file)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(str(unreadable(file, error))) from None
    if not isinstance(document, dict) or _CATALOGUES not in document:
        if name is not None:
            raise UserError(f"{file}: expected a map `catalogues` to choose {name!r} from")
        return StudioCatalogue.from_document(comparable(document), str(file))
    named = document[_CATALOGUES]
    if not isinstance(named, dict) or not named:
        raise UserError(f"{file}: catalogues: expected a map of catalogues by name")
    chosen = _chosen(file, named, name)
    return StudioCatalogue.from_document(comparable(named[chosen]), f"{file}: {_CATALOGUES}.{chosen}")


def _chosen(file: Path, named: Mapping[str, Any], name: str | None) -> str:
    known = ", ".join(map(str, named))
    if name is None and len(named) > 1:
        raise UserError(f"{file} has {len(named)} catalogues: choose one with --catalogue-name: {known}")
    chosen = next(iter(named)) if name is None else name
    if chosen not in named:
        raise UserError(f"{file}: unknown catalogue {chosen!r}; known: {known}")
    return chosen


def comparable(document: Any) -> Any:
    """Return a catalogue without properties that no rule compares; texts without values are plain texts.

    >>> comparable({"events": {"Buy": {"id": "string", "cart": "object", "code": []}}})
    {'events': {'Buy': {'id': 'string', 'code': 'string'}}}
    """
    if not isinstance(document, dict):
        return document
    found = dict(document)
    if isinstance(found.get("events"), dict):
        found["events"] = {name: _fields(fields) for name, fields in found["events"].items()}
    if "traits" in found:
        found["traits"] = _fields(found["traits"])
    return found


def _fields(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    return {
        name: "string" if kind == [] else kind for name, kind in fields.items() if kind not in _NOT_COMPARED
    }
