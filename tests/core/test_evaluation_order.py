"""Segments of one set are judged in one order, however they are given."""

from __future__ import annotations

from itertools import permutations

from segops.core.rules.model import All, InSegment, KnownFor
from segops.core.segments import Definition, SegmentSet


def test_the_order_of_judging_does_not_depend_on_how_segments_are_given() -> None:
    rule = KnownFor(1_000)
    given = [
        Definition("a", "A", All((InSegment("d"), InSegment("c")))),
        Definition("b", "B", rule),
        Definition("c", "C", rule),
        Definition("d", "D", rule),
    ]
    orders = {tuple(s.key for s in SegmentSet(some).segments) for some in permutations(given)}
    assert orders == {("c", "d", "a", "b")}
