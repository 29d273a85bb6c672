"""The metrics of the processes beside the workers: archive, sources, pulls, output and delivery."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge

from segops.delivery_metrics import DeliveryMetrics


class AuxiliaryMetrics:
    """The part of ``Metrics`` that workers never write."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._archive(registry)
        self._sources(registry)
        self._pulls(registry)
        self._catalogue(registry)
        self.delivery = DeliveryMetrics(registry)
        self._output(registry)

    def _archive(self, registry: CollectorRegistry) -> None:
        self.archive_records = Counter(
            "segops_archive_records_total", "Records archived.", ["topic"], registry=registry
        )
        self.archive_files = Counter(
            "segops_archive_files_total",
            "Archive files written to append, compact or erase.",
            ["action"],
            registry=registry,
        )
        self.archive_bytes = Counter(
            "segops_archive_bytes_total",
            "Size of the archive files written to append, compact or erase.",
            ["action"],
            registry=registry,
        )
        self.archive_erased = Counter(
            "segops_archive_erased_records_total",
            "Records deleted for an erasure, or redacted.",
            ["action"],
            registry=registry,
        )
        self.archive_lag = Gauge(
            "segops_archive_lag_records",
            "Records that the archive has not read yet.",
            ["topic", "partition"],
            registry=registry,
        )
        self.archive_gaps = Counter(
            "segops_archive_gaps_total",
            "Times that records were deleted from a topic before they were archived.",
            ["topic"],
            registry=registry,
        )
        self.archive_superseded = Counter(
            "segops_archive_superseded_total",
            "Times that another archive process had claimed a partition of this one.",
            registry=registry,
        )

    def _sources(self, registry: CollectorRegistry) -> None:
        self.source_records = Counter(
            "segops_source_records_total", "Records of a source read.", ["topic"], registry=registry
        )
        self.source_events = Counter(
            "segops_source_events_total", "Events that a source was mapped to.", ["topic"], registry=registry
        )
        self.source_rejected = Counter(
            "segops_source_rejected_total",
            "Records of a source that became dead letters.",
            ["topic", "reason"],
            registry=registry,
        )
        self.source_lag = Gauge(
            "segops_source_lag_records",
            "Records of a source that are not read yet.",
            ["topic", "partition"],
            registry=registry,
        )
        self.source_waiting = Gauge(
            "segops_source_waiting",
            "Whether a partition of a source waits for the schema registry.",
            ["topic", "partition"],
            registry=registry,
        )
        self.source_lost = Counter(
            "segops_source_lost_records_total",
            "Records of a source that were deleted before they were read.",
            ["topic", "partition"],
            registry=registry,
        )

    def _catalogue(self, registry: CollectorRegistry) -> None:
        self.catalogue_events = Counter(
            "segops_catalogue_events_total",
            "Events read for the catalogue: counted, or rejected as the engine does.",
            ["result"],
            registry=registry,
        )
        self.catalogue_entries = Gauge(
            "segops_catalogue_entries",
            "Entries of the catalogue, an event or the traits of a source each.",
            registry=registry,
        )
        self.catalogue_lag = Gauge(
            "segops_catalogue_lag_records",
            "Events that the catalogue has not read yet.",
            ["partition"],
            registry=registry,
        )

    def _output(self, registry: CollectorRegistry) -> None:
        self.output_records = Counter(
            "segops_output_records_total",
            "Records written in the format of the output, by their topic.",
            ["topic"],
            registry=registry,
        )
        self.output_skipped = Counter(
            "segops_output_skipped_records_total",
            "Records of a membership topic that no worker has written, which the output leaves out.",
            ["topic"],
            registry=registry,
        )
        self.output_lag = Gauge(
            "segops_output_lag_records",
            "Records of a membership topic that the output has not copied yet.",
            ["topic", "partition"],
            registry=registry,
        )
        self.output_lost = Counter(
            "segops_output_lost_records_total",
            "Records of a membership topic that were deleted before the output copied them.",
            ["topic", "partition"],
            registry=registry,
        )

    def forget_output(self, topic: str, partition: int) -> None:
        """Drop the gauge of a partition that this process no longer copies."""
        remove(self.output_lag, topic, str(partition))

    def forget_archived(self, topic: str, partition: int) -> None:
        """Drop the gauge of a partition that this process no longer archives."""
        remove(self.archive_lag, topic, str(partition))

    def forget_delivered(self, topic: str, partition: int) -> None:
        """Drop the gauge of a partition that this process no longer routes."""
        remove(self.delivery.lag, topic, str(partition))

    def forget_source(self, topic: str, partition: int) -> None:
        """Drop the gauges of a partition that this process no longer copies."""
        for gauge in (self.source_lag, self.source_waiting):
            remove(gauge, topic, str(partition))

    def _pulls(self, registry: CollectorRegistry) -> None:
        self.pull_requests = Counter(
            "segops_pull_requests_total",
            "Requests to a service that is pulled, by path and by status or failure.",
            ["path", "status"],
            registry=registry,
        )
        self.pull_wait_seconds = Counter(
            "segops_pull_wait_seconds_total",
            "Time that requests waited for the rate limits of a service.",
            ["path"],
            registry=registry,
        )
        self.pull_records = Counter(
            "segops_pull_records_total", "Records pulled and durable in Kafka.", ["stream"], registry=registry
        )
        self.pull_restarts = Counter(
            "segops_pull_restarts_total",
            "Times that reading began again at its last position because a cursor had expired.",
            ["stream"],
            registry=registry,
        )
        self.pull_lag = Gauge(
            "segops_pull_lag_seconds",
            "Age of the position up to which a stream is pulled.",
            ["stream"],
            registry=registry,
        )


def remove(gauge: Gauge, *labels: str) -> None:
    """Drop the sample with these labels, if it was ever set."""
    with contextlib.suppress(KeyError):
        gauge.remove(*labels)
