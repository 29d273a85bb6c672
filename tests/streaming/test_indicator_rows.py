"""Indicators of one partition, without a broker: what is published, withdrawn and deleted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.events import IndicatorValue
from segops.core.messages import Release
from segops.core.segments import SegmentSet
from segops.schemas.indicators import encode_value, value_key
from segops.schemas.quarantine import name_of_bytes
from segops.schemas.segments import load_checked
from segops.schemas.state import decode_profile
from segops.stores.memory import MemoryStores
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .helpers import shop_events
from .test_erasure import checkpoint, erase, opened, viewed
from .test_indicators_live import FINAL_MS, INDICATORS, brief, by_key, last, replayed
from .test_quarantine import DAMAGES, Partition, sent
from .test_segment_processor import batches, clock, forwarded, tick, work_off

WHO = "user_id:u1"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return engine_of(tmp_path, views={"did": "Product Viewed"}, idle={"days_since_last": "Order Completed"})


def engine_of(tmp_path: Path, **block: Any) -> Engine:
    file = tmp_path / "file.json"
    file.write_bytes(msgspec.json.encode({"version": 1, "indicators": block}))
    return Engine(SegmentSet(load_checked([file]).all_definitions))


def summary(values: list[IndicatorValue]) -> list[tuple[str, str, Any]]:
    return [(each.profile_id, each.indicator, each.value) for each in values]


def test_values_continue_after_a_crash_and_are_withdrawn_by_an_erasure(engine: Engine) -> None:
    stores, output = MemoryStores(), RecordingOutput()
    processor = opened(stores, engine, output=output)
    processor.process([viewed(0)])
    checkpoint(processor)
    processor.process([viewed(1)])
    before = summary(output.values)
    processor.close()  # without a checkpoint: the second event is read again
    output.values.clear()
    processor = opened(stores, engine, start=1, output=output)
    processor.process([viewed(1), viewed(2), erase(3)])
    assert summary(output.values)[0] == before[-1] == (WHO, "views", 2)
    assert summary(output.values)[1:] == [(WHO, "views", 3), (WHO, "views", None)]


@pytest.mark.parametrize("seed", range(6))
def test_batching_and_crashes_repeat_the_values_of_a_replay(tmp_path: Path, seed: int) -> None:
    """Without crashes the values are exactly those; after one, those since the last commit come again."""
    rng, file = random.Random(seed), tmp_path / "indicators.yaml"
    file.write_text(INDICATORS)
    defined = load_checked([file]).all_definitions
    sent = shop_events(500, users=15, partitions=1, seed=seed)
    records = [forwarded(one.value, offset) for offset, one in enumerate(sent)]
    records.append(tick(len(records), FINAL_MS))
    stores, engine, output = MemoryStores(), Engine(SegmentSet(defined)), RecordingOutput()
    committed, crashes = Start(0, clock()), seed * 3
    while committed.offset < len(records):
        processor = SegmentProcessor(stores.open(0), engine, start=committed, output=output, cache_profiles=5)
        committed, crashes = run(processor, records[committed.offset :], rng, crashes), crashes - 1
        processor.close()
    want = by_key(replayed(sent, defined))
    found = by_key(
        [(value_key(each.profile_id, each.indicator), encode_value(each)) for each in output.values]
    )
    if not seed:
        assert {key: brief(values) for key, values in found.items()} == {
            key: brief(values) for key, values in want.items()
        }
    assert {key: set(values) for key, values in found.items()} == {
        key: set(values) for key, values in want.items()
    }
    assert last(found) == last(want)


def run(processor: SegmentProcessor, records: list[Any], rng: random.Random, crashes: int) -> Start:
    """Process records until the end or, while ``crashes`` is above 0, a crash; return the last commit."""
    snapshot = processor.snapshot()
    for batch in batches(records, rng):
        processor.process(batch)
        processor.fire_due(rng.randrange(5))
        if rng.random() < 0.3:
            snapshot = processor.snapshot()
            processor.write(snapshot, None)
        if crashes > 0 and rng.random() < 0.3:
            break
    else:
        work_off(processor)
        snapshot = processor.snapshot()
        processor.write(snapshot, None)
    restored = clock()
    assert restored.load(snapshot.metadata)
    return Start(snapshot.offset, restored)


def test_rows_that_no_profile_stands_for_are_deleted(engine: Engine, tmp_path: Path) -> None:
    output = RecordingOutput()
    processor = opened(MemoryStores(), engine, output=output)
    processor.process([viewed(0), viewed(1, "u2")])
    mine, idle = value_key(WHO, "views"), value_key(WHO, "idle")
    other, former = value_key("user_id:a|b", "views"), value_key(WHO, "gone")
    assert processor.delete_values([mine, idle, other, former], retired=True) == 1
    assert processor.delete_values([mine, idle, other, former], retired=False) == 3
    assert output.deleted_values == [former, idle, other, former]
    processor.use(engine_of(tmp_path, idle={"days_since_last": "Order Completed"}))
    while processor.rescan(100):
        pass
    assert set(summary(output.values)[-2:]) == {(WHO, "views", None), ("user_id:u2", "views", None)}
    assert processor.delete_values([mine], retired=True) == 1


@pytest.mark.parametrize("dropped", [False, True])
def test_profile_released_from_quarantine_publishes_all_values_again(engine: Engine, dropped: bool) -> None:
    part = Partition(engine.segments.all_definitions)
    part.processor.process([viewed(0), viewed(1)])
    part.checkpoint()
    state = decode_profile(part.damage(WHO, DAMAGES["cut"]))
    part.processor.process([viewed(2)])
    part.output.values.clear()
    assert part.processor.delete_values([value_key(WHO, "views")], retired=False) == 0
    of = name_of_bytes(part.stored(WHO) or b"")
    part.processor.process([sent(Release(WHO, of, 9, (), None if dropped else state), 3)])
    found = summary(part.output.values)
    assert found[:2] == [(WHO, "idle", None), (WHO, "views", None if dropped else 2)]
    assert found[2:] == ([] if dropped else [(WHO, "views", 3)])
