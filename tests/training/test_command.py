"""``segops train --from``: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import yaml

from segops.cli import train
from segops.config import Settings
from segops.core.scoring.models import Model
from segops.core.training import rivals
from segops.schemas.model_files import load_model
from tests.command import run

from .shop import Shop

FEATURES = [
    {"name": "views_1h", "figure": {"did": "Product Viewed", "within": "1h"}, "transform": "log1p"},
    {"name": "carts_1h", "figure": {"did": "Product Added", "within": "1h"}, "transform": "log1p"},
    {"name": "orders_1h", "figure": {"did": "Order Completed", "within": "1h"}, "transform": "log1p"},
]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "events.jsonl"
    path.write_bytes(b"\n".join(Shop(customers=200, days=25).lines()))
    return path


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "features.yaml"
    path.write_text(yaml.safe_dump({"features": FEATURES, "forbid": ["trait.gender"]}), "utf-8")
    return path


def test_a_file_gives_a_report_a_model_and_a_curve(events: Path, features: Path, tmp_path: Path) -> None:
    done = run(
        "train", "convert_24h", "--from", events, "--features", features,
        "--model", tmp_path / "models", "--plot", tmp_path / "curve.svg",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "convert_24h: ready" in done.out and "the held-out future" in done.out and "░" in done.out
    model = load_model(tmp_path / "models/convert_24h.json")
    assert (
        model.is_ready and model.forbid == ("trait.gender",) and model.trained_on["source"] == "events.jsonl"
    )
    assert (tmp_path / "curve.svg").read_text("utf-8").count("<circle") == len(model.quality["curve"])


def test_a_task_of_ones_own_needs_its_horizon(events: Path, features: Path) -> None:
    done = run("train", "carts", "--event", "Product Added", "--from", events)
    assert done.status == 2 and "--horizon is missing" in done.err
    done = run(
        "train", "carts", "--event", "Product Added", "--horizon", "6h",
        "--from", events, "--features", features, "--format", "json",
    )  # fmt: skip
    assert done.status == 0, done.err
    (report,) = json.loads(done.out)
    assert report["name"] == "carts" and report["model"]["trained_on"]["horizon_ms"] == 6 * 3_600_000


def test_the_horizon_of_a_standard_name_is_its_own(events: Path) -> None:
    done = run("train", "convert_7d", "--horizon", "1d", "--from", events)
    assert done.status == 2 and "part of its name" in done.err


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("features: [{name: a}]", "features[0]"),
        ("features: [{name: a, figure: {did: A, within: 0h}}]", "expected a duration above 0"),
        ("features: [{name: a, figure: {trait: gender.now}}]\nforbid: [trait.gender]", "trait.gender"),
        ("features: [{name: a, figure: {did: A}}]\nkind: x", "kind: unknown key"),
        ("[]", "expected a list of features"),
        ("features: [", "cannot read the features"),
    ],
)
def test_mistakes_of_features_name_the_file_and_the_place(
    events: Path, tmp_path: Path, written: str, reason: str
) -> None:
    file = tmp_path / "features.yaml"
    file.write_text(written, "utf-8")
    done = run("train", "--from", events, "--features", file)
    assert done.status == 2 and str(file) in done.err and reason in done.err


def test_too_few_events_are_not_enough_data(tmp_path: Path, features: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_bytes(b"\n".join(list(Shop(customers=3, days=5).lines())))
    done = run("train", "convert_24h", "--from", few, "--features", features, "--model", tmp_path)
    assert done.status == 0, done.err
    assert "convert_24h: not_enough_data" in done.out and "at least 100 are needed" in done.out
    model = load_model(tmp_path / "convert_24h.json")
    assert model.status == "not_enough_data" and model.reasons
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    done = run("train", "--from", empty)
    assert done.status == 2 and "no event to train on" in done.err


def test_a_model_in_force_that_is_better_is_kept_unless_forced(
    events: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one in force is the same model, so that margins alone decide."""
    command = ("train", "convert_24h", "--from", events, "--features", features)
    run(*command, "--model", tmp_path)
    model = msgspec.structs.replace(load_model(tmp_path / "convert_24h.json"), version=3)
    published: list[str] = []

    async def in_force(_settings: Settings) -> dict[str, Model]:
        return {model.name: model}

    monkeypatch.setattr(train, "models_in_force", in_force)
    monkeypatch.setattr(train, "publish_model", lambda *_, **__: published.append("once"))
    done = run(*command, "--publish")
    assert published == ["once"] and "it may be replaced: the new model is no worse" in done.out
    monkeypatch.setattr(rivals, "AUC_MARGIN", -0.1)
    done = run(*command, "--publish")
    assert published == ["once"] and "convert_24h is kept: not published" in done.err
    assert (
        "version 3, which is in force: AUC 0." in done.out
        and "it is kept: the new model is worse" in done.out
    )
    run(*command, "--publish", "--force")
    assert published == ["once", "once"]
