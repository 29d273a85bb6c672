"""The lifecycle of a worker: connect, work, and reconnect after a Kafka outage, in the same process.

An outage discards everything that a session has created (tasks, connections, stores, Faust's app) without
sending buffered records, because another worker may own its partitions. The next session continues from the
last checkpoint, as after a crash. The process keeps its HTTP server, its metrics and its data folder.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

from segops.api.health import Condition
from segops.api.profiles import Elsewhere, NotReady
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.views.profile import ProfileView
from segops.kafka.definitions import Published, follow
from segops.kafka.outages import Outage, Pauses, is_outage
from segops.kafka.reachability import Unreachable
from segops.metrics import Metrics
from segops.schemas.sandbox import SandboxStart
from segops.streaming.faust.app import SegopsApp

log = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 30.0
_CANCEL_TIMEOUT_S: Final = 20.0
_CANCEL_AGAIN_S: Final = 2.0
_WATCH_S: Final = 1.0

Build = Callable[[Published], SegopsApp]


class JoinTimer:
    """The time for which the brokers have answered without the group admitting this worker."""

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._now = now
        self._since: float | None = None

    def note(self, *, waiting_to_join: bool) -> None:
        """Record the state. ``waiting_to_join``: the brokers answer, but the worker has no assignment."""
        if not waiting_to_join:
            self._since = None
        elif self._since is None:
            self._since = self._now()

    @property
    def seconds(self) -> float:
        """How long the worker has waited for the group so far, in seconds."""
        return 0.0 if self._since is None else self._now() - self._since

    @property
    def too_long(self) -> bool:
        """Whether the limit is exceeded; never with a limit of 0."""
        return bool(self._limit_s) and self.seconds > self._limit_s


class Lifecycle:
    """One worker process and its Kafka sessions, one after another.

    At the start of each session ``admit`` checks with the brokers and returns the function that builds the
    app. ``release`` closes the resources opened outside the app.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        admit: Callable[[], Awaitable[Build]],
        release: Callable[[], None],
    ) -> None:
        self.app: SegopsApp | None = None
        self._settings = settings
        self._metrics = metrics
        self._admit = admit
        self._release = release
        self._server_tasks: Callable[[], set[asyncio.Task[None]]] = set
        self._process_tasks: set[asyncio.Task[object]] = set()
        self._outage = Outage()
        self._pauses = Pauses()
        self._joining = JoinTimer(settings.worker.progress_timeout_ms / 1000)
        self._connected = False

    # -- reports -------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """Return the condition that /healthz and /readyz report."""
        if self._outage.reason is not None:
            return Condition(
                False, f"waiting for Kafka for {self._outage.seconds:.0f} s: {self._outage.reason}"
            )
        if self._joining.too_long:
            reason = f"the brokers answer, but joining the group has taken {self._joining.seconds:.0f} s"
            return Condition(False, reason, failed=True)
        if self.app is None:
            return Condition(False, "connecting")
        if self.app.ready:
            return Condition(True)
        return Condition(False, "restoring partitions" if self.app.joined else "joining the group")

    def find_profile(self, identifier: str) -> ProfileView | Elsewhere | None:
        """Return a profile, the worker that has it, or None. Raises NotReady during a rebalance."""
        if self.app is None:
            raise NotReady
        return self.app.find_profile(identifier)

    def find_sandbox(self, identifier: str) -> SandboxStart | Elsewhere | None:
        """Return where a sandbox begins, the worker that has the profile, or None. Raises NotReady."""
        if self.app is None:
            raise NotReady
        return self.app.find_sandbox(identifier)

    def export(self) -> None:
        """Update the metrics."""
        if self.app is not None and self.app.ready:
            self.app.export()

    # -- sessions ------------------------------------------------------------------------------

    async def run(
        self, stop: asyncio.Event, server_tasks: Callable[[], set[asyncio.Task[None]]] = set
    ) -> None:
        """Work until ``stop``, then shut down in order. Raises errors that reconnecting cannot resolve.

        ``server_tasks`` and the tasks running now outlive a session.
        """
        self._server_tasks = server_tasks
        stopping = asyncio.ensure_future(stop.wait())
        watching = asyncio.ensure_future(self._watch())
        self._process_tasks = asyncio.all_tasks()
        try:
            while not stop.is_set():
                session = asyncio.ensure_future(self._run_session())
                await asyncio.wait((stopping, session), return_when=asyncio.FIRST_COMPLETED)
                if not session.done():
                    await self._stop(session)
                else:
                    error = session.exception() or SegopsError("the session ended unexpectedly")
                    await self._failed(error, stopping)
        finally:
            watching.cancel()
            stopping.cancel()

    async def _run_session(self) -> None:
        build = await self._admit()
        self._connected = True
        self._outage.over()
        self._metrics.broker_connected.set(1)
        published = follow(self._settings, on_bad=self._rejected)
        try:
            self.app = build(await anext(published))
        except BaseException:
            await published.aclose()
            raise
        await self.app.live(published)

    def _rejected(self, reason: str) -> None:
        log.error(reason)
        self._metrics.definitions_refused.inc()

    async def _watch(self) -> None:
        while True:
            if self.app is not None and self.app.ready:
                self._pauses.reset()
            self._joining.note(waiting_to_join=self._waiting_to_join)
            await asyncio.sleep(_WATCH_S)

    @property
    def _waiting_to_join(self) -> bool:
        return self._connected and self._outage.reason is None and not (self.app and self.app.joined)

    async def _failed(self, error: BaseException, stopping: asyncio.Future[Literal[True]]) -> None:
        if not is_outage(error) or (
            not self._connected and isinstance(error, Unreachable) and not error.transient
        ):
            raise error
        self._outage.failed(error)
        self._metrics.broker_connected.set(0)
        if self.app is not None:
            self._metrics.reopenings.inc()
        await self._discard()
        await asyncio.wait((stopping,), timeout=self._pauses.take())

    async def _discard(self) -> None:
        """Discard everything the session has created. Raises SegopsError when a task does not end."""
        app, self.app = self.app, None
        with _silent_libraries():
            if app is not None:
                app.watchdog.rest()
                app.connections.drop()
            left = await self._cancel()
            if app is not None:
                app.discard()
            self._release()
            del app
            gc.unfreeze()
            gc.collect()
        if left:
            raise SegopsError(f"tasks of the failed session did not end: {', '.join(map(repr, left))}")

    async def _cancel(self) -> set[asyncio.Task[object]]:
        """Cancel all tasks of the session; return those that did not end in time."""
        until = time.monotonic() + _CANCEL_TIMEOUT_S
        while left := self._session_tasks():
            for task in left:
                task.cancel()
            if time.monotonic() > until:
                return left
            await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        return set()

    def _session_tasks(self) -> set[asyncio.Task[object]]:
        return asyncio.all_tasks() - self._process_tasks - self._server_tasks() - {asyncio.current_task()}

    # -- shutdown ------------------------------------------------------------------------------

    async def _stop(self, session: asyncio.Future[None]) -> None:
        """Shut down with a last checkpoint. Raises the error of a failed shutdown."""
        app = self.app
        if app is not None:
            app.watchdog.rest()
        session.cancel()
        await asyncio.wait((session,))
        if app is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await app.stop()
        except TimeoutError:
            raise SegopsError(f"shutdown timed out after {STOP_TIMEOUT_S:.0f} s") from None
        if app.failure.done():
            raise app.failure.result()


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Silence the libraries while they are shut down: their errors have one cause, which is logged."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "aiokafka", "faust", "mode")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
