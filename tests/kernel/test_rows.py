"""Rows of a backfill by the kernel are Python's, byte for byte, of the log read aside."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from segops.core.backfill import Collector
from segops.core.segments import SegmentSet
from segops.kernel import found
from segops.kernel.tables import Limits
from segops.schemas.identifying import DEFAULT
from segops.stores.memory import MemoryStores
from segops.streaming.partition.backfill.history import History
from segops.streaming.partition.native_rows import NativeRows
from segops.testing import definition
from tests.core.strategies import BASE_MS, streams
from tests.core.test_equivalence import segment_sets
from tests.kernel import plain_cases
from tests.kernel.people import event_json
from tests.kernel.sides import Record

pytestmark = pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")


def _native() -> NativeRows:
    return NativeRows(found()[0], Limits((), DEFAULT.email_sources, DEFAULT.rules, 1 << 20))


def _records(steps: list[tuple[str, Any]]) -> list[Record]:
    rng, made = Random(5), []
    events = [event for kind, event in steps if kind == "event"]
    for number, event in enumerate(events):
        headers = [("segops-source", b"1:%d" % number), ("segops-time", b"%d" % event.time_ms)]
        value = event_json(event, rng, number)
        made.append(Record(number, b"user_id:u%d" % (number % 3), value, headers, BASE_MS + number))
    return [*made, Record(len(made), None, b"tick", [("segops-type", b"tick")], 0)]


def _assert_rows_agree(segments: SegmentSet, steps: list[tuple[str, Any]]) -> None:
    records, kept = _records(steps), []
    for native in (None, _native()):
        store = MemoryStores().open(0)
        history = History(store, DEFAULT)
        history.read_native = None if native is None else native.read
        history.collect_for("v", segments.features, len(records), 0)
        if segments.features:
            assert history.read(records, 0, len(records), since_ms=None)
        kept.append({owner: store.rows(owner) for owner in store.row_owners(None, 1_000)})
    assert kept[0] == kept[1]


@pytest.mark.parametrize("seed", range(20))
def test_rules_of_the_kernel(seed: int) -> None:
    rng = Random(seed)
    _assert_rows_agree(plain_cases.segments(rng), plain_cases.steps(rng))


@settings(max_examples=10)
@given(segment_sets(), streams())
def test_any_rules(segments: SegmentSet, steps: list[tuple[str, Any]]) -> None:
    _assert_rows_agree(segments, steps)


def test_the_kernel_reads_what_it_can() -> None:
    """Equality alone would also hold if Python read everything."""
    rules = [
        {"did": "A", "count": {"gte": 3}, "within": "1s", "where": {"p": "x"}},
        {"sum": "n", "of": "A", "within": "1h", "is": {"gte": 3}},
        {"has_been": {"trait": "plan", "is": {"eq": "gold"}}, "for": "1d"},
    ]
    segments = SegmentSet([definition(f"s{number}", rule) for number, rule in enumerate(rules)])
    value = b'{"type":"track","event":"A","userId":"u","properties":{"p":"x","n":0.5}}'
    headers = [("segops-source", b"1:7"), ("segops-time", b"5")]
    records = [Record(number, b"user_id:u", value, headers, 9) for number in range(3)]
    read = _native().read(Collector(segments.features), records, 1, 3)
    assert [(number, row is not None and row[0]) for number, row in read] == [
        (1, "user_id:u"),
        (2, "user_id:u"),
    ]
