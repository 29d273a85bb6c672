"""The HTTP pages of processes on this machine: readiness and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import closing

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 5.0


async def get(port: int, path: str) -> tuple[int, str]:
    """Fetch a page of this machine: its status and body; status 0 if there is no answer."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await _get(port, path)
    except (OSError, TimeoutError, ValueError):
        return 0, ""


async def _get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    return int(head.split(" ", 2)[1]), body


async def ready(ports: Iterable[int]) -> bool:
    """Tell whether all of these workers are ready."""
    return all([(await get(port, "/readyz"))[0] == 200 for port in ports])


async def total(ports: Iterable[int], metric: str) -> int:
    """Return the sum of a counter over all workers and labels."""
    pages = [(await get(port, "/metrics"))[1] for port in ports]
    samples = (
        sample
        for page in pages
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    )
    return int(sum(sample.value for sample in samples if sample.name == metric))
