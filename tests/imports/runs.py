"""Imports into a journal in memory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segops.config import load
from segops.core.errors import RejectedEvent
from segops.imports.model import format_of, load_map
from segops.imports.rows import Row
from segops.imports.service import Import
from segops.imports.state import ImportState
from segops.kafka.journal import Written

MAP = """
version: 1
identifiers: {user_id: customer}
map:
  event: Order Completed
  timestamp: at
  properties: {order_id: id, revenue: {path: total, as: number}}
"""


class Killed(Exception):
    """The process ends here."""


@dataclass
class MemoryJournal:
    """A journal that outlives its processes. ``kills``: number of a commit -> whether it is done before."""

    records: list[Written] = field(default_factory=list)
    positions: dict[bytes, bytes] = field(default_factory=dict)
    kills: dict[int, bool] = field(default_factory=dict)
    commits: int = 0
    key: bytes = b""

    async def read(self) -> bytes | None:
        return self.positions.get(self.key)

    async def commit(self, records: list[Written], position: bytes) -> None:
        self.commits += 1
        dies = self.kills.pop(self.commits, None)
        if dies is not False:  # not killed, or killed after the commit
            self.records += records
            self.positions[self.key] = position
        if dies is not None:
            raise Killed

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(each.value) for each in self.records]


@dataclass
class Run:
    state: ImportState
    rejected: list[tuple[int, str, str]]


def run(path: Path, text: str = MAP, *, journal: MemoryJournal | None = None, again: bool = False) -> Run:
    """Run one import from begin to end."""
    map_file = path.parent / "map.yaml"
    map_file.write_text(text)
    mapping, rejected = load_map(map_file), list[tuple[int, str, str]]()

    def on_rejected(row: Row, error: RejectedEvent) -> None:
        rejected.append((row.line, error.reason, error.detail))

    form = format_of(path, mapping.format)
    assert form is not None
    one = Import(load(), path, form, mapping, on_rejected=on_rejected, again=again)
    journal = journal or MemoryJournal()
    journal.key = one.key
    asyncio.run(one.run(journal, lambda state: None))
    return Run(one.state, rejected)


def imported(path: Path, text: str = MAP) -> tuple[list[dict[str, Any]], Run]:
    """Return the events of a file, and how its import ended."""
    journal = MemoryJournal()
    found = run(path, text, journal=journal)
    return journal.events, found
