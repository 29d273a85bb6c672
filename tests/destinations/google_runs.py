"""Runs of the adapter of Google against its stand-in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from segops.destinations.port import Adapter

from .adapters import SECRET, opened
from .google_server import GoogleStandIn, key_file

WRITTEN = {"kind": "google", "key": SECRET, "account": "123", "customer_match_terms": "accepted"}
LIST = {"audience": "55"}
T = TypeVar("T")


def hashed(text: str) -> str:
    """Return the hash of an address."""
    return hashlib.sha256(text.encode()).hexdigest()


def of(*names: str) -> set[str]:
    """Return the hashes of the addresses of some people."""
    return {hashed(f"{name}@shop.example") for name in names}


def run(
    server: GoogleStandIn, work: Callable[[Adapter], Awaitable[T]], *, file: Any = key_file, **written: Any
) -> T:
    """Return what comes of work with an adapter. ``file`` makes the key file for a server."""

    async def served() -> T:
        async with server.serving() as url:
            adapter = opened(WRITTEN | {"url": url} | written, file(url))
            try:
                return await work(adapter)
            finally:
                await adapter.close()

    return asyncio.run(served())
