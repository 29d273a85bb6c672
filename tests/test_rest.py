"""`make test` and `make test-rest` together run every test."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from .conftest import scope_of

ROOT = Path(__file__).parents[1]


def selected_by(target: str) -> str:
    """Return the mark expression with which a Makefile target selects tests."""
    command = ["make", "--dry-run", "--assume-old", ".venv/.installed", target, "TESTS="]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = shlex.split(next(line for line in said.splitlines() if "/pytest " in line))
    return words[words.index("-m") + 1]


def test_every_test_is_run() -> None:
    """Verify that each target takes what the other leaves, and that the second adds the other examples."""
    assert selected_by("test") == "not rest"
    assert selected_by("test-rest") == "rest or drawn"


def test_table_names_every_file_with_tests_in_the_rest() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "rest"]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    rest = {line.partition("::")[0].removeprefix("tests/") for line in said.splitlines() if "::" in line}
    table = (ROOT / "tests/README.md").read_text("utf-8")
    assert sorted(rest) == sorted(re.findall(r"^\| `([\w/]+\.py)`", table, re.MULTILINE))


def test_modules_with_shared_fixtures_run_in_one_process() -> None:
    sharing = [
        path for path in (ROOT / "tests").rglob("test_*.py") if 'scope="module"' in path.read_text("utf-8")
    ]
    assert sharing
    for path in sharing:
        module = path.relative_to(ROOT).as_posix()
        assert scope_of(f"{module}::test_one[x::y]") == module
    assert (
        scope_of("tests/streaming/test_worker.py::test_one[x]")
        == "tests/streaming/test_worker.py::test_one[x]"
    )
