"""The life of a process that works in sessions: one from each connection to Kafka to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from segops.kafka.outages import Outage, OutOfTouch, Pauses, is_outage
from segops.kafka.reachability import Unreachable

log = logging.getLogger(__name__)


class Sessions:
    """Begins a session after the other, and waits out the outages of Kafka between them."""

    def __init__(self) -> None:
        self._outage = Outage()
        self._pauses = Pauses()
        self._connected = False

    @property
    def waits_for(self) -> str | None:
        """The present outage, in words, or None."""
        reason = self._outage.reason
        return None if reason is None else f"waiting for Kafka: {reason}"

    def connected(self) -> None:
        """Note that the session has connected: from now on no error counts as a wrong setting."""
        self._outage.over()
        self._pauses.reset()
        self._connected = True

    async def run(
        self, session: Callable[[], Awaitable[None]], stop: asyncio.Event, failed: Callable[[], None]
    ) -> None:
        """Run sessions until ``stop``. After an outage, call ``failed`` and pause. Raises all else."""
        while not stop.is_set():
            try:
                await session()
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                # Nothing cancelled this task: the client drops its own requests when a connection is lost.
                given_up = OutOfTouch("the client gave up a request")
                given_up.__cause__ = error
                await self._pause(given_up, stop, failed)
            except Exception as error:
                if not is_outage(error) or self._is_misconfigured(error):
                    raise
                await self._pause(error, stop, failed)

    async def _pause(self, error: Exception, stop: asyncio.Event, failed: Callable[[], None]) -> None:
        log.debug("the session has ended", exc_info=error.__cause__ or error)
        self._outage.failed(error)
        failed()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._pauses.take())

    def _is_misconfigured(self, error: Exception) -> bool:
        """Tell whether waiting cannot help: before the first session, an unknown host or a refused login."""
        return not self._connected and isinstance(error, Unreachable) and not error.transient
