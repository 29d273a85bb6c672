"""The form of a model's answer: the rule language as JSON Schema, with the names of one catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from segops.schemas.json_schema import json_schema
from segops.studio.catalogue import StudioCatalogue

Schema = dict[str, Any]
_REF: Final = "#/$defs/"
_ROOT: Final = "node"
#: Nodes that read what catalogues do not describe.
_UNKNOWN: Final = ("node.indicator", "node.bucket", "node.identified", "node.has_identifier")
_LONGEST_TEXT: Final = 1_000


def answer_schema(catalogue: StudioCatalogue) -> Schema:
    """Return the schema of an answer: ``outcome``, and with it ``rule``, ``question`` or ``reason``.

    Rules may have the nodes that the catalogue has something for, and no other event names than its own.
    Names of definitions are plain, since servers differ in how they read references.
    """
    known = json_schema()["$defs"]
    for name in _left_out(catalogue):
        del known[name]
    known[_ROOT] = {"type": "object", "anyOf": [_ref(name) for name in known if name.startswith(f"{_ROOT}.")]}
    known["names"] = _event_names(catalogue)
    texts = {name: {"type": "string", "maxLength": _LONGEST_TEXT} for name in ("question", "reason")}
    return {
        "type": "object",
        "properties": {
            "outcome": {"enum": ["rule", "question", "refuse"]},
            "rule": {"anyOf": [_ref(_ROOT), {"type": "null"}]},
            **texts,
        },
        "required": ["outcome", "rule", "question", "reason"],
        "additionalProperties": False,
        "$defs": {_plain(name): _renamed(known[name]) for name in sorted(_reached(known))},
    }


def _left_out(catalogue: StudioCatalogue) -> Iterator[str]:
    """Yield the nodes that no rule of this catalogue can have."""
    yield from _UNKNOWN
    needed = {
        "list": catalogue.lists,
        "score": catalogue.scores,
        "rfm": catalogue.rfm,
        "in_segment": catalogue.segments,
        **dict.fromkeys(("near", "inside", "distance_to"), catalogue.places),
    }
    yield from (f"{_ROOT}.{head}" for head, names in needed.items() if not names)


def _event_names(catalogue: StudioCatalogue) -> Schema:
    name = {"enum": [*catalogue.events, "any_event"]}
    return {"anyOf": [name, {"type": "array", "items": name, "minItems": 1}]}


def _ref(name: str) -> Schema:
    return {"$ref": _REF + _plain(name)}


def _plain(name: str) -> str:
    """Return the name of a definition with letters only.

    >>> _plain("time of day"), _plain("node.did")
    ('time_of_day', 'node_did')
    """
    return re.sub("[^A-Za-z_]", "_", name)


def _reached(known: dict[str, Schema]) -> set[str]:
    plain = {_plain(name): name for name in known}
    found, left = set[str](), [_ROOT]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [plain[_plain(each)] for each in _refs(known[name])]
    return found


def _refs(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, part in schema.items():
            if key == "$ref":
                yield str(part).removeprefix(_REF)
            else:
                yield from _refs(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _refs(part)


def _renamed(schema: Any) -> Any:
    """Return a schema with plain references, and without examples."""
    if isinstance(schema, list):
        return [_renamed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _REF + _plain(str(part).removeprefix(_REF)) if key == "$ref" else _renamed(part)
        for key, part in schema.items()
        if key != "examples"
    }
