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
from segops.core.segments import Definition, SegmentSet
from segops.kafka.definitions import Published
from segops.metrics import Metrics
from segops.schemas.owner import Owner
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
