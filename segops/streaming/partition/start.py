"""Where a lane begins, and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass

from segops.schemas.origin import Mark, Origin
from segops.streaming.partition.clock import PartitionClock


@dataclass(frozen=True)
class Start:
    """Where a lane begins: the next record to apply, and what time it is there.

    ``since_ms``: since when the engine's definitions are known to be in force; None: they are not recorded
    yet. ``replay_until``: the records before this offset may have been judged already, by these definitions,
    by a process that did not live to make it durable. ``origin``: what the state belongs to, not recorded
    yet if it is ``adopted``; None: nothing is recorded. ``mark``: the last record before ``offset``.
    """

    offset: int
    clock: PartitionClock
    since_ms: int | None = None
    replay_until: int = 0
    origin: Origin | None = None
    adopted: bool = False
    mark: Mark | None = None
