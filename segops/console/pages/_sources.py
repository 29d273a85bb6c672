"""Where events come from: topics that are mapped, pulls and imports, shops, and what the catalogue saw."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import msgspec

from segops.catalogue.views import EventView
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.imports import state as imports
from segops.kafka import reading
from segops.kafka.topics import single_partition
from segops.klaviyo import state as klaviyo
from segops.klaviyo.pages import STREAMS
from segops.schemas.shown import HIDDEN
from segops.sources.progress import progress


async def mapped_topics(settings: Settings) -> list[dict[str, Any]]:
    """Return the published sources, and how far each is read."""
    return [msgspec.to_builtins(each) for each in await progress(settings)]


async def pulls(settings: Settings) -> list[dict[str, Any]]:
    """Return how far each pull from another service, and import of a file, has come, the latest first."""
    latest: dict[bytes, bytes | None] = {}
    partition = await single_partition(settings.kafka, settings.topics.pulls)
    for record in await reading.read_all(settings.kafka, partition):
        latest[record.key or b""] = record.value
    found = [pull for value in latest.values() if value and (pull := pull_of(value)) is not None]
    return sorted(found, key=lambda each: -(each["at_ms"] or 0))


def pull_of(value: bytes) -> dict[str, Any] | None:
    """Return the state of a pull or an import; None for a record of another version."""
    for read in (_of_klaviyo, _of_import):
        try:
            return read(value)
        except SegopsError:
            continue
    return None


def _of_klaviyo(value: bytes) -> dict[str, Any]:
    found = klaviyo.decode_state(value)
    following = [
        each.reached_ms for stream in STREAMS for each in found.spans if each.stream == stream and each.live
    ]
    return {
        "kind": "Klaviyo",
        "name": found.account or "account not known yet",
        "state": "running" if found.running else "stopped",
        "tone": "good" if found.running else "neutral",
        "at_ms": found.at_ms,
        "share": found.progress,
        "until_ms": min((each for each in following if each is not None), default=None),
        "events": None,
        "rejected": None,
    }


def _of_import(value: bytes) -> dict[str, Any]:
    found = imports.decode_state(value)
    return {
        "kind": "import",
        "name": PurePath(found.file).name,
        "state": "done" if found.done else "unfinished",
        "tone": "good" if found.done else "warn",
        "at_ms": found.started_ms,
        "share": 1.0 if found.done else None,
        "until_ms": found.until_ms,
        "events": found.events,
        "rejected": found.rejected,
    }


def seen(catalogue: Iterable[EventView]) -> list[dict[str, Any]]:
    """Return the sources that the catalogue has seen. Counts are of their events, which may be shared."""
    found: dict[str, dict[str, Any]] = {}
    for event in catalogue:
        for source in event.sources:
            name = "without a name" if source == HIDDEN else source
            row = found.setdefault(source, {"source": name, "events": 0, "last_ms": None})
            row["events"] += 1
            row["last_ms"] = max((each for each in (row["last_ms"], event.last_ms) if each), default=None)
    return sorted(found.values(), key=lambda row: -(row["last_ms"] or 0))


def shops(settings: Settings) -> list[str]:
    """Return the shops whose webhooks are received, by the settings of this process."""
    return sorted(settings.shopify.domains)
