"""Rounds of all contestants, A B C, A B C: each round has fresh topics and the same input for all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from segops.brokers import LocalBroker
from segops.brokers.network import reserve_ports
from segops.config import Settings, load
from segops.core.segments import SegmentSet
from segops.kafka import topics
from segops.operations import definitions

from . import kafka, measure
from .contestants import Contestant, Run
from .job import Job, Record
from .reference import Reference, expected


@dataclass(frozen=True)
class Setup:
    """The broker, job and expected changes of a comparison."""

    broker: LocalBroker
    folder: Path
    job: Job
    segments: SegmentSet
    records: Sequence[Record]
    reference: Reference

    @classmethod
    def of(cls, broker: LocalBroker, folder: Path, job: Job, segments: SegmentSet) -> Setup:
        """Generate the events of a job and their expected changes."""
        records = list(job.records())
        reference = expected(records, segments, partitions=job.partitions, final_ms=job.final_ms)
        return cls(broker, folder, job, segments, records, reference)


@contextmanager
def prepared(
    setup: Setup, contestants: Sequence[Contestant], configs: Mapping[str, str] = kafka.INPUT
) -> Iterator[dict[str, Run]]:
    """Create fresh topics, load the input with these topic configs, and yield a run for each contestant."""
    prefix = f"bench{uuid4().hex[:8]}."
    ports = reserve_ports(len(contestants))
    runs = {
        each.name: _run(setup, prefix, each.name, port)
        for each, port in zip(contestants, ports.numbers, strict=True)
    }
    made = {f"{prefix}events": (setup.job.partitions, configs)}
    for each in contestants:
        made[each.output(runs[each.name])] = (each.output_partitions or setup.job.partitions, kafka.OUTPUT)
    servers = setup.broker.bootstrap_servers
    try:
        asyncio.run(_prepare(setup, prefix, made))
        yield runs
    finally:
        ports.release()
        asyncio.run(kafka.delete(servers, prefix))
        for run in runs.values():
            shutil.rmtree(run.folder, ignore_errors=True)


def _run(setup: Setup, prefix: str, name: str, web_port: int) -> Run:
    return Run(
        servers=setup.broker.bootstrap_servers,
        prefix=prefix,
        name=name,
        partitions=setup.job.partitions,
        folder=setup.folder / f"{prefix}{name}",
        web_port=web_port,
    )


async def _prepare(setup: Setup, prefix: str, made: kafka.Topics) -> None:
    servers = setup.broker.bootstrap_servers
    await kafka.create(servers, made)
    await publish(settings_of(servers, prefix, setup.job.partitions), setup.segments)
    await kafka.load(servers, f"{prefix}events", setup.records)


async def publish(settings: Settings, segments: SegmentSet) -> None:
    """Create the missing topics of segops and publish its definitions."""
    await topics.create(settings)
    await definitions.publish(settings, list(segments.definitions), prune=False)


def settings_of(servers: str, prefix: str, partitions: int) -> Settings:
    """Return the settings of the worker."""
    return load(
        kafka={"bootstrap_servers": servers},
        topics={"prefix": prefix, "partitions": partitions, "retention_ms": 3650 * 86_400_000},
        worker={"app_id": f"{prefix}segops"},
    )


def measure_run(setup: Setup, contestant: Contestant, run: Run) -> dict[str, Any]:
    """Return the figures of one run with the size of its state, or the reason why it has none."""
    try:
        figures = asyncio.run(measure.run(contestant, run, setup.reference))
    except measure.Failed as error:
        return {"reason": str(error)}
    return {
        **asdict(figures),
        "per_cpu_second": figures.per_cpu_second,
        "per_second": figures.per_second,
        "profiles": setup.reference.profiles,
        "disk_bytes": size(run.folder),
        "changelog_bytes": changelog_size(setup.broker, f"{run.prefix}{run.name}"),
    }


def size(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def changelog_size(broker: LocalBroker, name: str) -> int:
    """Return the bytes of a contestant's changelog on a local broker; 0 for other brokers."""
    folders = [getattr(node, "folder", None) for node in broker.nodes]
    found = [log for folder in folders if folder for log in (folder / "data").glob(f"*{name}*")]
    return sum(path.stat().st_size for log in found if "changelog" in log.name for path in log.glob("*.log"))
