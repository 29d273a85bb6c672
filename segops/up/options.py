"""The options of ``segops up``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """Options: the data ``folder``, the kind of ``broker`` (auto: the best that keeps data) and its ``port``.

    ``sources`` are files of sources to publish first; with ``klaviyo``, an account is pulled from.
    """

    folder: Path
    broker: str = "auto"
    port: int = 9092
    processes: int = 1
    sources: tuple[Path, ...] = ()
    klaviyo: bool = False
