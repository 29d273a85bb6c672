"""What the demo is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Fast enough to be over in a minute, slow enough to watch.
DEFAULT_RATE: Final = 2_500.0


@dataclass(frozen=True, slots=True)
class Options:
    """``limit`` events at most; ``rate`` events a second at most, 0: as fast as it goes.

    ``broker`` is a kind of ``segops.brokers``; ``bootstrap_servers`` serves the kind ``own``. ``folder``
    holds everything that the demo writes; None is a temporary folder that is removed at the end.
    """

    limit: int | None = None
    rate: float = DEFAULT_RATE
    partitions: int = 4
    processes: int = 1
    broker: str = "embedded"
    bootstrap_servers: str | None = None
    folder: Path | None = None
    keep: bool = False
