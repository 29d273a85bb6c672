"""The system from start to end: broker, topics, sources, components; then supervision until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from segops import config
from segops.brokers import LocalBroker, choose, obstacle
from segops.brokers.folder import kind_of
from segops.config import KafkaSettings, Settings
from segops.core.errors import SegopsError, UserError
from segops.kafka import topics
from segops.operations import group
from segops.processes.child import Child
from segops.processes.interrupts import interruptible, uninterrupted
from segops.up.components import (
    READY,
    Component,
    SupervisedBroker,
    SupervisedCommand,
    components_of,
)
from segops.up.folder import DataFolder, data_folder
from segops.up.options import Options
from segops.up.status import announcement, shell_file

_LOOK_S: Final = 0.25
#: Kinds of brokers that keep their data in the folder, the best first.
_KEEPING: Final = ("jvm", "embedded")
#: A component that waits for this is as ready as it can be.
_IDLE: Final = "no source is published"

Say = Callable[[str], None]


def run(options: Options, say: Say) -> int:
    """Run the system until SIGINT or SIGTERM; return the exit status: 1 if a component was given up.

    Every process that was started has ended then. Raises UserError if the folder is in use, no broker can run
    or a component cannot start with these settings.
    """
    with interruptible(), ExitStack() as stack:
        folder = stack.enter_context(data_folder(options.folder))
        with _stopping_undisturbed(stack):
            broker = stack.enter_context(_broker(options, folder))
            say(f"broker: {broker.name} at {broker.bootstrap_servers}")
            system, environment = _system(options, folder, broker)
            stack.callback(system.stop)
            system.publish_sources(options.sources, environment)
            try:
                asyncio.run(system.run(say))
            except KeyboardInterrupt:
                say("stopping")
        say("stopped; nothing is left running")
        return 1 if system.failed else 0


@contextmanager
def _stopping_undisturbed(stack: ExitStack) -> Iterator[None]:
    """Stop what the stack holds at the end of the block, without being interrupted again."""
    try:
        yield
    finally:
        with uninterrupted():
            stack.pop_all().close()


def _broker(options: Options, folder: DataFolder) -> LocalBroker:
    kind, servers = broker_for(options, folder, config.load().kafka)
    return choose(folder.broker, prefer=kind, port=options.port, bootstrap_servers=servers)


def broker_for(options: Options, folder: DataFolder, kafka: KafkaSettings) -> tuple[str, str | None]:
    """Return the kind of broker to run on, and the addresses of the user's own one.

    A shell that has read the environment file names the broker of this folder: that is not the user's own.
    """
    given = kafka.bootstrap_servers if kafka.chosen else None
    ours = given is not None and kind_of(folder.broker) is not None and folder.names(given)
    if options.broker == "own" or (options.broker == "auto" and given is not None and not ours):
        return "own", given
    return _kind(options.broker, folder), None


def _kind(wanted: str, folder: DataFolder) -> str:
    """Return the kind of broker: that of the folder's data, else the first that this machine can run."""
    if wanted != "auto":
        return wanted
    usable = [kind for kind in _KEEPING if obstacle(kind) is None]
    return kind_of(folder.broker) or next(iter(usable), _KEEPING[-1])


def _system(options: Options, folder: DataFolder, broker: LocalBroker) -> tuple[System, dict[str, str]]:
    """Create the topics; return the system, not started, and the environment of its components.

    Raises UserError for settings that do not fit.
    """
    overrides = _overrides(folder, broker)
    settings, environment = config.load(**overrides), config.as_variables(overrides)
    asyncio.run(_prepare(settings, options.processes))
    folder.environment_file.write_text(shell_file(environment))
    specs = components_of(settings, options)
    components = [SupervisedCommand(spec, environment, folder) for spec in specs]
    return System(settings, folder, SupervisedBroker(broker), components), environment


async def _prepare(settings: Settings, processes: int) -> None:
    await group.check_processes(settings, processes)
    await topics.create(settings)


def _overrides(folder: DataFolder, broker: LocalBroker) -> dict[str, dict[str, object]]:
    given, serve = config.load().collect, config.load().serve
    kafka: dict[str, object] = {"bootstrap_servers": broker.bootstrap_servers}
    found: dict[str, dict[str, object]] = {
        "kafka": kafka,
        "state": {"data_dir": str(folder.path.resolve() / "worker")},
    }
    if broker.kind != "own":
        kafka["security_protocol"] = "PLAINTEXT"
        found["topics"] = {"replication": 1}
    if given.keys is None and given.keys_file is None:
        folder.write_key()
        found["collect"] = {"keys_file": str(folder.keys_file.resolve())}
    if not any((serve.keys, serve.keys_file, serve.secret_keys, serve.secret_keys_file)):
        folder.read_key()
        found["serve"] = {"secret_keys_file": str(folder.read_keys_file.resolve())}
    return found


class System:
    """The components of a running system: a broker, and the commands that use it."""

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        broker: SupervisedBroker,
        commands: Sequence[SupervisedCommand],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._commands = commands
        self._components: list[Component] = [broker, *commands]
        self._shown = {each.name: each.state for each in self._components}

    @property
    def failed(self) -> bool:
        """Whether a component has ended and is not started again."""
        return any(component.over for component in self._components)

    def publish_sources(self, files: Sequence[Path], environment: Mapping[str, str]) -> None:
        """Publish files of sources, as ``segops sources apply`` does. Raises UserError with its message."""
        log = self._folder.log_of("sources-apply")
        for file in files:
            with Child("sources", "apply", str(file), environment=environment, log=log) as child:
                child.wait()
                if child.status:
                    raise UserError(child.last_words())

    async def run(self, say: Say) -> None:
        """Start the components, say where they are once all are ready, and keep them running until cancelled.

        Raises UserError if a component has wrong settings at the start, SegopsError if it keeps failing.
        """
        for component in self._commands:
            component.start()
        while not all(component.state in (READY, _IDLE) for component in self._components):
            await self._look(say)
            self._refuse_failures()
        say(announcement(self._components, self._folder, self._settings))
        while True:
            await self._look(say)

    async def _look(self, say: Say) -> None:
        await asyncio.sleep(_LOOK_S)
        for component in self._components:
            await component.look(monotonic())
            if component.state != self._shown[component.name]:
                say(f"{component.name}: {component.state}")
            self._shown[component.name] = component.state
        pids = {each.name: each.pid for each in self._components if each.pid is not None}
        self._folder.note({"up": os.getpid(), **pids})

    def _refuse_failures(self) -> None:
        for component in self._commands:
            if component.over:
                log = self._folder.log_of(component.name)
                text = f"the {component.name} cannot start: {component.words}\nits log: {log}"
                raise UserError(text) if component.wrong else SegopsError(text)

    def stop(self) -> None:
        """Stop all commands, the last one started first. The broker's own context ends it after them."""
        for component in reversed(self._commands):
            component.stop()
