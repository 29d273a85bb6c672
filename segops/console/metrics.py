"""Metrics of the console."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20)


class ConsoleMetrics:
    """Metrics in ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "segops_console_requests_total",
            "Requests by route and HTTP status.",
            ["route", "code"],
            registry=registry,
        )
        self.seconds = Histogram(
            "segops_console_request_seconds",
            "Time from a request's head until its response is made; streams are not counted.",
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.sign_ins = Counter(
            "segops_console_sign_ins_total",
            "Attempts to sign in, by the way of signing in and by result: ok, refused or delayed.",
            ["login", "result"],
            registry=registry,
        )
        self.streams = Gauge("segops_console_streams", "Open live streams.", registry=registry)
        self.connections = Gauge("segops_console_connections", "Open connections.", registry=registry)
        self.audit_failures = Counter(
            "segops_console_audit_failures_total",
            "Changes and reads of people refused since the audit could not be written.",
            registry=registry,
        )
