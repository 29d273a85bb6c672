"""Imports: mapped events, rejected rows, the range, resumption, and files that were imported before."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError, SegopsError, UserError
from segops.core.values import parse_instant
from segops.imports.model import load_map
from segops.imports.service import _ROWS
from segops.imports.state import decode_state, encode_state
from tests.imports.runs import MAP, Killed, MemoryJournal, imported, run
from tests.rest import examples, rest

ROW = {"id": "o1", "customer": "ann", "at": "2026-01-02T10:00:00Z", "total": "9.50"}


def orders(folder: Path, count: int, **changed: Any) -> Path:
    path = folder / "orders.csv"
    lines = [f"o{n},u{n % 7},2026-01-0{1 + n % 9}T10:00:00Z,{n}.50" for n in range(count)]
    path.write_text("id,customer,at,total\n" + "\n".join(lines))
    return path


def jsonl(folder: Path, *found: dict[str, Any]) -> Path:
    path = folder / "orders.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in found))
    return path


def test_row_becomes_an_event_of_the_past(tmp_path: Path) -> None:
    journal = MemoryJournal()
    found = run(jsonl(tmp_path, ROW), journal=journal)
    (record,) = journal.records
    event = json.loads(record.value)
    message_id = event.pop("messageId")
    assert event == {
        "type": "track",
        "event": "Order Completed",
        "timestamp": "2026-01-02T10:00:00Z",
        "userId": "ann",
        "properties": {"order_id": "o1", "revenue": 9.5},
    }
    assert message_id.startswith("import:") and message_id.endswith(":1")
    assert (record.topic, record.key) == ("segops.events", b"ann")
    assert dict(record.headers) == {"segops-from": b"import:orders.jsonl:1"}
    assert (found.state.rows, found.state.events, found.state.rejected, found.state.done) == (1, 1, 0, True)


def test_state_has_the_range_that_the_events_cover(tmp_path: Path) -> None:
    _, found = imported(orders(tmp_path, 20))
    assert found.state.from_ms == parse_instant("2026-01-01T10:00:00Z")
    assert found.state.until_ms == parse_instant("2026-01-09T10:00:00Z")
    assert decode_state(encode_state(found.state)) == found.state


@pytest.mark.parametrize(
    ("changed", "reason", "detail"),
    [
        ({"at": None}, "no_time", "missing timestamp"),
        ({"at": "yesterday"}, "bad_time", "yesterday"),
        ({"at": "2100-01-01"}, "in_future", "the timestamp is in the future"),
        ({"at": 5}, "bad_time", "timestamp"),
        ({"total": "x"}, "unmapped", "map.properties.revenue: expected a number at total, got 'x'"),
        ({"customer": None}, "no_identifier", "neither"),
        ({"customer": "null"}, "blocked_identifier", "placeholder"),
        ({"id": "x" * 40_000}, "too_large", "bytes"),
    ],
)
def test_row_is_rejected_with_line_and_reason_and_the_others_are_imported(
    tmp_path: Path, changed: dict[str, Any], reason: str, detail: str
) -> None:
    odd = {name: each for name, each in {**ROW, **changed}.items() if each is not None}
    events, found = imported(jsonl(tmp_path, ROW, odd, ROW))
    ((line, why, text),) = found.rejected
    assert (line, why) == (2, reason)
    assert detail in text and not text.startswith(".")
    assert (len(events), found.state.rejected) == (2, 1)


def test_text_in_another_encoding_is_rejected_by_its_column(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(b"id,customer,at,total\no1,ann,2026-01-01,1\no2,J\xf6rg,2026-01-01,1\n")
    events, found = imported(path)
    assert found.rejected == [
        (3, "bad_encoding", "column customer: not in the encoding of the file: set csv.encoding")
    ]
    assert len(events) == 1


def test_traits_without_a_time_are_as_of_the_beginning_of_the_import(tmp_path: Path) -> None:
    text = "{version: 1, map: {type: identify, userId: customer, traits: {tier: total}}}"
    events, found = imported(jsonl(tmp_path, ROW), text)
    assert events[0]["traits"] == {"tier": "9.50"}
    assert parse_instant(events[0]["timestamp"]) == found.state.started_ms


def test_mapped_message_id_is_that_of_the_live_event(tmp_path: Path) -> None:
    events, _ = imported(jsonl(tmp_path, ROW), MAP.replace("timestamp: at", "timestamp: at\n  messageId: id"))
    assert events[0]["messageId"] == "o1"


def test_rows_may_be_left_out_and_make_several_events(tmp_path: Path) -> None:
    text = """
version: 1
where: {id: {ne: o2}}
identifiers: {user_id: customer}
map:
  - {event: A, timestamp: at}
  - {event: B, timestamp: at}
"""
    events, found = imported(jsonl(tmp_path, ROW, {**ROW, "id": "o2"}), text)
    assert [each["event"] for each in events] == ["A", "B"]
    assert [each["messageId"].rpartition(":")[2] for each in events] == ["1", "1#1"]
    assert (found.state.rows, found.state.events) == (2, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{version: 1, map: {event: A, userId: id}}", "map: missing timestamp"),
        (
            "{version: 1, map: [{event: A, userId: i, timestamp: t}, {type: page, userId: i}]}",
            r"map\[1\]: missing",
        ),
        (
            "{version: 1, map: {event: A, userId: id, timestamp: {path: t, as: x}}}",
            "map.timestamp.*unknown conversion",
        ),
        ("{version: 2, map: {}}", "version"),
        ("{version: 1, csv: {delimiter: ab}, map: {}}", "delimiter"),
        ("{version: 1, csv: {encoding: klingon}, map: {}}", "unknown encoding"),
        ("{version: 1, topic: a, map: {}}", "topic"),
        ("[]", "map.yaml"),
        ("{", "map.yaml"),
    ],
)
def test_mistake_in_a_map_names_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError, match=message) as caught:
        load_map(path)
    assert not any(each.path.startswith(".") for each in caught.value.issues)


def test_file_that_was_imported_is_recognised_under_any_name(tmp_path: Path) -> None:
    journal = MemoryJournal()
    path = orders(tmp_path, 5)
    run(path, journal=journal)
    again = run(path.rename(tmp_path / "other.csv"), journal=journal)
    assert (len(journal.records), again.state.done) == (5, True)


def test_empty_file_is_imported_as_nothing(tmp_path: Path) -> None:
    journal, path = MemoryJournal(), tmp_path / "orders.csv"
    path.write_text("id,customer,at,total\n")
    found = run(path, journal=journal)
    assert (found.state.rows, found.state.done, found.state.from_ms) == (0, True, None)
    assert journal.records == []


def test_another_map_of_an_imported_file_is_refused_unless_asked_for(tmp_path: Path) -> None:
    journal, path = MemoryJournal(), orders(tmp_path, 5)
    run(path, journal=journal)
    other = MAP.replace("Order Completed", "Order Paid")
    with pytest.raises(UserError, match=r"imported with another map.*--again"):
        run(path, other, journal=journal)
    run(path, other, journal=journal, again=True)
    ids = [each["messageId"] for each in journal.events]
    assert (len(ids), len(set(ids))) == (10, 10)


def test_the_same_import_again_has_the_same_message_ids(tmp_path: Path) -> None:
    journal, path = MemoryJournal(), orders(tmp_path, 5)
    run(path, journal=journal)
    run(path, journal=journal, again=True)
    assert len({each["messageId"] for each in journal.events}) == 5


def test_wrong_map_imports_nothing(tmp_path: Path) -> None:
    journal, path = MemoryJournal(), orders(tmp_path, 2_000)
    with pytest.raises(UserError, match="none of the first 2,000 rows becomes an event"):
        run(path, MAP.replace("timestamp: at", "timestamp: id"), journal=journal)
    assert journal.records == []


def test_state_of_another_version_is_refused() -> None:
    with pytest.raises(SegopsError, match="expected format 1, got 2"):
        decode_state(b'{"file": "a", "map_hash": "b", "started_ms": 0, "format": 2}')
    with pytest.raises(SegopsError, match="unreadable state"):
        decode_state(b"{}")


@rest
@examples(20, of=200)
@given(kills=st.dictionaries(st.integers(1, 12), st.booleans(), max_size=6), rows=st.integers(0, 4 * _ROWS))
def test_import_that_is_killed_anywhere_goes_on_and_loses_and_repeats_nothing(
    tmp_path_factory: pytest.TempPathFactory, kills: dict[int, bool], rows: int
) -> None:
    path, journal = orders(tmp_path_factory.mktemp("killed"), rows), MemoryJournal(kills=dict(kills))
    while True:
        try:
            found = run(path, journal=journal)
            break
        except Killed:
            continue
    assert [each["properties"]["order_id"] for each in journal.events] == [f"o{n}" for n in range(rows)]
    assert (found.state.rows, found.state.events, found.state.done) == (rows, rows, True)


@rest
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    class Forgetful(MemoryJournal):
        async def commit(self, records: Any, position: bytes) -> None:
            self.commits += 1

    peaks = []
    for count in (2 * _ROWS, 8 * _ROWS):
        path = orders(tmp_path, count)
        tracemalloc.start()
        run(path, journal=Forgetful())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
