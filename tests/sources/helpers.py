"""Sources from YAML, and records to map."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from segops.sources.mapping import Decoded, events_of
from segops.sources.model import Source
from segops.sources.parsing import load

AT_MS = 1_760_000_000_000
AT = "2025-10-09T08:53:20.000Z"


class Written(NamedTuple):
    """A Kafka record."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    offset: int = 7
    timestamp: int = AT_MS


def source_of(text: str, folder: Path, **fields: Any) -> Source:
    """Return the source with these YAML lines, of the topic ``orders``, as JSON unless it says else."""
    form = {"topic": "orders", "format": "json", **fields, **yaml.safe_load(text)}
    return sources_in([form], folder)[0]


def sources_in(forms: list[dict[str, Any]], folder: Path, **options: Any) -> list[Source]:
    """Return the sources of a file with these forms."""
    file = folder / "sources.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "sources": forms}, sort_keys=False))
    return load(file, **options)


def mapped(source: Source, value: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Return the events that a value becomes."""
    record = Decoded("orders:0:7", AT_MS, value, **fields)
    return [json.loads(event) for event in events_of(source, record)]
