"""The metrics of the server for assistants."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class McpMetrics:
    """Calls of tools, on the caller's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "segops_mcp_calls_total",
            "Calls of assistants, by tool and result (answered, refused, failed, cancelled).",
            ["tool", "result"],
            registry=registry,
        )
        self.seconds = Histogram(
            "segops_mcp_call_seconds",
            "Time to answer a call of an assistant.",
            ["tool"],
            registry=registry,
            buckets=_SECONDS_BUCKETS,
        )
        self.denied = Counter(
            "segops_mcp_requests_denied_total",
            "Requests to the server for assistants that were denied, by reason (origin, token).",
            ["reason"],
            registry=registry,
        )
