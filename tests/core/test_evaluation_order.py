"""The evaluation order of a segment set."""

from __future__ import annotations

from itertools import permutations

from segops.core.rules.model import All, InSegment, KnownFor
from segops.core.segments import Definition, SegmentSet


def test_evaluation_order_does_not_depend_on_definition_order() -> None:
    rule = KnownFor(1_000)
    given = [
        Definition("a", "A", All((InSegment("d"), InSegment("c")))),
        Definition("b", "B", rule),
        Definition("c", "C", rule),
        Definition("d", "D", rule),
    ]
    orders = {tuple(s.key for s in SegmentSet(some).segments) for some in permutations(given)}
    assert orders == {("c", "d", "a", "b")}
