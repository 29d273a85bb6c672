"""Faults of the local stores."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..streaming.helpers import wait_until
from .cluster import Case, FaultUnavailable
from .inspector import partitions_of


def _all_deleted(profiles: Path, backup: Path) -> None:
    shutil.rmtree(profiles)


def _one_deleted(profiles: Path, backup: Path) -> None:
    shutil.rmtree(sorted(profiles.glob("*"))[0])


def _flipped(profiles: Path, backup: Path) -> None:
    for file in sorted(profiles.rglob("*.sst")) or sorted(profiles.rglob("*.log")):
        data = bytearray(file.read_bytes())
        for at in range(0, len(data), 97):
            data[at] ^= 0xFF
        file.write_bytes(bytes(data))


def _truncated(profiles: Path, backup: Path) -> None:
    for file in profiles.rglob("*.log"):
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])


def _no_current_file(profiles: Path, backup: Path) -> None:
    for file in profiles.rglob("CURRENT"):
        file.write_bytes(b"nothing\n")


def _outdated(profiles: Path, backup: Path) -> None:
    shutil.rmtree(profiles)
    shutil.copytree(backup, profiles)


DAMAGES: list[Callable[[Path, Path], None]] = [
    _all_deleted,
    _one_deleted,
    _flipped,
    _truncated,
    _no_current_file,
    _outdated,
]


def damaged_store(case: Case) -> None:
    """Damage a stopped worker's store: after the restart the worker catches up or rebuilds the store."""
    damages = case.rng.sample(DAMAGES, 2)
    case.notes.append(" ".join(damage.__name__.strip("_") for damage in damages))
    backup = case.cluster.folder / "kept"
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    for number, damage in enumerate(damages):
        case.load.wait_sent(100 * number + 60)
        case.wait_caught_up()
        case.wait_ready(0)
        case.terminate(0)
        if not backup.exists():
            shutil.copytree(case.profiles(0), backup)
            case.start(0)
            case.load.wait_sent(120)
            case.wait_ready(0)
            case.wait_caught_up()
            case.kill(0)
        fault = time.monotonic()
        damage(case.profiles(0), backup)
        case.start(0)
        case.record_recovery(fault)


def full_disk(case: Case) -> None:
    """Fill the disk under load: the worker commits nothing that is not stored. Then free space again."""
    folder = case.data_dir(0)
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        raise FaultUnavailable(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    case.cleanups.append(lambda: subprocess.run(["umount", "-l", folder], check=False) and None)
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(60)
    fault = time.monotonic()
    _fill(folder / "filler")
    wait_until(lambda: case.workers[0].poll() is not None, "the worker ended", case.diagnosis)
    case.wait_ended(0, None)
    (folder / "filler").unlink()
    case.start(0)
    case.record_recovery(fault)


def _fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 4096)


def newer_state(case: Case) -> None:
    """Write a state of a later format to the changelog: workers refuse to start until it is replaced."""
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(100)
    case.wait_caught_up()
    case.terminate(0)
    topic = case.settings.worker.changelog
    partitions = partitions_of([topic], case.plan.partitions)
    found = case.inspector.read(partitions, "read_committed").items()
    states = [
        (partition[1], record)
        for partition, records in found
        for record in records
        if not record.key.startswith(b"\0")
    ]
    partition, last = states[-1]
    case.inspector.produce(topic, partition, last.key, b"\x7f" + last.value[1:])
    shutil.rmtree(case.profiles(0))
    case.start(0)
    case.wait_ended(0, 1)
    assert "has format 127, this version of segops reads" in case.log_text(0), case.log_text(0)[-800:]
    case.inspector.produce(topic, partition, last.key, last.value)
    fault = time.monotonic()
    case.start(0)
    case.record_recovery(fault)
