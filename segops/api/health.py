"""What the worker says about itself: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

_TEXT = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = _TEXT
    headers: Mapping[str, str] = MappingProxyType({})


class Condition(NamedTuple):
    """How a worker is. ``reason``: why it is not ready. ``failed``: only a new process can help."""

    ready: bool
    reason: str = ""
    failed: bool = False


class Health:
    """Liveness and readiness out of a worker's condition.

    >>> Health(lambda: Condition(ready=False, reason="waiting for Kafka")).ready()[:2]
    (503, b'not ready: waiting for Kafka\\n')
    """

    def __init__(self, condition: Callable[[], Condition]) -> None:
        self._condition = condition

    def live(self) -> Page:
        """200 while the process works, or waits for Kafka; 500 asks for a new process."""
        found = self._condition()
        word = "failed" if found.failed else "ok"
        return Page(500 if found.failed else 200, _line(word, found.reason))

    def ready(self) -> Page:
        """200 once partitions are assigned and restored."""
        found = self._condition()
        return Page(200, b"ready\n") if found.ready else Page(503, _line("not ready", found.reason))


def _line(word: str, reason: str) -> bytes:
    return f"{word}{reason and f': {reason}'}\n".encode()


def metrics_page(registry: CollectorRegistry) -> Page:
    """All metrics in Prometheus' text form."""
    return Page(200, generate_latest(registry), CONTENT_TYPE_LATEST)
