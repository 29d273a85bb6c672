"""Metrics follow the naming rules, are bounded, and are not registered on import."""

from __future__ import annotations

import subprocess
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from segops.collector.metrics import CollectorMetrics
from segops.metrics import Metrics

LABELS = {"kind", "path", "found", "direction", "step", "reason", "segment", "action", "topic", "partition"}
LABELS |= {
    "found_in",
    "activity",
    "source",
    "code",
    "result",
    "status",
    "stream",
    "event",
    "indicator",
    "model",
    "scorer",
}


def families() -> dict[str, MetricWrapperBase]:
    registry = CollectorRegistry()
    declared = {**vars(Metrics(registry)), **vars(CollectorMetrics(registry))}
    return {name: value for name, value in declared.items() if isinstance(value, MetricWrapperBase)}


def test_names_labels_and_help_follow_conventions() -> None:
    for metric in families().values():
        assert metric._name.startswith("segops_")
        assert metric._documentation.endswith(".")
        assert set(metric._labelnames) <= LABELS


def test_metric_names_are_unique_and_all_are_exported() -> None:
    metrics = Metrics(CollectorRegistry())
    CollectorMetrics(metrics.registry)
    metrics.build.info({"version": "1"})
    metrics.definitions_version.info({"version": "abc"})
    text = generate_latest(metrics.registry).decode()
    for metric in families().values():
        assert f"# HELP {metric._name}" in text
    assert 'segops_build_info{version="1"} 1.0' in text
    assert 'segops_definitions_version_info{version="abc"} 1.0' in text


def test_two_sets_of_metrics_coexist() -> None:
    first, second = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    first.duplicates.inc()
    assert first.registry.get_sample_value("segops_events_duplicate_total") == 1
    assert second.registry.get_sample_value("segops_events_duplicate_total") == 0


def test_segments_beyond_a_thousand_share_one_label() -> None:
    metrics = Metrics(CollectorRegistry())
    assert {metrics.segment(f"s{n}") for n in range(1_500)} == {f"s{n}" for n in range(1_000)} | {"other"}


def test_revoked_partition_leaves_no_gauge() -> None:
    metrics = Metrics(CollectorRegistry())
    for partition in ("3", "4"):
        metrics.partition_clock.labels(partition).set(1)
        metrics.consumer_lag.labels("events", partition).set(1)
    metrics.forget_partition(3, "events", "never-seen")
    text = generate_latest(metrics.registry).decode()
    assert 'partition="3"' not in text
    assert text.count('partition="4"') == 2


def test_import_registers_no_metrics() -> None:
    code = (
        "import prometheus_client as p; before = set(p.REGISTRY._names_to_collectors);"
        "import segops.metrics; assert set(p.REGISTRY._names_to_collectors) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
