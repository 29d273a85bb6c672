"""What happens to the stores."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from .rig import Case


def _lost(profiles: Path, kept: Path) -> None:
    shutil.rmtree(profiles)


def _one_lost(profiles: Path, kept: Path) -> None:
    shutil.rmtree(sorted(profiles.glob("*"))[0])


def _flipped(profiles: Path, kept: Path) -> None:
    for file in sorted(profiles.rglob("*.sst")) or sorted(profiles.rglob("*.log")):
        data = bytearray(file.read_bytes())
        for at in range(0, len(data), 97):
            data[at] ^= 0xFF
        file.write_bytes(bytes(data))


def _truncated(profiles: Path, kept: Path) -> None:
    for file in profiles.rglob("*.log"):
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])


def _no_manifest(profiles: Path, kept: Path) -> None:
    for file in profiles.rglob("CURRENT"):
        file.write_bytes(b"nothing\n")


def _stale(profiles: Path, kept: Path) -> None:
    shutil.rmtree(profiles)
    shutil.copytree(kept, profiles)


DAMAGES: list[Callable[[Path, Path], None]] = [_lost, _one_lost, _flipped, _truncated, _no_manifest, _stale]


def damaged_store(case: Case) -> None:
    """A worker ends, its store is damaged, and it comes back to catch up or to rebuild."""
    damages = case.dice.sample(DAMAGES, 2)
    case.notes.append(" ".join(damage.__name__.strip("_") for damage in damages))
    kept = case.rig.folder / "kept"
    case.start(0)
    case.ready(0)
    case.load.start()
    for number, damage in enumerate(damages):
        case.load.wait_sent(100 * number + 60)
        case.caught_up()
        case.term(0)
        if not kept.exists():
            shutil.copytree(case.profiles(0), kept)
            case.start(0)
            case.load.wait_sent(120)
            case.caught_up()
            case.kill(0)
        fault = time.monotonic()
        damage(case.profiles(0), kept)
        case.start(0)
        case.recovered(fault)
