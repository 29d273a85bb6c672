"""The demo from an empty folder to an exit status: start everything, run, report, clean up."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError
from rich.console import Console

from segops.brokers import LocalBroker, choose
from segops.brokers.folder import lock_folder
from segops.brokers.network import reserve_ports
from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant
from segops.demo.environment import SEGMENTS, WRITE_KEY, Environment, make_environment
from segops.demo.history import OrderHistory, read_history
from segops.demo.options import Options
from segops.demo.prediction import can_fit, fit_model
from segops.demo.report import how_to_look, summary
from segops.demo.run import Processes, Run, RunResult
from segops.demo.screen import screen
from segops.kafka import topics
from segops.kafka.clients import running_admin
from segops.operations import group
from segops.operations.audiences import actions
from segops.operations.audiences.actors import acting
from segops.operations.definitions import publish
from segops.processes.child import Child
from segops.processes.interrupts import interruptible, uninterrupted
from segops.wall_clock import wall_ms

#: What an earlier run may have left in a folder.
_PARTS: Final = (
    "broker",
    "worker",
    "segments",
    "events.jsonl",
    "expected.jsonl",
    "worker.log",
    "collector.log",
    "console.log",
    "catalogue.log",
    "replay.log",
    "commands.log",
    "audiences.yaml",
    "orders.csv",
    "buying.json",
    "destinations.yaml",
    "activate",
    "activate.log",
)


def run(options: Options, console: Console) -> int:
    """Run the demo and return its exit status: 0 if every result is as expected, else 1.

    Raises UserError if the data or the broker is unavailable, SegopsError if a process fails, and
    KeyboardInterrupt for SIGINT and SIGTERM. In all cases, every process it started has ended.
    """
    history = read_history(options.limit)
    with interruptible(), ExitStack() as stack:
        folder = stack.enter_context(_folder(options.folder))
        console.print(_welcome(history), soft_wrap=True, highlight=False)
        broker = stack.enter_context(_broker(options, folder))
        console.print(f"broker: {broker.name} at {broker.bootstrap_servers}", soft_wrap=True, highlight=False)
        say = partial(console.print, soft_wrap=True, highlight=False, markup=False)
        environment, processes, shown = _set_up(options, history, folder, broker, stack, say=say)
        if shown is not None:
            console.print(f"console: {shown}", soft_wrap=True, highlight=False)
        result = _run(environment, history, processes, options, console)
    return 1 if result.differences else 0


def _welcome(history: OrderHistory) -> str:
    first, last = (format_instant(ms)[:10] for ms in (history.first_ms, history.last_ms))
    return (
        f"{len(history.events):,} events of {history.people:,} customers, {first} to {last}: "
        "the purchases of CDNOW and the clicks of a shop"
    )


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    """Provide the chosen folder, cleared of an earlier run, or a temporary one, removed at the end."""
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="segops-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    lock = lock_folder(chosen)
    try:
        os.close(lock_folder(chosen / _PARTS[0]))  # a broker that outlived its demo may still use it
        for part in _PARTS:
            _remove(chosen / part)
        yield chosen.resolve()
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _broker(options: Options, folder: Path) -> LocalBroker:
    return choose(folder / "broker", prefer=options.broker, bootstrap_servers=options.bootstrap_servers)


def _set_up(
    options: Options,
    history: OrderHistory,
    folder: Path,
    broker: LocalBroker,
    stack: ExitStack,
    *,
    say: Callable[[str], None],
) -> tuple[Environment, Processes, str | None]:
    """Start everything; return the address of the console, too, if it runs. ``say`` prints a line."""
    console_ports = stack.enter_context(reserve_ports(2))
    ports = stack.enter_context(reserve_ports(options.processes))
    events_port, pages_port = stack.enter_context(reserve_ports(2))
    delivery_ports = stack.enter_context(reserve_ports(3))
    environment = make_environment(
        options,
        folder,
        broker,
        people=history.people,
        ports=[ports[0], *delivery_ports],
        predicts=can_fit(history),
    )
    if environment.predicts:
        fit_model(environment, history, say)
    _write(environment.events_file, history)
    shutil.copytree(SEGMENTS, environment.segments_folder)
    asyncio.run(_prepare(environment, options.processes))
    if broker.kind == "own":
        stack.callback(lambda: asyncio.run(_remove_topics(environment)))
    with uninterrupted():
        worker = stack.enter_context(_worker(environment, options.processes))
        oracle = stack.enter_context(_oracle(environment, history))
        collector = stack.enter_context(_collector(environment, events_port, pages_port))
        shown = stack.enter_context(_console(environment, console_ports)) if options.shows_console else None
        if shown is not None:
            stack.enter_context(_catalogue(environment))
    processes = Processes(worker, oracle, collector, shown, ports, (events_port, pages_port))
    return environment, processes, f"http://127.0.0.1:{console_ports[0]}" if shown is not None else None


def _write(path: Path, history: OrderHistory) -> None:
    try:
        path.write_bytes(b"".join(event.line + b"\n" for event in history.events))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


async def _prepare(environment: Environment, processes: int) -> None:
    await group.check_processes(environment.settings, processes)
    await topics.create(environment.settings)
    await publish(environment.settings, environment.definitions)
    act = acting(environment.settings, now_ms=wall_ms())
    await actions.apply(environment.settings, [environment.audience], act)


async def _remove_topics(environment: Environment) -> None:
    async with running_admin(environment.settings.kafka) as admin:
        await admin.delete_topics([spec.name for spec in topics.topic_specs(environment.settings)])


def _worker(environment: Environment, processes: int) -> Child:
    arguments = ("worker", "--clock", "event", "--processes", str(processes))
    return Child(*arguments, environment=environment.variables, log=environment.folder / "worker.log")


def _collector(environment: Environment, port: int, web_port: int) -> Child:
    arguments = ("collect", "--port", str(port), "--web-port", str(web_port))
    variables = {**environment.variables, "SEGOPS_COLLECT_KEYS": f"demo={WRITE_KEY}"}
    variables["SEGOPS_COLLECT_HOST"] = "127.0.0.1"
    return Child(*arguments, environment=variables, log=environment.folder / "collector.log")


def _console(environment: Environment, ports: Sequence[int]) -> Child:
    port, web_port = map(str, ports)
    delivery_port = str(environment.delivery_ports[-1])
    variables = {**environment.variables, "SEGOPS_CONSOLE_HOST": "127.0.0.1"}
    variables["SEGOPS_ACTIVATE_WEB_PORT"] = delivery_port
    log = environment.folder / "console.log"
    return Child("console", "--port", port, "--web-port", web_port, environment=variables, log=log)


def _catalogue(environment: Environment) -> Child:
    """Count events for the console's pickers and its studio."""
    variables = {**environment.variables, "SEGOPS_CATALOGUE_WEB_PORT": "0"}
    return Child("catalogue", "run", environment=variables, log=environment.folder / "catalogue.log")


def _oracle(environment: Environment, history: OrderHistory) -> Child:
    """Start ``segops replay`` over the same input, without Kafka, for the expected changes."""
    options = (
        ("--segments", SEGMENTS),
        ("--segments", environment.audiences_file),
        ("--events", environment.events_file),
        *(("--apply", folder) for folder in environment.later_folders),
        *([("--models", environment.model_file)] if environment.predicts else []),
        ("--at", format_instant(history.half_ms)),
        ("--until", format_instant(history.final_ms)),
    )
    arguments = [str(part) for option in options for part in option]
    log = environment.folder / "replay.log"
    return Child("replay", "--strict", *arguments, environment={}, log=log, out=environment.expected_file)


def _run(
    environment: Environment, history: OrderHistory, processes: Processes, options: Options, console: Console
) -> RunResult:
    """Play the demo, report, and let life go on until Ctrl-C if the demo is kept."""
    with ExitStack() as view:
        demo = Run(environment, history, processes, view.enter_context(screen(console)))
        found: list[RunResult] = []

        def report(result: RunResult) -> None:
            view.close()
            found.append(result)
            texts = [summary(result, demo.dashboard, history)]
            texts += [how_to_look(environment, processes)] if options.keep else []
            for text in texts:
                console.print(text, soft_wrap=True, highlight=False, markup=False)

        try:
            asyncio.run(_run_to_end(demo, options, report))
        except KafkaError as error:
            raise SegopsError(f"Kafka at {environment.settings.kafka.bootstrap_servers}: {error}") from error
        except KeyboardInterrupt:
            if not found:
                raise
        return found[0]


async def _run_to_end(demo: Run, options: Options, report: Callable[[RunResult], None]) -> None:
    async with demo.played(rate=options.rate) as played:
        report(played.result)
        if options.keep:
            await played.go_on()
