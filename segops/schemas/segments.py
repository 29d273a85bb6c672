"""Segment files and the records of the segments topic, to and from validated definitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.core.areas import Area
from segops.core.bulk import collector_paused
from segops.core.errors import DefinitionError, Issue
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.lookups import LookupTable, columns_of
from segops.core.rules.analysis import lint, lint_rfm
from segops.core.rules.blocks import names_of_areas, names_of_scores, reads_rfm
from segops.core.rules.figures import Figure
from segops.core.rules.model import KnownFor, ListInForce, Node
from segops.core.rules.parsing import (
    MAX_NODES,
    Context,
    figure_form,
    read_alerts,
    read_areas,
    read_indicators,
    read_policy,
    read_rfm,
    read_rule,
    read_scores,
)
from segops.core.scoring.rfm import Rfm
from segops.core.segments import Definition, check_references
from segops.schemas.definition_blocks import written_blocks
from segops.schemas.indicators import definitions_of, indicator_to_record
from segops.schemas.issues import form_issues, unreadable
from segops.schemas.lookups import NO_TABLES, Blocks, read_tables
from segops.schemas.published_lookups import published_tables
from segops.schemas.segment_input import TOPIC, files_in, parse, paused_in, record_of, version_of

#: Earlier versions accepted larger rules; published ones remain valid.
_MAX_PUBLISHED_NODES = 10 * MAX_NODES
#: Keys of a published record that are not part of the segment as written.
_BESIDE_FORM = frozenset(("version", "rfm", "places", "indicators", "lookups", "lists", "scores", "paused"))
_T = TypeVar("_T")
KEY_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"


class SegmentForm(BaseModel):
    """A segment as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(pattern=KEY_PATTERN)
    name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=2_000)
    when: dict[Any, Any]
    membership: Any = None
    alert: Any = None


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
    segments: list[dict[Any, Any]] = Field(min_length=1)


class IndicatorFileForm(SegmentFileForm):
    """A segment file without segments: it defines indicators that are published."""

    segments: list[dict[Any, Any]] = []


class Loaded(msgspec.Struct, frozen=True):
    """The segments of some files, the indicators that they publish, and the warnings about them."""

    definitions: list[Definition]
    warnings: list[Issue]
    indicators: list[Definition] = []

    @property
    def all_definitions(self) -> list[Definition]:
        """Those of segments and indicators."""
        return [*self.definitions, *self.indicators]


def load(paths: Sequence[Path]) -> list[Definition]:
    """Load the definitions of files and folders. Raises DefinitionError with the mistakes of all of them."""
    return load_checked(paths).definitions


@collector_paused()
def load_checked(paths: Sequence[Path]) -> Loaded:
    """Load the definitions of files and folders, with warnings. Raises DefinitionError like ``load``."""
    found = _read(paths)
    issues = list(found.issues)
    try:
        check_references([*found.definitions, *found.placeholders])
    except DefinitionError as error:
        issues += [
            issue for issue in error.issues if not (found.unread and "unknown segment" in issue.reason)
        ]
    if issues:
        raise DefinitionError(issues)
    return Loaded(found.definitions, found.warnings, found.indicators)


def load_drafts(paths: Sequence[Path]) -> Loaded:
    """Load definitions that may refer to others elsewhere: ``check_references`` must follow.

    Raises DefinitionError with all other mistakes.
    """
    found = _read(paths)
    if found.issues:
        raise DefinitionError(found.issues)
    return Loaded(found.definitions, found.warnings, found.indicators)


class _Read(NamedTuple):
    """What was read of some files. ``unread``: one of them cannot be read."""

    definitions: list[Definition]
    placeholders: list[Definition]
    issues: list[Issue]
    warnings: list[Issue]
    unread: bool
    indicators: list[Definition]


def _read(paths: Sequence[Path]) -> _Read:
    issues: list[Issue] = []
    warnings: list[Issue] = []
    readings = [_file(file, issues, warnings) for file in files_in(paths)]
    known = [reading for reading in readings if reading is not None]
    issues += _duplicate_indicators(known)
    return _Read(
        [each for reading in known for each in reading.definitions],
        [each for reading in known for each in reading.placeholders],
        issues,
        warnings,
        len(known) < len(readings),
        [each for reading in known for each in reading.published],
    )


def _duplicate_indicators(readings: Sequence[_Reading]) -> Iterator[Issue]:
    """Yield the indicators that an earlier file defines, too."""
    sources: dict[str, str] = {}
    for reading in readings:
        for key in reading.indicators or ():
            other = sources.setdefault(key, reading.source)
            if other != reading.source:
                reason = f"duplicate indicator {key!r}: {other} defines it, too"
                yield Issue(reading.source, f"indicators.{key}", reason)


class _Reading:
    """The reading of one file or record: its source, the definitions and mistakes found, its ``rfm`` block.

    ``lints``: whether rules are checked for nodes that never or always hold. A published record is not: it
    was checked when it was published, and must remain readable even if a later version finds more.
    """

    def __init__(
        self, source: str, issues: list[Issue], warnings: list[Issue], *, lints: bool = True
    ) -> None:
        self.source = source
        self.lints = lints
        self.issues = issues
        self.warnings = warnings
        #: None if the block is invalid.
        self.rfm: Rfm | None = Rfm()
        self.rfm_written: Any = None
        #: The areas of ``places``; None if the block is invalid.
        self.areas: Mapping[str, tuple[Area, ...]] | None = {}
        self.areas_written: Any = {}
        #: None if the block is invalid.
        self.indicators: dict[str, Figure] | None = {}
        self.indicators_written: Any = {}
        #: The definitions of those that are published.
        self.published: list[Definition] = []
        #: The look-up tables; None if the block is invalid.
        self.tables: Mapping[str, LookupTable] | None = {}
        #: The static lists in force that are bound to the rules.
        self.lists: Mapping[str, ListInForce] = {}
        #: The names that ``scores`` declares; None if the block is invalid.
        self.scores: list[str] | None = []
        self.scores_written: Any = {}
        self.definitions: list[Definition] = []
        #: Placeholders for invalid segments, so that references to them are not reported as mistakes, too.
        self.placeholders: list[Definition] = []

    def use_rfm(self, written: Any) -> None:
        """Parse the ``rfm`` block; the rules read afterwards use it."""
        if written is None:
            return
        self.rfm_written, context = written, Context(self.source)
        self.rfm = self._attempt(partial(read_rfm, written, "rfm", context))
        if self.rfm is not None:
            self.warnings += [Issue(self.source, "rfm.tiers", reason) for reason in lint_rfm(self.rfm)]

    def use_areas(self, written: Any) -> None:
        """Parse the ``places`` block; the rules read afterwards use it."""
        if written is not None:
            self.areas = self._attempt(partial(read_areas, written, "places", Context(self.source)))
            self.areas_written = {} if self.areas is None else written

    def use_tables(self, blocks: Blocks) -> None:
        """Read the look-up tables; the rules read afterwards use them."""
        self.tables = self._attempt(partial(read_tables, blocks, Context(self.source)))

    def use_scores(self, written: Any) -> None:
        """Parse the ``scores`` block; what is read afterwards may name its scores."""
        if written is not None:
            context = Context(self.source)
            self.scores = self._attempt(partial(read_scores, written, "scores", context))
            self.scores_written = {} if self.scores is None else written
            self.warnings += context.warnings

    def use_indicators(self, written: Any) -> None:
        """Parse the ``indicators`` block, after all others; the rules read afterwards use it."""
        if written is not None:
            context = Context(self.source, self.rfm, areas=self.areas)
            context.lookups, context.scores = self.tables, self.scores
            self.indicators = self._attempt(partial(read_indicators, written, "indicators", context))
            self.indicators_written = {} if self.indicators is None else written

    def use_lists(self, written: Any) -> None:
        """Parse the static lists that are bound to a published rule, which is read afterwards."""
        try:
            self.lists = msgspec.convert(written or {}, dict[str, ListInForce])
        except msgspec.ValidationError as error:
            self.issues.append(Issue(self.source, "lists", str(error)))

    def publish_indicators(self) -> None:
        """Read which of the indicators are published, and when."""
        context, figures = Context(self.source, self.rfm), self.indicators or {}
        read = partial(definitions_of, self.indicators_written, figures, context, blocks=self._blocks)
        found = (self._attempt(read) or []) if figures else []
        self.published = [each for each in found if self._sound(each.when, f"indicators.{each.name}")]

    def segments(self, written: Sequence[Any], path: str = "segments") -> None:
        """Read a list of segments at a path."""
        for i, raw in enumerate(written):
            definition = self.segment(raw, f"{path}[{i}]")
            if definition is not None:
                self.definitions.append(definition)
            elif isinstance(raw, dict) and isinstance(raw.get("key"), str):
                self.placeholders.append(Definition(raw["key"], raw["key"], KnownFor(0), source=self.source))

    def segment(self, raw: Any, path: str) -> Definition | None:
        """Read a segment; return None if it is invalid, with its mistakes in ``issues``."""
        try:
            form = SegmentForm.model_validate(raw)
        except ValidationError as error:
            self.issues += form_issues(self.source, path, error)
            return None
        most = MAX_NODES if self.lints else _MAX_PUBLISHED_NODES
        context = Context(self.source, self.rfm, most, published=not self.lints, areas=self.areas)
        context.indicators, context.lookups = self.indicators, self.tables
        context.lists, context.scores = self.lists, self.scores
        node = self._attempt(partial(read_rule, form.when, f"{path}.when", context))
        policy, alerts, known = None, None, len(self.issues)
        if "membership" in form.model_fields_set:
            policy = self._attempt(partial(read_policy, form.membership, f"{path}.membership", context))
        if "alert" in form.model_fields_set:
            alerts = self._attempt(partial(read_alerts, form.alert, f"{path}.alert", context))
        self.warnings += context.warnings
        wrong = len(self.issues) > known
        if node is None or not self._sound(node, f"{path}.when") or wrong:
            return None
        return Definition(
            form.key,
            form.name or form.key,
            node,
            form.description,
            written=form.when,
            source=self.source,
            indicators=_chosen(self.indicators_written, context.used_indicators, figure_form),
            lists=msgspec.to_builtins(self.lists) or None,
            **self._blocks(node),
            policy=policy,
            alerts=alerts or (),
        )

    def _blocks(self, node: Node) -> dict[str, Any]:
        """Return the parts of the file's blocks that a rule reads, by the field of a definition."""
        return {
            "rfm": self.rfm_written if self.rfm_written is not None and reads_rfm(node) else None,
            "areas": _chosen(self.areas_written, names_of_areas(node)),
            "columns": columns_of(node) if self.tables else (),
            "scores": _chosen(self.scores_written, names_of_scores(node)),
        }

    def _attempt(self, read: Callable[[], _T]) -> _T | None:
        """Return the result of ``read``, or None after adding its mistakes to ``issues``."""
        try:
            return read()
        except DefinitionError as error:
            self.issues += error.issues
            return None

    def _sound(self, node: Node, path: str) -> bool:
        if not self.lints or (self.rfm is None and reads_rfm(node)):
            return True
        found = lint(node, path)
        self.issues += [Issue(self.source, *finding) for finding in found.never]
        self.warnings += [Issue(self.source, *finding) for finding in (*found.always, *found.notes)]
        return not found.never


def _chosen(written: Any, names: Collection[str], form: Callable[[Any], Any] = lambda part: part) -> Any:
    """Return the parts of a block with these names, each in its ``form``; None if it has none of them."""
    return {name: form(part) for name, part in written.items() if name in names} or None


def _file(file: Path, issues: list[Issue], warnings: list[Issue]) -> _Reading | None:
    try:
        raw = parse(file)
        without = isinstance(raw, dict) and "indicators" in raw and "segments" not in raw
        form = (IndicatorFileForm if without else SegmentFileForm).model_validate(raw)
    except ValidationError as error:
        issues += form_issues(str(file), "", error)
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        issues.append(unreadable(file, error))
        return None
    reading = _Reading(str(file), issues, warnings)
    reading.use_rfm(form.rfm)
    reading.use_areas(form.places)
    reading.use_tables(Blocks(form.lookups, form.postal_codes, file.parent))
    reading.use_scores(form.scores)
    reading.use_indicators(form.indicators)
    reading.publish_indicators()
    reading.segments(form.segments)
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
) -> list[Definition]:
    """Read a list of segments at a path of another kind of file, with its blocks of a segment file.

    Raises DefinitionError with every mistake. References between segments are not checked.
    """
    issues: list[Issue] = []
    reading = _Reading(source, issues, [])
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
            **({"paused": True} if definition.paused else {}),
        }
    )


def definition_from_record(
    value: bytes, tables: Mapping[str, LookupTable] = MappingProxyType({})
) -> Definition | None:
    """Decode a published record; return None if it retires its key. ``tables`` take the place of its own.

    Every field is validated, since any client may write to the topic. Raises DefinitionError for an invalid
    record, MissingColumn if it reads a column of a look-up table that is not in memory.
    """
    raw = record_of(value)
    if raw.get("retired") is True:
        version_of(raw)
        return None
    version = raw.get("version")
    issues: list[Issue] = []
    reading = _Reading(TOPIC, issues, [], lints=False)
    reading.use_rfm(raw.get("rfm"))
    reading.use_areas(raw.get("places"))
    reading.tables = {**published_tables(raw.get("lookups"), TOPIC), **tables}
    reading.use_scores(raw.get("scores"))
    if "indicator" in raw:
        return _published_indicator(raw, reading)
    reading.use_indicators(raw.get("indicators"))
    reading.use_lists(raw.get("lists"))
    form = {key: item for key, item in raw.items() if key not in _BESIDE_FORM}
    definition = reading.segment(form, str(raw.get("key")) if version else "-")
    if definition is None or issues:
        raise DefinitionError(issues)
    return msgspec.structs.replace(definition, version=version_of(raw), paused=paused_in(raw))


def _published_indicator(raw: dict[str, Any], reading: _Reading) -> Definition:
    prefix, key = INDICATOR_PREFIX, raw.get("key")
    if not isinstance(key, str) or not key.startswith(prefix):
        raise DefinitionError([Issue(TOPIC, "key", f"expected {prefix}KEY, got {key!r:.80}")])
    reading.use_indicators({key.removeprefix(prefix): raw["indicator"]})
    reading.publish_indicators()
    if reading.issues or not reading.published:
        reason = "expected an indicator that is published"
        raise DefinitionError(reading.issues or [Issue(TOPIC, key, reason)])
    return msgspec.structs.replace(reading.published[0], version=version_of(raw))
