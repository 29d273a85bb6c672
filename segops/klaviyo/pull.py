"""One pull: the history of both streams, several spans at a time, and then what comes.

Readers put pages into a bounded queue, and one writer commits them together with the position. So the order
of a span's pages is kept, and what is read but not committed when the process dies is read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from segops.config import KlaviyoSettings
from segops.core.errors import SegopsError, UserError
from segops.klaviyo.client import KlaviyoClient
from segops.klaviyo.errors import CursorExpired
from segops.klaviyo.journal import Journal
from segops.klaviyo.pages import STREAMS, Stream, read_account, read_pages
from segops.klaviyo.recent import Recent
from segops.klaviyo.records import Batch, Outgoing, Reader
from segops.klaviyo.state import PullState, Span, new_state
from segops.metrics import Metrics
from segops.request_rates import COOL_DOWN_S

log = logging.getLogger(__name__)

_WAITING_PAGES: Final = 16
#: How often reading may begin again at one position before a page is read.
_RESTARTS: Final = 10


@dataclass(frozen=True, slots=True)
class _Pulled:
    """The records of a page of a span. ``ends``: the page is the last one of the span."""

    span: Span
    records: Sequence[Outgoing]
    latest_ms: int | None
    ends: bool


class Pull:
    """A pull into a journal. ``wall`` returns the wall clock in ms, ``passed`` is called at failpoints."""

    def __init__(
        self,
        client: KlaviyoClient,
        journal: Journal,
        settings: KlaviyoSettings,
        *,
        max_event_bytes: int,
        metrics: Metrics,
        wall: Callable[[], int],
        passed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._settings = settings
        self._max_event_bytes = max_event_bytes
        self._metrics = metrics
        self._wall = wall
        self._passed = passed
        self._queue: asyncio.Queue[_Pulled] = asyncio.Queue(_WAITING_PAGES)
        self._recent = {stream: Recent() for stream in STREAMS}
        self._reader: Reader
        self.state: PullState
        #: The records and pages committed by this process.
        self.counts = dict.fromkeys(STREAMS, 0)
        self.pages = 0
        #: The progress of the history when this process began.
        self.began_at = 0.0

    async def begin(self, *, first: bool) -> None:
        """Read the position, and the account of the key. ``first``: of this process.

        A former process may have used the limits up to a moment ago: then no request is sent for a minute.
        Raises UserError if the position is that of another account.
        """
        found = await self._journal.read()
        if found is not None and first:
            self._cool_down(found)
        self.state = found or PullState(account=None, running=True, at_ms=0, spans=[])
        await self._mark(running=True)
        self._passed("pull_after_mark")
        account = await read_account(self._client)
        if self.state.account is None:
            self.state = new_state(account.id, self._wall(), self._settings.history_ms)
        elif self.state.account != account.id:
            raise UserError(
                f"the position in Kafka is of the Klaviyo account {self.state.account}, the key of "
                f"{account.id}: pull another account with another SEGOPS_TOPIC_PREFIX"
            )
        self._reader = Reader(account, max_bytes=self._max_event_bytes)

    def _cool_down(self, found: PullState) -> None:
        since_s = 0.0 if found.running else max(self._wall() - found.at_ms, 0) / 1_000
        if since_s < COOL_DOWN_S:
            wait_s = COOL_DOWN_S - since_s
            log.info("waiting %.0f s: requests of the former process may still count", wait_s)
            self._client.close_for(wait_s)

    async def run(self, stop: asyncio.Event, *, follow: bool) -> None:
        """Pull what is left of the history, then what has come since, with ``follow`` again and again.

        Ends early once ``stop`` is set; what is read by then is committed.
        """
        self.began_at = self.state.progress
        await self._read_all({stream: self.state.history(stream) for stream in STREAMS}, stop)
        while not stop.is_set():
            for recent in self._recent.values():
                recent.begin_poll()
            await self._read_all({stream: [self.state.following(stream)] for stream in STREAMS}, stop)
            if not follow:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._settings.interval_ms / 1_000)
        await self._mark(running=False)

    async def _read_all(self, spans: dict[Stream, list[Span]], stop: asyncio.Event) -> None:
        """Read spans of both streams and commit their pages. Raises the first error."""
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write())
                readers = [
                    group.create_task(self._read_spans(waiting, stop))
                    for waiting in spans.values()
                    for _ in range(min(self._settings.connections, len(waiting)))
                ]
                if readers:
                    await asyncio.wait(readers)
                await self._queue.join()
                writer.cancel()
        except* Exception as failed:
            raise failed.exceptions[0] from None

    async def _read_spans(self, waiting: list[Span], stop: asyncio.Event) -> None:
        while waiting and not stop.is_set():
            await self._read_span(waiting.pop(0), stop)

    async def _read_span(self, span: Span, stop: asyncio.Event) -> None:
        from_ms, restarts = span.begin_ms(self._settings.overlap_ms), 0
        while True:
            try:
                async for page in read_pages(self._client, span.stream, from_ms, span.until_ms):
                    batch = self._reader.read(span.stream, page)
                    ends = page.cursor is None
                    await self._queue.put(_Pulled(span, self._new(span, batch), batch.latest_ms, ends))
                    if batch.latest_ms is not None and batch.latest_ms > (from_ms or 0):
                        from_ms, restarts = batch.latest_ms, 0
                    if stop.is_set():
                        return
                return
            except CursorExpired as error:
                restarts += 1
                self._metrics.pull_restarts.labels(span.stream).inc()
                log.info("the %s are read again from their last position: %s", span.stream, error)
                if restarts > _RESTARTS:
                    raise SegopsError(f"{restarts} cursors of one position expired: {error}") from error

    def _new(self, span: Span, batch: Batch) -> Sequence[Outgoing]:
        """Return the records of a page that are not read yet: each poll reads the overlap again."""
        recent = self._recent[span.stream]
        if span.live:
            return recent.new(batch.records)
        polled_ms = self.state.following(span.stream).begin_ms(self._settings.overlap_ms) or 0
        if (batch.latest_ms or 0) >= polled_ms:
            recent.new(batch.records)
        return batch.records

    async def _write(self) -> None:
        while True:
            pulled = [await self._queue.get()]
            while not self._queue.empty():
                pulled.append(self._queue.get_nowait())
            await self._commit(pulled)
            for _ in pulled:
                self._queue.task_done()

    async def _commit(self, pulled: Sequence[_Pulled]) -> None:
        now_ms = self._wall()
        for each in pulled:
            each.span.reach(each.latest_ms, now_ms)
            each.span.done = each.ends and not each.span.live
        self.state.at_ms = now_ms
        await self._journal.commit((record for each in pulled for record in each.records), self.state)
        self.pages += len(pulled)
        for each in pulled:
            self._count(each.span, each.records, now_ms)

    def _count(self, span: Span, records: Iterable[Outgoing], now_ms: int) -> None:
        for record in records:
            if record.reason is not None:
                self._metrics.dead_letters.labels(record.reason).inc()
                continue
            self.counts[span.stream] += 1
            self._metrics.pull_records.labels(span.stream).inc()
        if span.live:
            self._metrics.pull_lag.labels(span.stream).set((now_ms - (span.reached_ms or 0)) / 1_000)

    async def _mark(self, *, running: bool) -> None:
        """Make it durable whether requests may follow."""
        self.state.running, self.state.at_ms = running, self._wall()
        await self._journal.commit((), self.state)
