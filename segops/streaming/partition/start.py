"""The position and clock at which a partition starts."""

from __future__ import annotations

from dataclasses import dataclass

from segops.schemas.origin import Mark, Origin
from segops.streaming.partition.clock import PartitionClock


@dataclass(frozen=True)
class Start:
    """The start of a partition: the next record to apply, and the clock there.

    ``since_ms``: when the engine's definitions came into force; None: they are not recorded yet.
    ``replay_until``: records before this offset may already have been evaluated, by these definitions, in a
    process that died before it made the results durable. ``origin``: the topics and application of the state,
    not yet recorded if ``adopted``; None: unknown. ``mark``: the last record before ``offset``.
    ``number``: of the partition, one of ``partitions``.
    """

    offset: int
    clock: PartitionClock
    since_ms: int | None = None
    replay_until: int = 0
    origin: Origin | None = None
    adopted: bool = False
    mark: Mark | None = None
    number: int = 0
    partitions: int = 1
