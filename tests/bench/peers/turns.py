"""All contestants in turn, A B C, A B C: each turn has fresh topics and the same input for all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from segops.brokers import LocalBroker
from segops.brokers.network import free_ports
from segops.config import Settings, load
from segops.streaming import definitions as published
from segops.streaming import topics

from . import kafka
from .contestants import Contestant, Place
from .job import SEGMENTS, Job, Record, definitions
from .measure import Failed, Figures, run
from .reference import Reference


@dataclass(frozen=True)
class Ground:
    """What a comparison happens on."""

    broker: LocalBroker
    folder: Path
    job: Job
    records: Sequence[Record]
    reference: Reference


@dataclass(frozen=True)
class Outcome:
    """One run: its figures, or why there are none; and what its state takes afterwards, in bytes."""

    contestant: str
    figures: Figures | None
    reason: str = ""
    disk_bytes: int = 0
    changelog_bytes: int = 0


def turn(ground: Ground, contestants: Sequence[Contestant]) -> Iterator[Outcome]:
    """One run of each."""
    prefix = f"bench{uuid4().hex[:8]}."
    places = {each.name: _place(ground, prefix, each.name) for each in contestants}
    outputs = {each.output(places[each.name]): each.output_partitions for each in contestants}
    asyncio.run(_prepare(ground, prefix, outputs))
    try:
        for each in contestants:
            yield _outcome(ground, each, places[each.name])
    finally:
        asyncio.run(kafka.delete(ground.broker.bootstrap_servers, prefix))


def _place(ground: Ground, prefix: str, name: str) -> Place:
    return Place(
        servers=ground.broker.bootstrap_servers,
        prefix=prefix,
        name=name,
        partitions=ground.job.partitions,
        folder=ground.folder / f"{prefix}{name}",
        web_port=free_ports(1)[0],
    )


async def _prepare(ground: Ground, prefix: str, outputs: Mapping[str, int | None]) -> None:
    """The topics, the input, and for segops its definitions."""
    servers, partitions = ground.broker.bootstrap_servers, ground.job.partitions
    made = {f"{prefix}events": (partitions, kafka.INPUT)}
    made |= {topic: (number or partitions, kafka.OUTPUT) for topic, number in outputs.items()}
    await kafka.create(servers, made)
    await kafka.load(servers, f"{prefix}events", ground.records)
    settings = settings_of(servers, prefix, partitions)
    await topics.create(settings)
    await published.publish(settings, definitions(SEGMENTS), prune=False)


def settings_of(servers: str, prefix: str, partitions: int) -> Settings:
    """As the worker has them."""
    return load(
        kafka={"bootstrap_servers": servers},
        topics={"prefix": prefix, "partitions": partitions, "retention_ms": 3650 * 86_400_000},
        worker={"app_id": f"{prefix}segops"},
    )


def _outcome(ground: Ground, contestant: Contestant, place: Place) -> Outcome:
    try:
        figures = asyncio.run(run(contestant, place, ground.reference))
    except Failed as error:
        return Outcome(contestant.name, None, str(error))
    disk, changelog = size(place.folder), changelog_size(ground.broker, f"{place.prefix}{place.name}")
    shutil.rmtree(place.folder, ignore_errors=True)
    return Outcome(contestant.name, figures, disk_bytes=disk, changelog_bytes=changelog)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def changelog_size(broker: LocalBroker, name: str) -> int:
    """Bytes of a contestant's changelog on a local broker; 0 where its files are elsewhere."""
    folders = [getattr(node, "folder", None) for node in broker.nodes]
    found = [log for folder in folders if folder for log in (folder / "data").glob(f"*{name}*")]
    return sum(path.stat().st_size for log in found if "changelog" in log.name for path in log.glob("*.log"))
