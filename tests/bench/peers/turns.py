"""All contestants in turn, A B C, A B C: each turn has fresh topics and the same input for all."""

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
from segops.kafka import definitions, topics

from . import kafka
from .contestants import Contestant, Place
from .job import Job, Record
from .measure import Failed, run
from .reference import Reference, expected


@dataclass(frozen=True)
class Ground:
    """What a comparison happens on."""

    broker: LocalBroker
    folder: Path
    job: Job
    segments: SegmentSet
    records: Sequence[Record]
    reference: Reference

    @classmethod
    def of(cls, broker: LocalBroker, folder: Path, job: Job, segments: SegmentSet) -> Ground:
        """The job's events and what they must cause."""
        records = list(job.records())
        reference = expected(records, segments, partitions=job.partitions, final_ms=job.final_ms)
        return cls(broker, folder, job, segments, records, reference)


@contextmanager
def laid(
    ground: Ground, contestants: Sequence[Contestant], configs: Mapping[str, str] = kafka.INPUT
) -> Iterator[dict[str, Place]]:
    """Fresh topics with the input in them, its topic with these settings, and a place for each contestant."""
    prefix = f"bench{uuid4().hex[:8]}."
    ports = reserve_ports(len(contestants))
    places = {
        each.name: _place(ground, prefix, each.name, port)
        for each, port in zip(contestants, ports.numbers, strict=True)
    }
    made = {f"{prefix}events": (ground.job.partitions, configs)}
    for each in contestants:
        made[each.output(places[each.name])] = (each.output_partitions or ground.job.partitions, kafka.OUTPUT)
    servers = ground.broker.bootstrap_servers
    try:
        asyncio.run(_prepare(ground, prefix, made))
        yield places
    finally:
        ports.release()
        asyncio.run(kafka.delete(servers, prefix))
        for place in places.values():
            shutil.rmtree(place.folder, ignore_errors=True)


def _place(ground: Ground, prefix: str, name: str, web_port: int) -> Place:
    return Place(
        servers=ground.broker.bootstrap_servers,
        prefix=prefix,
        name=name,
        partitions=ground.job.partitions,
        folder=ground.folder / f"{prefix}{name}",
        web_port=web_port,
    )


async def _prepare(ground: Ground, prefix: str, made: kafka.Topics) -> None:
    servers = ground.broker.bootstrap_servers
    await kafka.create(servers, made)
    await publish(settings_of(servers, prefix, ground.job.partitions), ground.segments)
    await kafka.load(servers, f"{prefix}events", ground.records)


async def publish(settings: Settings, segments: SegmentSet) -> None:
    """The topics and definitions of segops that are missing."""
    await topics.create(settings)
    await definitions.publish(settings, list(segments.definitions), prune=False)


def settings_of(servers: str, prefix: str, partitions: int) -> Settings:
    """As the worker has them."""
    return load(
        kafka={"bootstrap_servers": servers},
        topics={"prefix": prefix, "partitions": partitions, "retention_ms": 3650 * 86_400_000},
        worker={"app_id": f"{prefix}segops"},
    )


def outcome(ground: Ground, contestant: Contestant, place: Place) -> dict[str, Any]:
    """The figures of one run and what its state takes afterwards; or the reason why there are none."""
    try:
        figures = asyncio.run(run(contestant, place, ground.reference))
    except Failed as error:
        return {"reason": str(error)}
    return {
        **asdict(figures),
        "per_cpu_second": figures.per_cpu_second,
        "per_second": figures.per_second,
        "profiles": ground.reference.profiles,
        "disk_bytes": size(place.folder),
        "changelog_bytes": changelog_size(ground.broker, f"{place.prefix}{place.name}"),
    }


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def changelog_size(broker: LocalBroker, name: str) -> int:
    """Bytes of a contestant's changelog on a local broker; 0 where its files are elsewhere."""
    folders = [getattr(node, "folder", None) for node in broker.nodes]
    found = [log for folder in folders if folder for log in (folder / "data").glob(f"*{name}*")]
    return sum(path.stat().st_size for log in found if "changelog" in log.name for path in log.glob("*.log"))
