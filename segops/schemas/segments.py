"""Segment files and the records of the segments topic, to and from validated definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.core.audiences.model import PREFIX, Audience
from segops.core.bulk import collector_paused
from segops.core.errors import DefinitionError, Issue
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.lookups import LookupTable
from segops.core.rules.parsing import (
    MAX_NODES,
)
from segops.core.scoring.models import Model
from segops.core.segments import Definition, check_references
from segops.schemas.audiences import read_audiences
from segops.schemas.definition_blocks import written_blocks
from segops.schemas.indicators import indicator_to_record
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.lookups import NO_TABLES, Blocks
from segops.schemas.models import NO_MODELS
from segops.schemas.published_lookups import published_tables
from segops.schemas.segment_input import TOPIC, files_in, parse, paused_in, record_of, version_of
from segops.schemas.segment_reading import Reading

#: Earlier versions accepted larger rules; published ones remain valid.
_MAX_PUBLISHED_NODES = 10 * MAX_NODES
#: Keys of a published record that are not part of the segment as written.
_BESIDE_FORM = frozenset(
    ("version", "rfm", "places", "indicators", "lookups", "lists", "scores", "models", "paused")
)
_T = TypeVar("_T")


class SegmentFileForm(BaseModel):
    """A segment file as written, with segments."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1]
    rfm: dict[Any, Any] | None = None
    places: dict[Any, Any] | None = None
    indicators: dict[Any, Any] | None = None
    lookups: dict[Any, Any] | None = None
    postal_codes: dict[Any, Any] | None = None
    scores: dict[Any, Any] | None = None
    audiences: list[Any] = Field(default=[], min_length=1)
    segments: list[dict[Any, Any]] = Field(min_length=1)


class OtherFileForm(SegmentFileForm):
    """A segment file without segments: it has indicators that are published, or audiences."""

    segments: list[dict[Any, Any]] = []


class Loaded(msgspec.Struct, frozen=True):
    """The segments and audiences of files, the indicators that they publish, and the warnings about them."""

    definitions: list[Definition]
    warnings: list[Issue]
    indicators: list[Definition] = []
    audiences: list[Audience] = []

    @property
    def all_definitions(self) -> list[Definition]:
        """Those of segments and indicators."""
        return [*self.definitions, *self.indicators]


def load(paths: Sequence[Path]) -> list[Definition]:
    """Load the definitions of files and folders. Raises DefinitionError with the mistakes of all of them."""
    return load_checked(paths).definitions


@collector_paused()
def load_checked(paths: Sequence[Path], models: Mapping[str, Model] = NO_MODELS) -> Loaded:
    """Load the definitions of files and folders, with warnings. Raises DefinitionError like ``load``.

    ``models``: those in force, by name; rules are bound to them.
    """
    found = _read(paths, models)
    issues = list(found.issues)
    try:
        check_references([*found.definitions, *found.placeholders])
    except DefinitionError as error:
        issues += [
            issue for issue in error.issues if not (found.unread and "unknown segment" in issue.reason)
        ]
    if issues:
        raise DefinitionError(issues)
    return Loaded(found.definitions, found.warnings, found.indicators, found.audiences)


def load_drafts(paths: Sequence[Path], models: Mapping[str, Model] = NO_MODELS) -> Loaded:
    """Load definitions that may refer to others elsewhere: ``check_references`` must follow.

    Raises DefinitionError with all other mistakes.
    """
    found = _read(paths, models)
    if found.issues:
        raise DefinitionError(found.issues)
    return Loaded(found.definitions, found.warnings, found.indicators, found.audiences)


class _Read(NamedTuple):
    """What was read of some files. ``unread``: one of them cannot be read."""

    definitions: list[Definition]
    placeholders: list[Definition]
    issues: list[Issue]
    warnings: list[Issue]
    unread: bool
    indicators: list[Definition]
    audiences: list[Audience]


def _read(paths: Sequence[Path], models: Mapping[str, Model]) -> _Read:
    issues: list[Issue] = []
    warnings: list[Issue] = []
    readings = [_file(file, issues, warnings, models) for file in files_in(paths)]
    known = [reading for reading in readings if reading is not None]
    issues += _duplicates(known)
    return _Read(
        [each for reading in known for each in reading.definitions],
        [each for reading in known for each in reading.placeholders],
        issues,
        warnings,
        len(known) < len(readings),
        [each for reading in known for each in reading.published],
        [each for reading in known for each in reading.audiences],
    )


def _duplicates(readings: Sequence[Reading]) -> Iterator[Issue]:
    """Yield the indicators and audiences that an earlier file defines, too."""
    sources: dict[str, str] = {}
    for reading in readings:
        found = [f"indicator {key}" for key in reading.indicators or ()]
        for name in [*found, *{f"audience {each.key}": None for each in reading.audiences}]:
            other = sources.setdefault(name, reading.source)
            if other != reading.source:
                what, key = name.split()
                reason = f"duplicate {what} {key!r}: {other} defines it, too"
                yield Issue(reading.source, f"{what}s.{key}", reason)


def _file(
    file: Path, issues: list[Issue], warnings: list[Issue], models: Mapping[str, Model]
) -> Reading | None:
    try:
        raw = parse(file)
        without = isinstance(raw, dict) and "segments" not in raw and {"indicators", "audiences"} & raw.keys()
        form = (OtherFileForm if without else SegmentFileForm).model_validate(raw)
    except ValidationError as error:
        issues += form_issues(str(file), "", error)
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        issues.append(unreadable(file, error))
        return None
    reading = Reading(str(file), issues, warnings)
    reading.use_models(None, models)
    reading.use_rfm(form.rfm)
    reading.use_areas(form.places)
    reading.use_tables(Blocks(form.lookups, form.postal_codes, file.parent))
    reading.use_scores(form.scores)
    reading.use_indicators(form.indicators)
    reading.publish_indicators()
    reading.segments(form.segments)
    reading.audiences = read_audiences(form.audiences, str(file), issues)
    return reading


def inline(
    written: Sequence[Any],
    source: str,
    path: str,
    *,
    rfm: Any = None,
    areas: Any = None,
    indicators: Any = None,
    tables: Blocks = NO_TABLES,
    scores: Any = None,
    models: Mapping[str, Model] = NO_MODELS,
) -> list[Definition]:
    """Read a list of segments at a path of another kind of file, with its blocks of a segment file.

    Raises DefinitionError with every mistake. References between segments are not checked.
    """
    issues: list[Issue] = []
    reading = Reading(source, issues, [])
    reading.use_models(None, models)
    reading.use_rfm(rfm)
    reading.use_areas(areas)
    reading.use_tables(tables)
    reading.use_scores(scores)
    reading.use_indicators(indicators)
    reading.segments(written, path)
    if issues:
        raise DefinitionError(issues)
    return reading.definitions


def definition_to_record(definition: Definition) -> bytes:
    """Encode the record that publishes a definition: JSON with the rule as written."""
    if definition.is_indicator:
        return indicator_to_record(definition)
    return msgspec.json.encode(
        {
            "key": definition.key,
            "version": definition.version,
            "name": definition.name,
            "description": definition.description,
            "when": definition.written,
            **written_blocks(definition),
            **({} if definition.policy is None else {"membership": definition.policy.written}),
            **({"alert": [alert.written for alert in definition.alerts]} if definition.alerts else {}),
            **({"expose": True} if definition.expose else {}),
            **({"paused": True} if definition.paused else {}),
        }
    )


def definition_from_record(
    value: bytes,
    tables: Mapping[str, LookupTable] = MappingProxyType({}),
    models: Mapping[str, Model] = NO_MODELS,
) -> Definition | None:
    """Decode a published record; return None if it retires its key.

    ``tables`` and ``models`` take the place of its own.

    Every field is validated, since any client may write to the topic. Raises DefinitionError for an invalid
    record, MissingColumn if it reads a column of a look-up table that is not in memory.
    """
    raw = record_of(value)
    if raw.get("retired") is True:
        version_of(raw)
        return None
    version = raw.get("version")
    issues: list[Issue] = []
    reading = Reading(TOPIC, issues, [], lints=False)
    reading.use_models(raw.get("models"), models)
    reading.use_rfm(raw.get("rfm"))
    reading.use_areas(raw.get("places"))
    reading.tables = {**published_tables(raw.get("lookups"), TOPIC), **tables}
    reading.use_scores(raw.get("scores"))
    if "indicator" in raw:
        return _published_indicator(raw, reading)
    reading.use_indicators(raw.get("indicators"))
    reading.use_lists(raw.get("lists"))
    key = str(raw.get("key"))
    form = {name: item for name, item in raw.items() if name not in _BESIDE_FORM}
    if key.startswith(PREFIX):  # of an audience, which compiles to a definition
        form["key"] = key.removeprefix(PREFIX).partition(".")[0]
    definition = reading.segment(form, key if version else "-")
    if definition is None or issues:
        raise DefinitionError(issues)
    return msgspec.structs.replace(definition, key=key, version=version_of(raw), paused=paused_in(raw))


def _published_indicator(raw: dict[str, Any], reading: Reading) -> Definition:
    prefix, key = INDICATOR_PREFIX, raw.get("key")
    if not isinstance(key, str) or not key.startswith(prefix):
        raise DefinitionError([Issue(TOPIC, "key", f"expected {prefix}KEY, got {key!r:.80}")])
    reading.use_indicators({key.removeprefix(prefix): raw["indicator"]})
    reading.publish_indicators()
    if reading.issues or not reading.published:
        reason = "expected an indicator that is published"
        raise DefinitionError(reading.issues or [Issue(TOPIC, key, reason)])
    return msgspec.structs.replace(reading.published[0], version=version_of(raw))
