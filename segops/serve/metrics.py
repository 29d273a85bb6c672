"""The metrics of the read API."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5)


class ServeMetrics:
    """Requests, and the state of what they are answered from. No label holds a person's id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "segops_serve_requests_total",
            "Requests by route, by the site or server of their key (or unknown), and by HTTP status.",
            ["route", "client", "code"],
            registry=registry,
        )
        self.seconds = Histogram(
            "segops_serve_request_seconds",
            "Time from a request's head until its response is made.",
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.age = Gauge(
            "segops_serve_age_seconds",
            "Time since Kafka last said that all memberships are read; +Inf before the first time.",
            registry=registry,
        )
        self.records = Counter(
            "segops_serve_records_total", "Records read, by topic.", ["topic"], registry=registry
        )
        self.connections = Gauge(
            "segops_serve_connections", "Open connections of readers.", registry=registry
        )
        self.memory = Gauge(
            "segops_serve_store_bytes", "Memory of the store of memberships.", registry=registry
        )
