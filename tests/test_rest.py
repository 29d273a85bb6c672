"""`make test` and `make test-rest` together run every test exactly once."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

from .conftest import scope_of

ROOT = Path(__file__).parents[1]
TARGETS = ("test", "test-rest")


def selected_by(target: str) -> str:
    """Return the mark expression with which a Makefile target selects tests."""
    command = ["make", "--dry-run", "--assume-old", ".venv/.installed", target, "TESTS="]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = shlex.split(next(line for line in said.splitlines() if "/pytest " in line))
    return words[words.index("-m") + 1]


@cache
def collected() -> dict[str, tuple[set[str], int]]:
    """Return the tests that each target selects and the total number of tests."""
    base = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m"]
    running = {
        target: subprocess.Popen([*base, selected_by(target)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for target in TARGETS
    }
    return {target: _parsed(process.communicate()[0]) for target, process in running.items()}


def _parsed(said: str) -> tuple[set[str], int]:
    total = re.search(r"^\d+/(\d+) tests collected", said, re.MULTILINE)
    assert total, said[-2_000:]
    return {line for line in said.splitlines() if re.match(r"(?:tests|segops)/\S+::", line)}, int(total[1])


def test_every_test_is_run_by_exactly_one_target() -> None:
    (quick, total), (rest, same_total) = (collected()[target] for target in TARGETS)
    assert quick and rest
    assert not quick & rest
    assert total == same_total == len(quick) + len(rest)


def test_table_names_every_file_with_tests_in_the_rest() -> None:
    table = (ROOT / "tests/README.md").read_text("utf-8")
    named = re.findall(r"^\| `([\w/]+\.py)`", table, re.MULTILINE)
    rest, _ = collected()["test-rest"]
    assert sorted(named) == sorted({name.partition("::")[0].removeprefix("tests/") for name in rest})


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
