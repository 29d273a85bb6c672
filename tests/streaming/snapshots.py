"""What a snapshot makes durable, as a whole."""

from __future__ import annotations

from itertools import chain

from segops.stores.base import Write
from segops.streaming.partition.snapshot import PartitionSnapshot


def logged_of(snapshot: PartitionSnapshot) -> list[Write]:
    """Return all changelog records of a snapshot."""
    return list(chain.from_iterable(snapshot.logged))
