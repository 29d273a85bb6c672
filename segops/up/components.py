"""The components of the system, and the supervision of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from segops.brokers import BrokerFailed, LocalBroker, Node
from segops.config import OWN_FORMAT, Settings
from segops.processes import pages
from segops.processes.child import Child
from segops.processes.interrupts import uninterrupted
from segops.processes.restarts import Restarts
from segops.up.folder import DataFolder
from segops.up.options import Options

READY: Final = "ready"
STARTING: Final = "starting"
_USER_ERROR: Final = 2
_EXITED: Final = "it exited; see its broker.log"


@dataclass(frozen=True)
class ComponentSpec:
    """A component: the command that it runs, its address, and the ports of its health pages."""

    name: str
    command: Sequence[str]
    address: str
    ports: Sequence[int]


def components_of(settings: Settings, options: Options) -> list[ComponentSpec]:
    """Return the components of a system besides the broker, in the order in which they start."""
    worker, number = settings.worker.web_port, options.processes
    ports = range(worker, worker + number)
    command = ["worker", "--processes", str(number)]
    collect = settings.collect
    found = [ComponentSpec("worker", command, _address(worker), ports)]
    if settings.archive.url is not None:
        port = settings.archive.web_port
        found.append(ComponentSpec("archive", ["archive"], settings.archive.url, [port]))
    port = settings.sources.web_port
    found.append(ComponentSpec("sources", ["sources", "run"], _address(port), [port]))
    port = settings.catalogue.web_port
    found.append(ComponentSpec("catalogue", ["catalogue", "run"], _address(port), [port]))
    port = settings.activate.web_port
    found.append(ComponentSpec("activate", ["activate"], _address(port), [port]))
    serve = settings.serve
    found.append(ComponentSpec("serve", ["serve"], _address(serve.port), [serve.web_port]))
    console = settings.console
    found.append(ComponentSpec("console", ["console"], _address(console.port), [console.web_port]))
    if settings.output.format != OWN_FORMAT:
        port = settings.output.web_port
        found.append(ComponentSpec("output", ["output"], _address(port), [port]))
    if options.klaviyo:
        port = settings.klaviyo.web_port
        found.append(ComponentSpec("klaviyo", ["pull", "klaviyo", "--follow"], settings.klaviyo.url, [port]))
    found.append(ComponentSpec("collector", ["collect"], _address(collect.port), [collect.web_port]))
    return found


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


class Supervised:
    """A component that is started again after a failure, with growing pauses, until it keeps failing.

    ``state`` is for people. ``over``: it has ended and is not started again, because it is ``wrong``, that
    is, has wrong settings, or because it keeps failing; ``words`` are its own.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.state, self.words = STARTING, ""
        self.over = self.wrong = False
        self._restarts = Restarts()
        self._due_s: float | None = None

    @property
    def pid(self) -> int | None:
        """The process id, if a process was started."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the component, or start it again."""
        raise NotImplementedError

    def failed(self, now_s: float) -> None:
        """Take note of a failure, of which ``words`` and ``wrong`` tell; start again when it is time."""
        if self._due_s is None:
            pause_s = None if self.wrong else self._restarts.failed(now_s)
            if pause_s is None:
                self.over = True
                self.state = f"{'stopped' if self.wrong else 'keeps failing'}: {self.words}"
                return
            self._due_s = now_s + pause_s
            self.state = f"failed, starts again in {pause_s:g} s: {self.words}"
        elif now_s >= self._due_s:
            self._due_s = None
            self._restarts.started(now_s)
            self.start()
            self.state = STARTING


class SupervisedCommand(Supervised):
    """A ``segops`` command as a component."""

    def __init__(self, spec: ComponentSpec, environment: Mapping[str, str], folder: DataFolder) -> None:
        super().__init__(spec.name, spec.address)
        self._spec = spec
        self._environment = environment
        self._folder = folder
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        with uninterrupted():
            self._child = Child(
                *self._spec.command,
                environment=self._environment,
                log=self._folder.log_of(self.name),
                lock=self._folder.lock,
            )

    async def look(self, now_s: float) -> None:
        """Bring ``state`` up to date, and start the command again if that is due."""
        child = self._child
        if self.over or child is None:
            return
        if child.ended():
            self.words = child.last_words()
            self.wrong = child.status == _USER_ERROR
            self.failed(now_s)
        else:
            self.state = await _state_by(self._spec.ports)

    def stop(self) -> None:
        """Stop the command; a second call does nothing."""
        if self._child is not None:
            self._child.stop()


async def _state_by(ports: Sequence[int]) -> str:
    """Return ``ready`` if all of these health pages say so, else what the first other one waits for."""
    for port in ports:
        status, body = await pages.get(port, "/readyz")
        if status != 200:
            return body.strip().removeprefix("not ready: ") or STARTING
    return READY


class SupervisedBroker(Supervised):
    """The local broker as a component, already running. A broker of others (kind ``own``) is only named."""

    def __init__(self, broker: LocalBroker) -> None:
        super().__init__("broker", broker.bootstrap_servers)
        self.state, self.words = READY, _EXITED
        self._nodes = broker.nodes

    @property
    def pid(self) -> int | None:
        return next((getattr(node, "pid", None) for node in self._nodes), None)

    def start(self) -> None:
        for node in self._dead():
            node.start()

    async def look(self, now_s: float) -> None:
        """Bring ``state`` up to date, and start the broker again, on the same data, if that is due."""
        if self.over:
            return
        if not self._dead():
            self.state, self.words = READY, _EXITED
            return
        try:
            await asyncio.to_thread(self.failed, now_s)
        except BrokerFailed as error:
            self.words = str(error)

    def _dead(self) -> list[Node]:
        return [node for node in self._nodes if not node.alive]


Component = SupervisedCommand | SupervisedBroker
