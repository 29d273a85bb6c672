"""The options of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Fast enough to finish in a minute, slow enough to watch.
DEFAULT_RATE: Final = 2_500.0


@dataclass(frozen=True, slots=True)
class Options:
    """Options: at most ``limit`` events, at most ``rate`` events per second (0: unlimited).

    ``broker`` is a kind of ``segops.brokers``; ``bootstrap_servers`` is for the kind ``own``. ``folder``
    holds everything that the demo writes; None means a temporary folder, removed at the end.
    """

    limit: int | None = None
    rate: float = DEFAULT_RATE
    partitions: int = 4
    processes: int = 1
    broker: str = "embedded"
    bootstrap_servers: str | None = None
    folder: Path | None = None
    keep: bool = False
    console: bool = False

    @property
    def shows_console(self) -> bool:
        """Whether the console runs beside the demo, which it does if the demo is left running."""
        return self.console or self.keep
