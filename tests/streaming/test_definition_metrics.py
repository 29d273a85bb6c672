"""The metrics of active definitions follow each set that a worker activates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.core.errors import SegopsError
from segops.core.rules.model import KnownFor
from segops.core.scoring.own import REGISTRY, OwnScore, evaluation
from segops.core.segments import Definition, SegmentSet
from segops.kafka.definitions import Published
from segops.metrics import Metrics
from segops.schemas.models import read_models
from segops.schemas.owner import Owner
from segops.schemas.segments import inline
from segops.scorers import OwnScorer, install
from segops.streaming.model_metrics import export_models
from segops.worker import _build, _stores

OLD = Definition("old", "Old", KnownFor(86_400_000))
NEW = Definition("new", "New", KnownFor(1))
TWICE = Definition("old", "Twice", KnownFor(5))


async def published(*sets: list[Definition]) -> AsyncIterator[Published]:
    for each in sets:
        yield Published(each)


def test_metrics_name_only_the_latest_definitions(tmp_path: Path) -> None:
    metrics = Metrics(CollectorRegistry())

    def exported() -> tuple[float | None, list[str]]:
        samples = [
            sample.labels["version"]
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "segops_definitions_version_info"
        ]
        return metrics.registry.get_sample_value("segops_definitions_active"), samples

    async def scenario() -> None:
        settings = load(state={"data_dir": tmp_path})
        app = _build(settings, Owner("segops"), metrics, _stores(settings), Published([OLD]))
        assert exported() == (1, [SegmentSet([OLD]).version])

        await app.follow(published([OLD, NEW]))
        assert exported() == (2, [SegmentSet([OLD, NEW]).version])
        await app.follow(published([OLD, TWICE]))  # one key for two segments: the previous set stays active
        assert exported() == (2, [SegmentSet([OLD, NEW]).version])
        await app.follow(published([]))
        assert exported() == (0, [SegmentSet([]).version])

    asyncio.run(scenario())


def test_a_switch_whose_checkpoint_fails_ends_the_following(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new set is active already, so the worker must not go on as if it were not."""

    async def fails() -> bool:
        raise SegopsError("the changelog is not acknowledged")

    async def scenario() -> None:
        settings = load(state={"data_dir": tmp_path})
        metrics = Metrics(CollectorRegistry())
        app = _build(settings, Owner("segops"), metrics, _stores(settings), Published([OLD]))
        monkeypatch.setattr(app.pipeline, "checkpoint", fails)
        await app.follow(published([OLD, NEW], [OLD]))

    with pytest.raises(SegopsError, match="not acknowledged"):
        asyncio.run(scenario())


def carrying(key: str, version: int, **fields: object) -> Definition:
    """Return a definition whose rule reads a model."""
    form = {"name": "spending", "kind": "gamma-gamma", "fitted_at": "2026-01-01T00:00:00Z", **fields}
    parameters = {"p": 6.25, "q": 3.74, "gamma": 15.44}
    rule = {"score": "average_order_value_expected", "is": {"gte": 50}}
    models = read_models({"spending": {"parameters": parameters, **form, "version": version}}, "x")
    return inline([{"key": key, "when": rule}], "x", "segments", models=models)[0]


def test_metrics_name_the_models_that_definitions_carry() -> None:
    metrics = Metrics(CollectorRegistry())

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"segops_model_{name}", {"model": "spending"})

    both = [carrying("a", 3, valid_until="1970-01-02T00:00:00Z"), carrying("b", 2)]
    export_models(metrics, [OLD, *both])
    assert [value(name) for name in ("version", "ready", "valid_until_seconds")] == [3, 1, 86_400]
    unready = {"status": "not_enough_data", "reasons": ["too few"]}
    export_models(metrics, [carrying("a", 4, **unready)])
    assert [value(name) for name in ("version", "ready", "valid_until_seconds")] == [4, 0, None]
    export_models(metrics, [OLD])
    assert [value(name) for name in ("version", "ready", "valid_until_seconds")] == [None] * 3


def test_failures_of_own_scorers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REGISTRY, "failed", REGISTRY.failed)
    monkeypatch.setattr(REGISTRY, "known", dict(REGISTRY.known))
    install("broken", OwnScorer({"views": {"did": "View"}}, lambda *_: float("nan")))
    metrics = Metrics(CollectorRegistry())
    export_models(metrics, [OLD])
    own = evaluation(OwnScore("broken", REGISTRY.known["broken"].inputs))  # type: ignore[union-attr]
    assert own is not None and own.value(((1,), 0), 0) is None
    assert metrics.registry.get_sample_value("segops_scorer_failures_total", {"scorer": "broken"}) == 1
