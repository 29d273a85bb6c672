"""The demo from an empty folder to an exit status: starts everything, plays, reports, clears up."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep
from typing import Final

from aiokafka.errors import KafkaError
from rich.console import Console

from segops.brokers import LocalBroker, choose
from segops.brokers.folder import lock_folder
from segops.brokers.network import reserve_ports
from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant
from segops.demo.children import Child
from segops.demo.dashboard import DashboardState
from segops.demo.environment import SEGMENTS, Environment, set_stage
from segops.demo.history import OrderHistory, read_history
from segops.demo.interrupts import interruptible, uninterrupted
from segops.demo.options import Options
from segops.demo.report import how_to_look, summary
from segops.demo.run import Processes, Run, RunResult
from segops.demo.screen import screen
from segops.kafka import topics
from segops.kafka.clients import running_admin
from segops.kafka.definitions import publish
from segops.operations import group

_KEEP_LOOK_S: Final = 0.5
#: What an earlier run may have left in a folder.
_PARTS: Final = ("broker", "worker", "events.jsonl", "expected.jsonl", "worker.log", "replay.log")


def run(options: Options, console: Console) -> int:
    """Run the demo; its exit status: 0 when everything was as it must be, 1 when not.

    Raises UserError when the data or the broker cannot be had, SegopsError when a part of it fails, and
    KeyboardInterrupt for SIGINT and SIGTERM. Whatever was started has ended then.
    """
    history = read_history(options.limit)
    with interruptible(), ExitStack() as things:
        folder = things.enter_context(_folder(options.folder))
        console.print(_welcome(history), soft_wrap=True, highlight=False)
        broker = things.enter_context(_broker(options, folder))
        console.print(f"broker: {broker.name} at {broker.bootstrap_servers}", soft_wrap=True, highlight=False)
        stage, cast = _set_up(options, history, folder, broker, things)
        outcome, scene = _play(stage, history, cast, console, rate=options.rate)
        console.print(summary(outcome, scene, history), soft_wrap=True, highlight=False, markup=False)
        if options.keep:
            console.print(how_to_look(stage, cast), soft_wrap=True, highlight=False, markup=False)
            _stay(cast.worker)
    return 1 if outcome.differences else 0


def _welcome(history: OrderHistory) -> str:
    first, last = (format_instant(ms)[:10] for ms in (history.first_ms, history.last_ms))
    return (
        f"{len(history.moments):,} events of {history.people:,} customers, {first} to {last}: "
        "the purchases of CDNOW and the clicks of a shop"
    )


@contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    """The folder asked for, emptied of an earlier run and kept, or a temporary one, removed."""
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="segops-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    lock = lock_folder(wanted)
    try:
        os.close(lock_folder(wanted / _PARTS[0]))  # nor may it be in use by a broker that outlived its demo
        for part in _PARTS:
            _remove(wanted / part)
        yield wanted.resolve()
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
    options: Options, history: OrderHistory, folder: Path, broker: LocalBroker, things: ExitStack
) -> tuple[Environment, Processes]:
    ports = things.enter_context(reserve_ports(options.processes))
    stage = set_stage(options, folder, broker, web_port=ports[0])
    _write(stage.events_file, history)
    asyncio.run(_prepare(stage, options.processes))
    if broker.kind == "own":
        things.callback(lambda: asyncio.run(_remove_topics(stage)))
    with uninterrupted():
        worker = things.enter_context(_worker(stage, options.processes))
        oracle = things.enter_context(_oracle(stage, history))
    return stage, Processes(worker, oracle, ports)


def _write(path: Path, history: OrderHistory) -> None:
    try:
        path.write_bytes(b"".join(moment.line + b"\n" for moment in history.moments))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


async def _prepare(stage: Environment, processes: int) -> None:
    await group.check_processes(stage.settings, processes)
    await topics.create(stage.settings)
    await publish(stage.settings, stage.definitions)


async def _remove_topics(stage: Environment) -> None:
    async with running_admin(stage.settings.kafka) as admin:
        await admin.delete_topics([spec.name for spec in topics.topic_specs(stage.settings)])


def _worker(stage: Environment, processes: int) -> Child:
    arguments = ("worker", "--clock", "event", "--processes", str(processes))
    return Child(*arguments, environment=stage.environment, log=stage.folder / "worker.log")


def _oracle(stage: Environment, history: OrderHistory) -> Child:
    """``segops replay`` over the same input, which needs no Kafka: what must come out."""
    until = format_instant(history.final_ms)
    arguments = (
        "--segments",
        str(SEGMENTS),
        "--events",
        str(stage.events_file),
        "--until",
        until,
        "--strict",
    )
    log = stage.folder / "replay.log"
    return Child("replay", *arguments, environment={}, log=log, out=stage.expected_file)


def _play(
    stage: Environment, history: OrderHistory, cast: Processes, console: Console, *, rate: float
) -> tuple[RunResult, DashboardState]:
    with screen(console) as view:
        play = Run(stage, history, cast, view)
        try:
            return asyncio.run(play.run(rate=rate)), play.scene
        except KafkaError as error:
            raise SegopsError(f"Kafka at {stage.settings.kafka.bootstrap_servers}: {error}") from error


def _stay(worker: Child) -> None:
    try:
        while not worker.ended():
            sleep(_KEEP_LOOK_S)
    except KeyboardInterrupt:
        return
    worker.check()
