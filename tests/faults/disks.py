"""What happens to the stores."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..streaming.helpers import wait_until
from .cluster import Case, NotHere
from .inspector import places_of


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
        case.ready(0)
        case.term(0)
        if not kept.exists():
            shutil.copytree(case.profiles(0), kept)
            case.start(0)
            case.load.wait_sent(120)
            case.ready(0)
            case.caught_up()
            case.kill(0)
        fault = time.monotonic()
        damage(case.profiles(0), kept)
        case.start(0)
        case.recovered(fault)


def full_disk(case: Case) -> None:
    """The disk fills up under load: nothing is committed that is not on it. Then there is room again."""
    folder = case.data_dir(0)
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        raise NotHere(f"no tmpfs can be mounted: {mounted.stderr.decode().strip()}")
    case.at_end.append(lambda: subprocess.run(["umount", "-l", folder], check=False) and None)
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(60)
    fault = time.monotonic()
    _fill(folder / "filler")
    wait_until(lambda: case.workers[0].poll() is not None, "the worker gives up", case.diagnosis)
    case.ended(0, None)
    (folder / "filler").unlink()
    case.start(0)
    case.recovered(fault)


def _fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 4096)


def newer_state(case: Case) -> None:
    """The changelog holds a state of a later version: a worker refuses it, until it is gone."""
    case.start(0)
    case.ready(0)
    case.load.start()
    case.load.wait_sent(100)
    case.caught_up()
    case.term(0)
    topic = case.settings.worker.changelog
    places = places_of([topic], case.plan.partitions)
    found = case.eyes.read(places, "read_committed").items()
    states = [
        (place[1], record)
        for place, records in found
        for record in records
        if not record.key.startswith(b"\0")
    ]
    partition, last = states[-1]
    case.eyes.produce(topic, partition, last.key, b"\x7f" + last.value[1:])
    shutil.rmtree(case.profiles(0))
    case.start(0)
    case.ended(0, 1)
    assert "has format 127, this version of segops reads" in case.said(0), case.said(0)[-800:]
    case.eyes.produce(topic, partition, last.key, last.value)
    fault = time.monotonic()
    case.start(0)
    case.recovered(fault)
