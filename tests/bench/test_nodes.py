"""The rules of the benchmark of nodes are whole and evaluated alike by both implementations."""

from __future__ import annotations

import pytest

from segops.core.rules.parsing import HEADS
from segops.core.segments import SegmentSet
from segops.kernel import found

from .nodes import NODES, definitions, measure
from .workload import events

#: A list is uploaded, not written.
_WITHOUT_RULE = {"list"}


def test_every_node_has_a_rule() -> None:
    heads = {head for node in NODES for head in NODES[node]}
    assert HEADS.keys() - heads == _WITHOUT_RULE
    assert all(SegmentSet(definitions(node)).by_key["it"] for node in NODES)


@pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")
def test_what_the_kernel_leaves_is_counted() -> None:
    left = {node: cost.left for node, cost in measure(events(300, 30))}
    assert left.keys() == NODES.keys()
    assert not left["did"] and left["changed"]
