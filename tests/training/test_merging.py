"""Partitions as one stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segops.training.merging import Merger


@given(st.lists(st.lists(st.integers(0, 50), max_size=12).map(sorted), min_size=1, max_size=4), st.randoms())
def test_sorted_partitions_come_out_sorted_however_they_arrive(logs: list[list[int]], drawn: object) -> None:
    merger, found = Merger[int](range(len(logs))), list[int]()
    left = [list(log) for log in logs]
    while any(left):
        at = drawn.choice([n for n, log in enumerate(left) if log])  # type: ignore[attr-defined]
        count = drawn.randint(1, len(left[at]))  # type: ignore[attr-defined]
        merger.add(at, [(each, each) for each in left[at][:count]])
        del left[at][:count]
        found += merger.ready([n for n, log in enumerate(left) if not log])
    assert found == sorted(each for log in logs for each in log)
    assert merger.empty == list(range(len(logs)))


def test_a_partition_that_is_behind_is_waited_for() -> None:
    merger = Merger[str]([0, 1])
    merger.add(0, [(5, "a")])
    assert (merger.empty, list(merger.ready([0]))) == ([1], [])
    merger.add(1, [(2, "b")])
    assert list(merger.ready([0])) == ["b"]
    assert list(merger.ready([1])) == ["a"]
