"""How far partitions are from evaluating by published definitions, from their sizes."""

from __future__ import annotations

import pytest

from segops.analytics.sizes import SegmentSizes
from segops.analytics.views import BackfillProgress, PartitionRollout, Rollout
from segops.cli._progress import rollout_line
from segops.operations.definitions import DefinitionChange
from segops.operations.rollout import versions_of
from segops.schemas.sizes import Progress, Published
from tests.analytics.recount import published, size


def folded(*records: Published) -> SegmentSizes:
    sizes = SegmentSizes(2)
    for record in records:
        sizes.apply(*published(record))
    return sizes


@pytest.mark.parametrize(
    ("state", "version", "wanted", "done"),
    [
        ("live", 2, 2, True),
        ("paused", 2, 2, True),
        ("live", 3, 2, True),
        ("live", 1, 2, False),
        ("building", 2, 2, False),
        ("retired", 2, 2, False),
        ("retired", 2, 0, True),
        ("live", 2, 0, False),
        ("building", 2, 0, False),
    ],
)
def test_a_version_is_in_force_where_the_state_says_so(
    state: str, version: int, wanted: int, done: bool
) -> None:
    sizes = folded(*(size("vip", number, 1, state=state, version=version) for number in range(2)))
    rollout = sizes.rollout({"vip": wanted})
    assert [each.in_force for each in rollout.partitions] == [done, done]
    assert rollout.complete is done


def test_a_partition_that_has_not_reported_has_waiters_unless_the_segment_ends() -> None:
    sizes = folded(size("vip", 1, 5))
    assert [each.in_force for each in sizes.rollout({"vip": 1}).partitions] == [False, True]
    assert not sizes.rollout({"vip": 1, "new": 1}).complete
    assert sizes.rollout({"gone": 0}).complete
    assert sizes.rollout({"vip": 1}).progress is None


def test_segments_of_a_partition_wait_for_the_same_history() -> None:
    building = {"state": "building", "version": 1}
    sizes = folded(
        size("vip", 0, 5, progress=Progress(30, 100, 20.0), **building),
        size("fan", 0, 5, progress=Progress(30, 100, 20.0), **building),
        size("vip", 1, 5, progress=Progress(0, 50), **building),
        size("fan", 1, 5, progress=Progress(0, 50), **building),
    )
    rollout = sizes.rollout({"vip": 2, "fan": 1})
    assert rollout.progress == BackfillProgress(30, 150, left_ms=6_000)
    assert rollout.partitions == [
        PartitionRollout(0, False, BackfillProgress(30, 100, left_ms=3_500)),
        PartitionRollout(1, False, BackfillProgress(0, 50)),
    ]
    assert rollout_line(rollout) == (
        "in force in 0 of 2 partitions; records of history read by partition: 0: 30 of 100, 1: 0 of 50, "
        "about 6 s left"
    )
    sizes.apply(*published(size("vip", 0, 5, version=2)))
    sizes.apply(*published(size("fan", 0, 5)))
    assert sizes.rollout({"vip": 2, "fan": 1}).partitions[0] == PartitionRollout(0, True)


def test_lines_name_at_most_eight_partitions() -> None:
    parts = [PartitionRollout(number, False, BackfillProgress(1, 2)) for number in range(9)]
    line = rollout_line(Rollout(parts, BackfillProgress(9, 18)))
    assert line.endswith("7: 1 of 2, ...")
    assert rollout_line(Rollout([PartitionRollout(0, True)])) == "in force in 1 of 1 partitions"


def test_what_is_left_out_is_not_awaited() -> None:
    changes = [
        DefinitionChange("new", "added", 1, b"{}"),
        DefinitionChange("same", "unchanged", 4),
        DefinitionChange("gone", "retired", 3, b"{}"),
        DefinitionChange("lost", "left out", 2),
    ]
    assert versions_of(changes) == {"new": 1, "same": 4, "gone": 0}
