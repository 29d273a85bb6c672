"""The life of a worker: it opens, works, and after an outage of Kafka opens again, in the same process.

Whatever an opening has made (tasks, connections, stores, Faust's app) goes with it, and nothing that it still
had to say is sent: its partitions may be another worker's by then. The next opening goes on from the last
checkpoint, as after a crash. What stays is the process: its HTTP server, its metrics, its data folder.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from segops.api.health import Condition
from segops.api.profiles import Elsewhere, NotReady
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.segments import Definition
from segops.core.views.profile import ProfileView
from segops.kafka.definitions import follow
from segops.kafka.outages import Outage, Pauses, is_outage
from segops.kafka.reachability import Unreachable
from segops.metrics import Metrics
from segops.streaming.faust.app import SegopsApp

log = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 30.0
_LET_GO_S: Final = 20.0
_LET_GO_AGAIN_S: Final = 2.0
_LOOK_S: Final = 1.0

Build = Callable[[Sequence[Definition]], SegopsApp]


class JoinTimer:
    """For how long a broker has answered, and yet the group has not let this worker in."""

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._now = now
        self._since: float | None = None

    def note(self, *, kept_out: bool) -> None:
        """Tell how it is now. ``kept_out``: brokers answer, and the worker is no member with a share."""
        if not kept_out:
            self._since = None
        elif self._since is None:
            self._since = self._now()

    @property
    def seconds(self) -> float:
        """How long it lasts by now."""
        return 0.0 if self._since is None else self._now() - self._since

    @property
    def too_long(self) -> bool:
        """Whether waiting on is no use. Never with a limit of 0."""
        return bool(self._limit_s) and self.seconds > self._limit_s


class Lifecycle:
    """One worker process, as far as Kafka is concerned.

    ``admit`` asks the brokers whether and how a worker is to be built, at each opening; ``release`` lets go
    of what was opened beside the app.
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
        self._standing: Callable[[], set[asyncio.Task[None]]] = set
        self._stays: set[asyncio.Task[object]] = set()
        self._outage = Outage()
        self._pauses = Pauses()
        self._joining = JoinTimer(settings.worker.progress_timeout_ms / 1000)
        self._connected = False

    # -- what is told --------------------------------------------------------------------------

    def condition(self) -> Condition:
        """For /healthz and /readyz."""
        if self._outage.reason is not None:
            return Condition(
                False, f"waiting for Kafka for {self._outage.seconds:.0f} s: {self._outage.reason}"
            )
        if self._joining.too_long:
            reason = f"brokers answer, but its group has not let it in for {self._joining.seconds:.0f} s"
            return Condition(False, reason, failed=True)
        if self.app is None:
            return Condition(False, "connecting")
        if self.app.ready:
            return Condition(True)
        return Condition(False, "restoring partitions" if self.app.joined else "joining the group")

    def look(self, identifier: str) -> ProfileView | Elsewhere | None:
        """What there is of a profile. Raises NotReady while partitions are on their way."""
        if self.app is None:
            raise NotReady
        return self.app.look(identifier)

    def export(self) -> None:
        """Bring the metrics up to date."""
        if self.app is not None and self.app.ready:
            self.app.export()

    # -- opening and waiting -------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, standing: Callable[[], set[asyncio.Task[None]]] = set) -> None:
        """Work until ``stop``, then end in good order. Raises what no opening can mend.

        ``standing``: tasks that outlive an opening, beside those that there are now.
        """
        self._standing = standing
        stopping = asyncio.ensure_future(stop.wait())
        watching = asyncio.ensure_future(self._watch())
        self._stays = asyncio.all_tasks()
        try:
            while not stop.is_set():
                opening = asyncio.ensure_future(self._open())
                await asyncio.wait((stopping, opening), return_when=asyncio.FIRST_COMPLETED)
                if not opening.done():
                    await self._stop(opening)
                else:
                    await self._failed(opening.exception() or SegopsError("it ended by itself"), stopping)
        finally:
            watching.cancel()
            stopping.cancel()

    async def _open(self) -> None:
        build = await self._admit()
        self._connected = True
        self._outage.over()
        self._metrics.broker_connected.set(1)
        definitions = follow(self._settings, on_bad=self._refused)
        try:
            self.app = build(await anext(definitions))
        except BaseException:
            await definitions.aclose()
            raise
        await self.app.live(definitions)

    def _refused(self, reason: str) -> None:
        log.error(reason)
        self._metrics.definitions_refused.inc()

    async def _watch(self) -> None:
        while True:
            if self.app is not None and self.app.ready:
                self._pauses.reset()
            self._joining.note(kept_out=self._kept_out)
            await asyncio.sleep(_LOOK_S)

    @property
    def _kept_out(self) -> bool:
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
        await self._let_go()
        await asyncio.wait((stopping,), timeout=self._pauses.take())

    async def _let_go(self) -> None:
        """Give up what the opening made. SegopsError when something of it stays."""
        app, self.app = self.app, None
        with _unheard():
            if app is not None:
                app.watchdog.rest()
                app.connections.drop()
            left = await self._cancel()
            if app is not None:
                app.let_go()
            self._release()
            del app
            gc.unfreeze()
            gc.collect()
        if left:
            raise SegopsError(f"what failed could not be let go of: {', '.join(map(repr, left))}")

    async def _cancel(self) -> set[asyncio.Task[object]]:
        """End all tasks of the opening; those that would not end."""
        until = time.monotonic() + _LET_GO_S
        while left := asyncio.all_tasks() - self._stays - self._standing() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            if time.monotonic() > until:
                return left
            await asyncio.wait(left, timeout=_LET_GO_AGAIN_S)
        return set()

    # -- the end -------------------------------------------------------------------------------

    async def _stop(self, opening: asyncio.Future[None]) -> None:
        """In good order: with a last checkpoint. Raises what went wrong."""
        app = self.app
        if app is not None:
            app.watchdog.rest()
        opening.cancel()
        await asyncio.wait((opening,))
        if app is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await app.stop()
        except TimeoutError:
            raise SegopsError(f"it could not stop in good order within {STOP_TIMEOUT_S:.0f} s") from None
        if app.failure.done():
            raise app.failure.result()


@contextmanager
def _unheard() -> Iterator[None]:
    """What libraries say of being let go of: all of it has one cause, which has been told."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "aiokafka", "faust", "mode")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
