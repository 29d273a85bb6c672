"""One run of the demo: feed, watch, wait until everything is processed, and check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.events import Change
from segops.demo.activation import Activation, Delivered, activation
from segops.demo.change_collector import ChangeCollector, read_state
from segops.demo.dashboard import DashboardState
from segops.demo.edit import Edit
from segops.demo.environment import WRITE_KEY, Environment
from segops.demo.feeder import Feeder, feeder
from segops.demo.history import OrderHistory
from segops.demo.progress import Progress
from segops.demo.screen import Screen
from segops.demo.sdk import Sdk
from segops.demo.verify import Verdict, compare, compare_state, conflict
from segops.kafka.clients import running_admin, running_consumer
from segops.kafka.topics import describe
from segops.processes import pages
from segops.processes.child import Child
from segops.schemas.changes import decode_change

_LOOK_S: Final = 0.2
_STUCK_S: Final = 120.0
_LATE: Final = "segops_events_late_total"
_MERGES: Final = "segops_merges_total"


class RunResult(msgspec.Struct, frozen=True):
    """The two verdicts, and counts of anomalies that must not occur."""

    changes: Verdict
    state: Verdict
    duplicates: int
    conflicts: list[str]
    delivered: Delivered
    late: int
    dead_letters: int
    merges: int
    over_http: int
    repeated: int
    requests: int

    @property
    def differences(self) -> list[str]:
        """Everything that is not as expected."""
        found = [*self.changes.differences, *self.conflicts, *self.state.differences]
        found += self.delivered.differences
        if self.late:
            found.append(f"{self.late} late events, although all were sent in time order")
        if self.dead_letters:
            found.append(f"{self.dead_letters} records in the dead-letter topic")
        return found


@dataclass(frozen=True)
class Processes:
    """The processes of a run, the HTTP ports of the worker, and the collector's for events and pages.

    ``console``: None if it does not run.
    """

    worker: Child
    oracle: Child
    collector: Child
    console: Child | None
    ports: Sequence[int]
    collector_ports: tuple[int, int]


@dataclass(frozen=True)
class _Instruments:
    feeder: Feeder
    sdk: Sdk
    progress: Progress
    collector: ChangeCollector
    activation: Activation


class Run:
    """One run over prepared topics. ``dashboard`` has the figures to display."""

    def __init__(
        self, environment: Environment, history: OrderHistory, processes: Processes, screen: Screen
    ) -> None:
        self.dashboard = DashboardState(history, environment.all_definitions)
        self._environment = environment
        self._history = history
        self._processes = processes
        self._screen = screen

    @asynccontextmanager
    async def played(self, *, rate: float) -> AsyncIterator[Played]:
        """Run to the end, and provide the outcome while everything still runs.

        Raises SegopsError if a process fails or nothing progresses any more.
        """
        with ExitStack() as children:
            async with self._instruments(rate) as instruments:
                yield Played(await self._run(instruments, children), self, instruments)

    async def _run(self, instruments: _Instruments, children: ExitStack) -> RunResult:
        monitor = _Monitor(self, instruments)
        progress, feeder, history = instruments.progress, instruments.feeder, self._history
        async with _running(instruments.collector.listen()) as listening:
            monitor.background.append(listening)
            await monitor("starting the worker", self._until_ready())
            self.dashboard.begin()
            # At each change of the way, all before is applied: the two choose partitions differently.
            first_ms, last_ms = history.over_http_ms
            await monitor("events", feeder.events(first_ms), progress.caught_up)
            await monitor("events through the collector", feeder.over_http(last_ms), progress.caught_up)
            await monitor("events", feeder.events(history.half_ms), progress.caught_up)
            await self._edit(monitor, instruments)
            await self._second_half(monitor, instruments, children)
        monitor.background.clear()
        await instruments.collector.catch_up()
        self.dashboard.close(instruments.collector.changes.values())
        await monitor("comparing with the replay", self._until_replayed(), patient=True)
        return await self._check(instruments)

    async def _second_half(self, monitor: _Monitor, instruments: _Instruments, children: ExitStack) -> None:
        """Deliver an audience from here on; compare when all is at rest: at the last order, at the end."""
        progress, feeder, activation = instruments.progress, instruments.feeder, instruments.activation
        history, paused_s = self._history, self.dashboard.elapsed_s
        await monitor("approving an audience", activation.approve(children), patient=True)
        await monitor("delivering", activation.compare("after the approval"), patient=True)
        self.dashboard.resume(paused_s)
        async with _running(activation.watch()) as watching:
            monitor.background.append(watching)
            await monitor("events", feeder.events(history.last_ms), progress.caught_up)
            await monitor("delivering", activation.compare("at the last order"), patient=True)
            await monitor("time passes", feeder.time(), lambda: progress.all_evaluated(history.final_ms))
            await monitor("delivering", activation.compare("at the end"), patient=True)

    async def _edit(self, monitor: _Monitor, instruments: _Instruments) -> None:
        """Publish an edit half-way. All partitions have the same clock then, as the replay has."""
        paused_s, half_ms, progress = self.dashboard.elapsed_s, self._history.half_ms, instruments.progress
        await monitor(
            "half-way", instruments.feeder.advance(half_ms), lambda: progress.all_evaluated(half_ms)
        )
        ports = self._processes.ports
        edit = Edit(self._environment, self.dashboard, self._screen.say, ports=ports)
        await monitor("publishing an edit", edit.publish(instruments.collector.changes), patient=True)
        self.dashboard.resume(paused_s)

    @asynccontextmanager
    async def _instruments(self, rate: float) -> AsyncIterator[_Instruments]:
        settings = self._environment.settings
        async with (
            running_admin(settings.kafka) as admin,
            running_consumer(settings.kafka) as offsets,
            running_consumer(settings.kafka, isolation_level="read_committed") as reader,
            aiohttp.ClientSession() as session,
            feeder(settings, sdk := self._sdk(session), self._history, rate=rate) as feeding,
            activation(self._environment, self._screen.say) as delivering,
        ):
            progress = Progress(settings, admin, offsets)
            collector = ChangeCollector(settings, reader, self.dashboard.note)
            yield _Instruments(feeding, sdk, progress, collector, delivering)

    def _sdk(self, session: aiohttp.ClientSession) -> Sdk:
        return Sdk(session, f"http://127.0.0.1:{self._processes.collector_ports[0]}", WRITE_KEY)

    async def _until_ready(self) -> None:
        ports = [*self._processes.ports, self._processes.collector_ports[1]]
        while not await pages.ready(ports):
            await asyncio.sleep(_LOOK_S)

    async def _until_replayed(self) -> None:
        while not self._processes.oracle.ended():
            await asyncio.sleep(_LOOK_S)

    def check(self, instruments: _Instruments) -> None:
        """Raise SegopsError if a process has failed, or the worker has ended."""
        self._processes.worker.check()
        self._processes.oracle.check()
        self._processes.collector.check()
        if self._processes.console is not None:
            self._processes.console.check()
        instruments.activation.check()
        if self._processes.worker.ended():
            raise SegopsError("the worker exited before its work was done")

    def look(self, instruments: _Instruments) -> None:
        """Check the processes and show the progress."""
        self.check(instruments)
        self.dashboard.look(instruments.progress, instruments.feeder.sent)
        self._screen.show(self.dashboard)

    async def _check(self, instruments: _Instruments) -> RunResult:
        collector, sdk = instruments.collector, instruments.sdk
        settings, received = self._environment.settings, collector.changes
        return RunResult(
            changes=compare(read_changes(self._environment.expected_file), received.values()),
            state=compare_state(received.values(), await read_state(settings)),
            duplicates=collector.duplicates,
            delivered=instruments.activation.result(),
            conflicts=[conflict(*pair) for pair in collector.conflicts],
            late=await pages.total(self._processes.ports, _LATE),
            dead_letters=await _count(settings, settings.topics.dead_letters),
            merges=await pages.total(self._processes.ports, _MERGES),
            over_http=sdk.events,
            repeated=sdk.repeated,
            requests=sdk.requests,
        )


class Played:
    """A demo that was played to its end; ``result`` has its verdict."""

    def __init__(self, result: RunResult, run: Run, instruments: _Instruments) -> None:
        self.result = result
        self._run = run
        self._instruments = instruments

    async def go_on(self) -> None:
        """Let life go on until cancelled. Raises SegopsError if a process ends."""
        async with _running(self._instruments.feeder.go_on()) as feeding:
            while not feeding.done():
                self._run.check(self._instruments)
                await asyncio.sleep(_LOOK_S)
            feeding.result()


async def _count(settings: Settings, topic: str) -> int:
    states = {state.spec.name: state for state in await describe(settings)}
    return states[topic].records or 0


async def _at_once() -> bool:
    return True


class _Monitor:
    """Polls work five times a second until it is done and its effect is visible."""

    def __init__(self, run: Run, instruments: _Instruments) -> None:
        #: Tasks that run beside the work until it is done.
        self.background: list[asyncio.Future[None]] = []
        self._run = run
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
        """Wait until ``work`` has ended and ``fact`` holds afterwards.

        Raises SegopsError after two minutes without progress, unless ``patient``.
        """
        self._run.dashboard.phase = phase
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
        instruments = self._instruments
        for each in self.background:
            if each.done():
                each.result()
        progress, feeder = instruments.progress, instruments.feeder
        await progress.look()
        feeder.done = progress.events
        self._run.look(instruments)
        mark = progress.position, feeder.sent, len(instruments.collector.changes)
        if mark != self._mark or patient:
            self._mark, self._moved = mark, monotonic()
        elif monotonic() - self._moved > _STUCK_S:
            raise SegopsError(f"no progress for {_STUCK_S:.0f} s: {progress.lag:,} records behind")


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def read_changes(path: Path) -> Iterator[Change]:
    """Yield the changes in a file of JSON lines."""
    with path.open("rb") as file:
        for line in file:
            yield decode_change(line)
