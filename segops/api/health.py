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


class Health:
    """Liveness and readiness out of two questions.

    >>> Health(is_ready=lambda: False, has_failed=lambda: False).ready().status
    503
    """

    def __init__(self, is_ready: Callable[[], bool], has_failed: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        self._has_failed = has_failed

    def live(self) -> Page:
        """200 while the process works: an orchestrator restarts it otherwise."""
        return Page(500, b"failed\n") if self._has_failed() else Page(200, b"ok\n")

    def ready(self) -> Page:
        """200 once partitions are assigned and restored."""
        return Page(200, b"ready\n") if self._is_ready() else Page(503, b"not ready\n")


def metrics_page(registry: CollectorRegistry) -> Page:
    """All metrics in Prometheus' text form."""
    return Page(200, generate_latest(registry), CONTENT_TYPE_LATEST)
