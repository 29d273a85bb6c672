"""Model files in ``segops models check`` and ``segops check --models``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import run

SPENDING: dict[str, Any] = {
    "name": "spending",
    "kind": "gamma-gamma",
    "fitted_at": "2026-01-01T00:00:00Z",
    "parameters": {"p": 6.25, "q": 3.74, "gamma": 15.44},
}
SEGMENTS = "version: 1\nsegments:\n- {key: a, when: {score: average_order_value_expected, is: {gte: 50}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    return tmp_path


def written(folder: Path, name: str = "spending.json", **fields: Any) -> Path:
    (folder / name).write_text(json.dumps({**SPENDING, **fields}))
    return folder / name


def test_model_files_are_checked_together(folder: Path) -> None:
    good, twice = written(folder), written(folder, "twice.json")
    bad = written(folder, "bad.json", kind="gamma", parameters={"p": 0})
    done = run("models", "check", good, twice, bad)
    assert done.status == 2
    assert f"{twice}: name: duplicate model 'spending': {good} has it, too" in done.err
    assert f"{bad}: kind: unknown kind 'gamma'" in done.err
    assert run("models", "check", good).out == "spending: gamma-gamma, ready: OK\n"


def test_stale_and_unready_models_are_named(folder: Path) -> None:
    stale = written(folder, valid_until="2026-01-02T00:00:00Z")
    done = run("models", "check", stale)
    assert done.status == 0
    assert "spending: the model was valid until 2026-01-02T00:00:00.000Z; it scores as before" in done.err


def test_rules_are_checked_with_models(folder: Path) -> None:
    without = run("check", folder / "s.yaml", "--cost")
    with_it = run("check", folder / "s.yaml", "--cost", "--models", written(folder))
    assert (without.status, with_it.status, with_it.err) == (0, 0, "")
    assert "1 segment, 0 features" in without.out and "1 segment, 1 feature:" in with_it.out
    unready = written(folder, status="not_enough_data", reasons=["9 customers"])
    done = run("check", folder / "s.yaml", "--models", unready)
    assert "its scores are missing, since the model is not_enough_data (9 customers)" in done.err
    (folder / "s.yaml").write_text("version: 1\nsegments: [{key: a, when: {did: A}}]")
    done = run("check", folder / "s.yaml", "--models", written(folder))
    assert "spending: no rule reads a score of this model (average_order_value_expected, ltv_90d" in done.err
