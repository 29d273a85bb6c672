"""The metrics of the delivery."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class DeliveryMetrics:
    """The metrics of ``segops activate``. No label holds a person's id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.told = Counter(
            "segops_delivery_messages_total",
            "Messages that a destination took (entered, exited, updated) or refused (dead), and changes that "
            "were settled without one (existing, capped, discarded).",
            ["destination", "audience", "result"],
            registry=registry,
        )
        self.seconds = Histogram(
            "segops_delivery_seconds",
            "Time from the publication of a change to its acceptance by the destination.",
            ["destination"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600),
            registry=registry,
        )
        self.waiting = Gauge(
            "segops_delivery_waiting",
            "Addresses at which something may be due.",
            ["destination", "partition"],
            registry=registry,
        )
        self.oldest_seconds = Gauge(
            "segops_delivery_oldest_seconds",
            "How long the oldest of them waits.",
            ["destination", "partition"],
            registry=registry,
        )
        self.requests = Counter(
            "segops_delivery_requests_total",
            "Requests to a destination, by status or failure.",
            ["destination", "status"],
            registry=registry,
        )
        self.closed = Gauge(
            "segops_delivery_closed",
            "Whether a destination takes nothing at present.",
            ["destination"],
            registry=registry,
        )
        self.held = Gauge(
            "segops_audience_held", "Whether an audience is held.", ["audience"], registry=registry
        )
        self.lag = Gauge(
            "segops_delivery_lag_records",
            "Memberships and indicators that are not routed yet.",
            ["topic", "partition"],
            registry=registry,
        )
