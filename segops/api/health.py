"""The worker's health and metrics pages: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

_TEXT = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = _TEXT
    headers: Mapping[str, str] = MappingProxyType({})


class Condition(NamedTuple):
    """The condition of a worker: ``reason`` says why it is not ready, ``failed`` that it needs a restart."""

    ready: bool
    reason: str = ""
    failed: bool = False


class Health:
    r"""Liveness and readiness pages for a worker's condition.

    >>> Health(lambda: Condition(ready=False, reason="waiting for Kafka")).ready()[:2]
    (503, b'not ready: waiting for Kafka\n')
    """

    def __init__(self, condition: Callable[[], Condition]) -> None:
        self._condition = condition

    def live(self) -> Page:
        """Return 200 while the process works or waits for Kafka, 500 when it needs a restart."""
        found = self._condition()
        word = "failed" if found.failed else "ok"
        return Page(500 if found.failed else 200, _line(word, found.reason))

    def ready(self) -> Page:
        """Return 200 once the assigned partitions are restored, else 503."""
        found = self._condition()
        return Page(200, b"ready\n") if found.ready else Page(503, _line("not ready", found.reason))


def _line(word: str, reason: str) -> bytes:
    return f"{word}{reason and f': {reason}'}\n".encode()


def metrics_page(registry: CollectorRegistry) -> Page:
    """Return all metrics in the Prometheus text format."""
    return Page(200, generate_latest(registry), CONTENT_TYPE_LATEST)
