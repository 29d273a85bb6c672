"""The text of a draft as a document in the form of a segment file, of which one segment is edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import yaml

from segops.core.errors import DefinitionError, Issue
from segops.core.rules.parsing import HEADS
from segops.schemas.written import read_json, read_yaml

#: The source that mistakes name.
SOURCE: Final = "draft"
#: The key of a rule that was written alone, until a person names it.
NEW_KEY: Final = "new-segment"
#: The blocks of a segment file that rules read, in the order in which they are written.
BLOCKS: Final = ("rfm", "places", "lookups", "postal_codes", "scores", "indicators")
_FORMS: Final = "expected a segment file, a segment with `when`, or a rule"

At = tuple[str | int, ...]


class Document(NamedTuple):
    """A segment file as written, and the number of the segment that is edited."""

    form: dict[str, Any]
    number: int

    @property
    def segment(self) -> Any:
        """The segment that is edited, as written."""
        return self.form["segments"][self.number]

    @property
    def key(self) -> str:
        """Its key, or an empty text while it has none."""
        segment = self.segment
        key = segment.get("key") if isinstance(segment, dict) else None
        return key if isinstance(key, str) else ""


def read_document(text: str, *, json: bool, key: str = "") -> Document:
    """Read a segment file, one segment, or a rule alone; ``key``: of the segment that is edited.

    A rule alone becomes the rule of a segment of that key. Raises DefinitionError at the path () if the text
    is none of these, or has no such segment.

    >>> read_document("did: Signed Up", json=False, key="new").form
    {'version': 1, 'segments': [{'key': 'new', 'when': {'did': 'Signed Up'}}]}
    """
    try:
        raw = read_json(text) if json else read_yaml(text)
    except yaml.MarkedYAMLError as error:
        raise _refused(_yaml_problem(error)) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise _refused(str(error)) from error
    form = _file_of(raw, key)
    return Document(form, _index_of(form["segments"], key))


def _refused(reason: str) -> DefinitionError:
    return DefinitionError([Issue(SOURCE, "", reason)])


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return where + str(error.problem or error)


def _file_of(raw: Any, key: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or not raw:
        raise _refused(f"{_FORMS}, got {'nothing' if raw in (None, {}) else f'{raw!r:.60}'}")
    if "segments" in raw:
        if not isinstance(raw["segments"], list) or not raw["segments"]:
            raise _refused("segments: expected a non-empty list")
        return raw
    if "when" in raw or "key" in raw:
        blocks = {name: raw[name] for name in BLOCKS if name in raw}
        segment = {name: value for name, value in raw.items() if name not in (*BLOCKS, "version")}
        return {"version": 1, **blocks, "segments": [segment]}
    if not HEADS.keys().isdisjoint(raw):
        return {"version": 1, "segments": [{"key": key or NEW_KEY, "when": raw}]}
    raise _refused(f"{_FORMS}, got a map of {', '.join(map(str, raw))[:80]}")


def _index_of(segments: Sequence[Any], key: str) -> int:
    keys = [each.get("key") if isinstance(each, dict) else None for each in segments]
    return keys.index(key) if key in keys else 0


def located(path: str, document: Any) -> At:
    """Return the place of a mistake in a document: keys and numbers, as far as it exists.

    Keys may hold dots and brackets, so they are found by what the document has. A missing or an unknown key
    is the last one.

    >>> located("segments[0].when.where.a.b.lt", {"segments": [{"when": {"where": {"a.b": {"lt": True}}}}]})
    ('segments', 0, 'when', 'where', 'a.b', 'lt')
    """
    found: list[str | int] = []
    rest = path
    while rest:
        step = _step(rest, document)
        if step is None:
            break
        name, rest = step
        found.append(name)
        document = document[name]
    name = rest.lstrip(".").partition(".")[0].partition("[")[0]
    if name and isinstance(document, dict):
        found.append(name)
    return tuple(found)


def _step(rest: str, document: Any) -> tuple[str | int, str] | None:
    """Return the next key or number of a path, and the path below it."""
    if isinstance(document, list) and rest.startswith("["):
        number, _, below = rest[1:].partition("]")
        return (int(number), below) if number.isdigit() and int(number) < len(document) else None
    if not isinstance(document, dict):
        return None
    rest = rest.removeprefix(".")
    keys = sorted((key for key in document if isinstance(key, str)), key=len, reverse=True)
    for key in keys:
        below = rest.removeprefix(key)
        if key and rest.startswith(key) and (not below or below[0] in ".["):
            return key, below
    return None
