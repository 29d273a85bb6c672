"""The metrics of the models that the active definitions carry."""

from __future__ import annotations

from collections.abc import Iterable

from segops.core.scoring.own import REGISTRY
from segops.core.segments import Definition
from segops.metrics import Metrics
from segops.schemas.published_models import carried_models


def export_models(metrics: Metrics, definitions: Iterable[Definition]) -> None:
    """Export the version, status and validity of each model, and from now on failures of own scorers."""
    REGISTRY.on_failure(lambda name: metrics.scorer_failures.labels(name).inc())
    for gauge in (metrics.model_version, metrics.model_ready, metrics.model_valid_until):
        gauge.clear()
    for name, model in carried_models(definitions).items():
        metrics.model_version.labels(name).set(model.version)
        metrics.model_ready.labels(name).set(model.is_ready)
        if model.valid_until_ms is not None:
            metrics.model_valid_until.labels(name).set(model.valid_until_ms / 1_000)
