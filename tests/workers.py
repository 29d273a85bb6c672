"""A worker's HTTP pages for profiles in memory, on a port of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from aiohttp.web import ServerRunner, TCPSite

from segops.api.access import Access
from segops.api.health import Page
from segops.api.profiles import Elsewhere, ProfilePages
from segops.api.sandbox import SandboxPages
from segops.api.server import Pages, PageServer
from segops.api.timeline import RecentTimeline, TimelinePages, TimelineRequest
from segops.core.views.profile import ProfileView
from segops.core.views.timeline import TimelineEntry
from segops.schemas.sandbox import SandboxStart
from segops.streaming.partition.looking import profile_view, sandbox_start
from segops.testing import Customer

NO_ENTRIES: Mapping[str, list[TimelineEntry]] = MappingProxyType({})
Found = Customer | str | Elsewhere


class StubWorker:
    """Knows customers by identifier; a text is another identifier of the same person."""

    def __init__(
        self, known: Mapping[str, Found], entries: Mapping[str, list[TimelineEntry]], token: str | None
    ) -> None:
        self._known = known
        self._entries = entries
        self.asked: list[str] = []
        access = Access(token=token, local=token is None)
        self.pages = Pages(
            {"/healthz": lambda: Page(200, b"ok\n")},
            ProfilePages(self._view, access),
            slow=(TimelinePages(self._view, self._timeline, access), SandboxPages(self._start, access)),
        )

    def _find(self, identifier: str) -> Customer | Elsewhere | None:
        self.asked.append(identifier)
        found = self._known.get(identifier)
        return self._find(found) if isinstance(found, str) else found

    def _view(self, identifier: str) -> ProfileView | Elsewhere | None:
        found = self._find(identifier)
        if not isinstance(found, Customer):
            return found
        return profile_view(found.engine, found.profile, found.clock_ms, {})

    def _start(self, identifier: str) -> SandboxStart | Elsewhere | None:
        found = self._find(identifier)
        if not isinstance(found, Customer):
            return found
        return sandbox_start(found.engine, found.profile, found.clock_ms, {})

    async def _timeline(self, profile: ProfileView, request: TimelineRequest) -> RecentTimeline:
        found = self._entries.get(profile.profile_id, [])[-request.limit :]
        return RecentTimeline(profile.profile_id, found, 0, 0, 0)


@asynccontextmanager
async def serving_worker(
    known: Mapping[str, Found],
    entries: Mapping[str, list[TimelineEntry]] = NO_ENTRIES,
    *,
    token: str | None = None,
    note: Callable[[StubWorker], None] = lambda _: None,
) -> AsyncIterator[int]:
    """Serve the pages; yield the port on 127.0.0.1."""
    worker = StubWorker(known, entries, token)
    note(worker)
    runner = ServerRunner(PageServer(worker.pages, timeout_s=10, connections=20), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
