"""`make test` and `make test-rest` together run every test."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from .conftest import SLOW, scope_of

TESTS = Path(__file__).parent
ROOT = TESTS.parent

#: What leaves a test or a parameter to the rest, imported from ``tests.rest``.
_MARKING = {"rest", "in_rest", "few_of"}


def marks(path: Path) -> bool:
    """Return whether a test module leaves tests to the rest."""
    imported = re.findall(r"^from tests\.rest import (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return any(_MARKING & set(re.findall(r"\w+", names)) for names in imported)


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


def test_slow_tests_exist() -> None:
    """Verify that `make check` leaves only what there is, and nothing of a renamed test's name."""
    for test in SLOW:
        path, *_, name = test.split("::")
        source = (TESTS / path).read_text("utf-8")
        assert name == "runTest" or re.search(rf"^(async )?def {name}\b", source, re.MULTILINE), test


def test_table_names_every_file_with_tests_in_the_rest() -> None:
    found = [path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py") if marks(path)]
    table = (TESTS / "README.md").read_text("utf-8")
    assert sorted(found) == sorted(re.findall(r"^\| `([\w/]+\.py)`", table, re.MULTILINE))


def test_only_the_module_for_it_marks_tests_as_rest() -> None:
    sources = {path.name: path.read_text("utf-8") for path in TESTS.rglob("*.py") if path != Path(__file__)}
    assert [name for name, source in sources.items() if "mark.rest" in source] == ["rest.py"]


def test_modules_with_shared_fixtures_run_in_one_process() -> None:
    sharing = [path for path in TESTS.rglob("test_*.py") if 'scope="module"' in path.read_text("utf-8")]
    assert sharing
    for path in sharing:
        module = path.relative_to(ROOT).as_posix()
        assert scope_of(f"{module}::test_one[x::y]") == module
    assert (
        scope_of("tests/streaming/test_worker.py::test_one[x]")
        == "tests/streaming/test_worker.py::test_one[x]"
    )
