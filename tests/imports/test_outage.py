"""An import through outages of Kafka, in virtual time: it goes on at its position."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from segops.config import load
from segops.core.errors import UserError
from segops.imports import service
from segops.imports.model import load_map
from segops.imports.service import Import, run_import
from segops.imports.state import decode_state
from segops.kafka.journal import Written
from segops.kafka.reachability import Cause, ConnectionProblem, Unreachable
from tests.imports.runs import MAP, MemoryJournal
from tests.klaviyo import virtual_time


class Cut(MemoryJournal):
    """A journal of which some commits lose the connection before they are done."""

    async def commit(self, records: list[Written], position: bytes) -> None:
        if self.commits + 1 in self.kills:
            self.commits += 1
            self.kills.pop(self.commits)
            raise KafkaConnectionError("broker lost")
        await super().commit(records, position)


def importing(folder: Path, journal: MemoryJournal, failures: list[Exception], patch: Any) -> list[str]:
    """Import 12,000 rows while opening the journal fails with these errors first; return what was said."""
    path, map_file = folder / "orders.csv", folder / "map.yaml"
    rows = [f"o{n},u{n % 7},2026-01-01T10:00:00Z,1" for n in range(12_000)]
    path.write_text("\n".join(["id,customer,at,total", *rows]))
    map_file.write_text(MAP)
    one = Import(load(), path, "csv", load_map(map_file), on_rejected=lambda row, error: None)
    journal.key = one.key

    @asynccontextmanager
    async def opening(*_: Any, **__: Any) -> AsyncIterator[MemoryJournal]:
        if failures:
            raise failures.pop(0)
        yield journal

    patch.setattr(service, "open_journal", opening)
    said: list[str] = []
    virtual_time.run(
        run_import(load(), one, report=lambda state: None, waiting=said.append, passed=lambda point: None)
    )
    return said


def test_outages_are_waited_out_and_nothing_is_lost_or_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Cut(kills={1: True, 3: True, 5: True})
    away: list[Exception] = [Unreachable("no broker answers")] * 3
    said = importing(tmp_path, journal, away, monkeypatch)
    assert len(said) == 6 and all(each.startswith("waiting for Kafka: ") for each in said)
    state = decode_state(journal.positions[journal.key])
    assert (state.rows, state.events, state.rejected, state.done) == (12_000, 12_000, 0, True)
    assert [each["properties"]["order_id"] for each in journal.events] == [f"o{n}" for n in range(12_000)]


def test_wrong_address_is_a_mistake_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: list[Exception] = [
        Unreachable("unknown host", (ConnectionProblem("kafka:9092", Cause.UNKNOWN_HOST),))
    ]
    with pytest.raises(UserError, match="unknown host"):
        importing(tmp_path, MemoryJournal(), wrong, monkeypatch)


def test_second_process_stops_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="another process"):
        importing(tmp_path, MemoryJournal(), [UserError("another process")], monkeypatch)
