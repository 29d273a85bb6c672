"""The performance: feed, watch, wait until the facts say that all is processed, and check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.events import Change
from segops.demo import worker_pages
from segops.demo.change_collector import ChangeCollector, read_state
from segops.demo.children import Child
from segops.demo.dashboard import DashboardState
from segops.demo.environment import Environment
from segops.demo.feeder import Feeder, feeder
from segops.demo.history import OrderHistory
from segops.demo.progress import Progress
from segops.demo.screen import Screen
from segops.demo.verify import Verdict, compare, compare_state, conflict
from segops.kafka.clients import running_admin, running_consumer
from segops.kafka.topics import describe
from segops.schemas.changes import decode_change

_LOOK_S: Final = 0.2
_STUCK_S: Final = 120.0
_LATE: Final = "segops_events_late_total"
_MERGES: Final = "segops_merges_total"


class RunResult(msgspec.Struct, frozen=True):
    """What the demo found: the two verdicts, and what must not have happened."""

    changes: Verdict
    state: Verdict
    duplicates: int
    conflicts: list[str]
    late: int
    dead_letters: int
    merges: int

    @property
    def differences(self) -> list[str]:
        """Everything that is not as it must be."""
        found = [*self.changes.differences, *self.conflicts, *self.state.differences]
        if self.late:
            found.append(f"{self.late} events were late, though all were sent in the order of time")
        if self.dead_letters:
            found.append(f"{self.dead_letters} records are in the dead letters")
        return found


@dataclass(frozen=True)
class Processes:
    """The processes of a run, and the ports of the worker's pages."""

    worker: Child
    oracle: Child
    ports: Sequence[int]


@dataclass(frozen=True)
class _Instruments:
    feeder: Feeder
    progress: Progress
    audience: ChangeCollector


class Run:
    """One run over prepared topics. ``scene`` is what there is to see."""

    def __init__(self, stage: Environment, history: OrderHistory, cast: Processes, screen: Screen) -> None:
        self.scene = DashboardState(history, stage.definitions)
        self._stage = stage
        self._history = history
        self._cast = cast
        self._screen = screen

    async def run(self, *, rate: float) -> RunResult:
        """Play it to its end. Raises SegopsError when a process fails, or nothing moves any more."""
        async with self._instruments(rate) as instruments:
            attend = _Attendance(self, instruments)
            progress, final_ms = instruments.progress, self._history.final_ms
            async with _running(instruments.audience.listen()) as attend.listening:
                await attend("starting the worker", self._until_ready())
                self.scene.begin()
                await attend("events", instruments.feeder.events(), progress.caught_up)
                await attend(
                    "time goes on", instruments.feeder.time(), lambda: progress.all_evaluated(final_ms)
                )
            attend.listening = None
            await instruments.audience.catch_up()
            self.scene.close(instruments.audience.changes.values())
            await attend("checking against the replay", self._until_replayed(), patient=True)
            return await self._check(instruments.audience)

    @asynccontextmanager
    async def _instruments(self, rate: float) -> AsyncIterator[_Instruments]:
        settings = self._stage.settings
        async with (
            running_admin(settings.kafka) as admin,
            running_consumer(settings.kafka) as lookout,
            running_consumer(settings.kafka, isolation_level="read_committed") as reader,
            feeder(settings, self._history, rate=rate) as feeding,
        ):
            progress = Progress(settings, admin, lookout)
            yield _Instruments(feeding, progress, ChangeCollector(settings, reader, self.scene.note))

    async def _until_ready(self) -> None:
        while not await worker_pages.ready(self._cast.ports):
            await asyncio.sleep(_LOOK_S)

    async def _until_replayed(self) -> None:
        while not self._cast.oracle.ended():
            await asyncio.sleep(_LOOK_S)

    def look(self, instruments: _Instruments) -> None:
        """Check on the processes and show how far things are."""
        self._cast.worker.check()
        self._cast.oracle.check()
        if self._cast.worker.ended():
            raise SegopsError("the worker ended before its work was done")
        self.scene.look(instruments.progress, instruments.feeder.sent)
        self._screen.show(self.scene)

    async def _check(self, audience: ChangeCollector) -> RunResult:
        settings, received = self._stage.settings, audience.changes
        return RunResult(
            changes=compare(read_changes(self._stage.expected_file), received.values()),
            state=compare_state(received.values(), await read_state(settings)),
            duplicates=audience.duplicates,
            conflicts=[conflict(*pair) for pair in audience.conflicts],
            late=await worker_pages.total(self._cast.ports, _LATE),
            dead_letters=await _count(settings, settings.topics.dead_letters),
            merges=await worker_pages.total(self._cast.ports, _MERGES),
        )


async def _count(settings: Settings, topic: str) -> int:
    states = {state.spec.name: state for state in await describe(settings)}
    return states[topic].records or 0


async def _at_once() -> bool:
    return True


class _Attendance:
    """Looks after some work until it is done and the facts agree, five times a second."""

    def __init__(self, play: Run, instruments: _Instruments) -> None:
        self.listening: asyncio.Future[None] | None = None
        self._play = play
        self._instruments = instruments
        self._mark: object = None
        self._moved = monotonic()

    async def __call__(
        self,
        phase: str,
        work: Coroutine[Any, Any, None],
        fact: Callable[[], Awaitable[bool]] = _at_once,
        *,
        patient: bool = False,
    ) -> None:
        """Come back when ``work`` has ended and ``fact`` holds after that.

        Raises SegopsError when nothing has moved for two minutes, unless ``patient``.
        """
        self._play.scene.phase = phase
        self._moved = monotonic()
        async with _running(work) as task:
            while True:
                ended = task.done()
                if ended:
                    task.result()
                await self._look(patient)
                if ended and await fact():
                    return
                await asyncio.sleep(_LOOK_S)

    async def _look(self, patient: bool) -> None:
        here = self._instruments
        if self.listening is not None and self.listening.done():
            self.listening.result()
        await here.progress.look()
        here.feeder.done = here.progress.events
        self._play.look(here)
        mark = here.progress.position, here.feeder.sent, len(here.audience.changes)
        if mark != self._mark or patient:
            self._mark, self._moved = mark, monotonic()
        elif monotonic() - self._moved > _STUCK_S:
            raise SegopsError(f"nothing has moved for {_STUCK_S:.0f} s: {here.progress.lag:,} records behind")


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def read_changes(path: Path) -> Iterator[Change]:
    """The changes in a file of JSON lines."""
    with path.open("rb") as file:
        for line in file:
            yield decode_change(line)
