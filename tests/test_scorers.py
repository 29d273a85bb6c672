"""Scorers of your own: the package on their page, entry points, and the check of their promises."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from segops.core.scoring.own import REGISTRY, Installed
from segops.scorers import GROUP, OwnScorer, load
from segops.testing import check_scorer

from .command import call
from .core.own_scorers import SCORERS

PAGE = Path(__file__).parents[1] / "segops/scorers.md"
FILES = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
VIEWS = {"views": {"did": "View"}, "since": {"days_since_last": "View"}, "plan": {"trait": "plan"}}


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Restore the registry."""
    known = dict(REGISTRY.known)
    yield
    REGISTRY.known.clear()
    REGISTRY.known.update(known)


def write(folder: Path, points: Mapping[str, str], package: str = "acme_scores") -> None:
    """Write the metadata of an installed package with these entry points."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a folder with the files of the page, as installed."""
    for name, written in FILES.findall(PAGE.read_text("utf-8")):
        (tmp_path / name).write_text(written)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    write(tmp_path, project["entry-points"][GROUP])
    return tmp_path


def test_the_package_of_the_page_passes_its_tests_and_can_fail(page: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme_scores.py"]

    def passed() -> int:
        shown = subprocess.run(command, cwd=page, capture_output=True, text=True, timeout=60).stdout
        return sum(map(int, re.findall(r"(\d+) passed", shown)))

    assert passed() == 2
    (page / "segments.yaml").write_text((page / "segments.yaml").read_text().replace("0.75", "0.25"))
    (page / "acme_scores.py").write_text(
        (page / "acme_scores.py").read_text().replace("1 - 2", "(-1) ** int(days)")
    )
    assert passed() == 0


def test_check_reads_the_model_of_the_page_where_it_is_installed(
    page: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(page)
    arguments = ("check", "segments.yaml", "--models", "boredom.json")
    assert call(*arguments) == 2
    assert "the scorer 'acme_boredom' is not installed here" in capfd.readouterr().err
    REGISTRY.known.pop("acme_boredom")
    monkeypatch.syspath_prepend(str(page))
    importlib.invalidate_caches()
    assert call(*arguments) == 0
    assert "installed" not in "".join(capfd.readouterr())
    sys.modules.pop("acme_scores")


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ({"acme": "nowhere_at_all:x"}, "cannot be loaded: ModuleNotFoundError"),
        ({"acme": "json:dumps"}, "cannot be loaded: TypeError('expected an OwnScorer, got function')"),
        ({}, "is not installed here"),
    ],
)
def test_an_entry_point_that_cannot_be_used_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: dict[str, str], reason: str
) -> None:
    write(tmp_path, points)
    monkeypatch.syspath_prepend(str(tmp_path))
    load("acme")
    assert reason in str(REGISTRY.known["acme"])


def test_a_name_of_two_packages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("acme_one", "acme_two"):
        write(tmp_path, {"acme": "json:dumps"}, package)
    monkeypatch.syspath_prepend(str(tmp_path))
    load("acme")
    assert REGISTRY.known["acme"] == "the scorer 'acme' is installed by several packages: acme_one, acme_two"


def test_a_scorer_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def found(name: str, **_keys: str) -> tuple[()]:
        asked.append(name)
        return ()

    monkeypatch.setattr("segops.scorers.entry_points", found)
    load("acme")
    load("acme")
    assert asked == ["acme"]
    assert not isinstance(REGISTRY.known["acme"], Installed)


# -- check_scorer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["own_monotone", "own_steps"])
def test_scorers_that_keep_their_word_pass(name: str) -> None:
    check_scorer(SCORERS[name], {"by": 5, "hours": 6})


def days(values: Any, now_ms: int) -> int:
    return (now_ms - (values["since"] or 0)) // 86_400_000


def next_day(values: Any, now_ms: int, _parameters: Any) -> int:
    return (values["since"] or 0) + (days(values, now_ms) + 1) * 86_400_000


_count = iter(range(10**9))
LIARS = [
    (OwnScorer(VIEWS, lambda *_: float("inf")), "expected a finite number or None, got inf"),
    (OwnScorer(VIEWS, lambda *_: True), "expected a finite number or None, got True"),
    (OwnScorer(VIEWS, lambda *_: next(_count)), "the same arguments gave"),
    (OwnScorer(VIEWS, lambda values, now_ms, _: days(values, now_ms)), "a constant score moved with time"),
    (
        OwnScorer(VIEWS, lambda values, now_ms, _: days(values, now_ms) % 7, "monotone"),
        "a monotone score turned",
    ),
    (
        OwnScorer(VIEWS, lambda values, now_ms, _: 1 if days(values, now_ms) > 1_000 else None, "monotone"),
        "a monotone score is missing at some instants only",
    ),
    (
        OwnScorer(VIEWS, lambda *_: 1, "steps", lambda _values, now_ms, _parameters: now_ms + 59_999),
        "expected a step at",
    ),
    (
        OwnScorer(VIEWS, lambda values, now_ms, _: days(values, now_ms + 3_600_000), "steps", next_day),
        "the score moved between",
    ),
    (
        OwnScorer(VIEWS, lambda values, now_ms, _: days(values, now_ms), "steps", lambda *_: None),
        "the score moved",
    ),
]


@pytest.mark.parametrize(("scorer", "reason"), LIARS)
def test_scorers_that_break_their_word_are_found(scorer: OwnScorer, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_scorer(scorer)


def test_steps_of_whole_days_pass() -> None:
    check_scorer(OwnScorer(VIEWS, lambda values, now_ms, _: days(values, now_ms), "steps", next_day))


def test_values_may_be_drawn_by_the_caller() -> None:
    seen = set()
    scorer = OwnScorer(VIEWS, lambda values, _now_ms, _parameters: seen.add(values["plan"]))  # type: ignore[func-returns-value]
    check_scorer(scorer, draw=lambda random, _now_ms: {"plan": random.choice(["a", "b"])})
    assert seen == {"a", "b"}
