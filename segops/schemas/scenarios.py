"""Scenario files, read into validated scenarios; every mistake is reported in one run.

A scenario is a list of steps on one clock. The events of the steps are encoded and validated here, so that
a run of a scenario can only pass or fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segops.core.errors import DefinitionError, Issue, UserError
from segops.core.segments import SegmentSet
from segops.schemas.issues import form_issues, format_location, unreadable
from segops.schemas.scenario_segments import PublishedSegments, read_segments
from segops.schemas.scenario_steps import ScenarioStep, StepForm, StepReader, first_instant, shifted_instant
from segops.schemas.written import SAFE_LOADER, read_yaml

SUFFIXES = (".yaml", ".yml")


class ScenarioForm(BaseModel):
    """A scenario as written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    start: str = Field(default="", min_length=1)
    steps: list[StepForm] = Field(min_length=1)


class ScenarioFileForm(BaseModel):
    """A scenario file as written; ``segments`` is a path relative to it, or a list of segments."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = 1
    segments: Any
    scenarios: list[ScenarioForm] = Field(min_length=1)


class Scenario(msgspec.Struct, frozen=True):
    """A validated scenario, ready to run; ``line`` is its first line in the file."""

    name: str
    file: Path
    line: int
    segments: SegmentSet
    start_ms: int
    steps: tuple[ScenarioStep, ...]


class _Document:
    """A scenario file: its content, the line of each part, and the mistakes found."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.issues: list[Issue] = []
        text = file.read_text("utf-8-sig")
        self.content = read_yaml(text)  # checks the limits, so that composing it for the lines is safe
        self._node: Any = yaml.compose(text, SAFE_LOADER)

    def refuse(self, loc: tuple[int | str, ...], reason: str) -> None:
        self.issues.append(Issue(f"{self.file}:{self.line(loc)}", format_location("", loc), reason))

    def line(self, loc: Sequence[int | str]) -> int:
        """Return the line of a location, or of its nearest ancestor in the file."""
        node, line = self._node, 1
        for part in loc:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line


def _child(node: Any, part: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None


def load_scenarios(paths: Sequence[Path]) -> list[Scenario]:
    """Load the scenarios of files and folders. Raises DefinitionError with the mistakes of all of them."""
    issues: list[Issue] = []
    scenarios: list[Scenario] = []
    for file in _files(paths):
        scenarios += _file(file, issues)
    if issues:
        raise DefinitionError(issues)
    return scenarios


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
            if not found:
                raise UserError(f"{path}: no scenario files ({', '.join(SUFFIXES)}) in this folder")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path}: no such file or folder")


def _file(file: Path, issues: list[Issue]) -> list[Scenario]:
    try:
        document = _Document(file)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        issues.append(unreadable(file, error))
        return []
    scenarios = _scenarios(document)
    issues += document.issues
    return scenarios


def _scenarios(document: _Document) -> list[Scenario]:
    try:
        form = ScenarioFileForm.model_validate(document.content)
    except ValidationError as error:
        for issue, detail in zip(form_issues("", "", error), error.errors(), strict=True):
            document.refuse(detail["loc"], issue.reason)
        return []
    segments = _segments(form.segments, document)
    _refuse_duplicates([scenario.name for scenario in form.scenarios], document)
    return [_scenario(scenario, i, segments, document) for i, scenario in enumerate(form.scenarios)]


def _segments(written: Any, document: _Document) -> SegmentSet | None:
    definitions = read_segments(written, ("segments",), document)
    try:
        return None if definitions is None else SegmentSet(definitions)
    except DefinitionError as error:
        document.issues += error.issues
    return None


def _refuse_duplicates(names: Sequence[str], document: _Document) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            document.refuse(("scenarios", i, "name"), f"duplicate name {name!r}")


def _scenario(form: ScenarioForm, index: int, segments: SegmentSet | None, document: _Document) -> Scenario:
    location = ("scenarios", index)
    published = PublishedSegments(segments, document)
    reader = StepReader(document, location, _start(form, location, document), published)
    steps = tuple(reader.read(step, i) for i, step in enumerate(form.steps))
    if not any(step.checks for step in steps):
        document.refuse(location, "missing checks: no step has expect, changes or members")
    begins = SegmentSet.EMPTY if segments is None else segments
    return Scenario(form.name, document.file, document.line(location), begins, reader.start_ms, steps)


def _start(form: ScenarioForm, location: tuple[str, int], document: _Document) -> int:
    try:
        return shifted_instant(form.start or first_instant(form.steps), None)
    except ValueError as error:
        document.refuse((*location, "start"), str(error))
        return 0
