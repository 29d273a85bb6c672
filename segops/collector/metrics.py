"""The metrics of the collector; those that it shares with workers are in ``segops.metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class CollectorMetrics:
    """Requests, events and memory. ``source`` is the name of a source, or ``unknown``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "segops_collector_requests_total",
            "Requests with events, by source and HTTP status.",
            ["source", "code"],
            registry=registry,
        )
        self.events = Counter(
            "segops_collector_events_total",
            "Events acknowledged by Kafka, by source and whether accepted or rejected (dead letters).",
            ["source", "result"],
            registry=registry,
        )
        self.violations = Counter(
            "segops_collector_violations_total",
            "Violations of tracking plans; the event is one of the plan, or (unknown).",
            ["source", "event", "reason", "action"],
            registry=registry,
        )
        self.plans = Gauge(
            "segops_collector_tracking_plans", "Tracking plans in force in this process.", registry=registry
        )
        self.seconds = Histogram(
            "segops_collector_request_seconds",
            "Time from a request's head until its response, for requests with events.",
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.waiting_bytes = Gauge(
            "segops_collector_waiting_bytes",
            "Size of the bodies being received and of the events not acknowledged by Kafka.",
            registry=registry,
        )
        self.connections = Gauge(
            "segops_collector_connections", "Open connections of senders.", registry=registry
        )
        self.webhooks = Counter(
            "segops_collector_webhooks_total",
            "Webhooks of Shopify, by topic and result: mapped, rejected, ignored, test or unknown.",
            ["topic", "result"],
            registry=registry,
        )
