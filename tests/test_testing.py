"""The test kit: its public names are documented, its output is whole, and the example of the guide passes."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segops import testing
from segops.core.errors import DefinitionError
from segops.streaming.partition.output import Output
from segops.testing import Customer, FakeClock, Flip, RecordingOutput, at

from .test_docs import GUIDE, blocks, text

EXAMPLE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def test_every_public_name_is_documented_in_the_guide() -> None:
    section = text(GUIDE).split("### From Python")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(testing.__all__)


def test_example_of_the_guide_passes_and_can_fail(tmp_path: Path) -> None:
    ((name, example),) = EXAMPLE.findall(text(GUIDE))
    segments = next(block for block in blocks(GUIDE, "yaml") if block.startswith("version: 1\n"))
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(example)
    assert _passed(tmp_path, segments) == 2
    assert _passed(tmp_path, segments.replace("gte: 3", "gte: 4")) == 1


def _passed(folder: Path, segments: str) -> int:
    (folder / "segments.yaml").write_text(segments)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60).stdout
    return int(re.findall(r"(\d+) passed", shown)[0])


def test_recording_output_has_the_methods_of_an_output() -> None:
    assert _methods(RecordingOutput) == _methods(Output)


def _methods(output: type) -> dict[str, inspect.Signature]:
    functions = inspect.getmembers(output, inspect.isfunction)
    return {name: inspect.signature(function) for name, function in functions if name[0] != "_"}


def test_customer_of_invalid_files_is_refused_with_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text("version: 1\nsegments: [{key: a, when: {did: 1}}, {key: b, when: {known_for: 1}}]")
    with pytest.raises(DefinitionError) as refused:
        Customer.from_files(file)
    assert len(refused.value.issues) == 2


def test_clock_of_a_customer_never_goes_back(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nsegments: [{key: a, when: {known_for: 1h}}]")
    customer = Customer.from_files(tmp_path, clock_ms=at("2026-01-02"))
    assert customer.did("A", at("2026-01-01")) == [Flip("entered", "a", at("2026-01-02"))]
    customer.wait(0)
    assert customer.clock_ms == at("2026-01-02")


def test_invalid_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an ISO-8601 date or time, got 'soon'"):
        at("soon")


def test_clock_moves_only_when_it_is_moved() -> None:
    clock = FakeClock(10_000)
    assert (clock(), clock.seconds()) == (10_000, 10.0)
    clock.advance(-1)
    assert (clock(), clock.seconds()) == (9_999, 9.999)
