"""The trainer's state on disk: all that it needs to go on at the positions that it had read up to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from segops.core.training.decisions import DecisionState
from segops.core.training.drift import Day
from segops.schemas.state import decode_profile, encode_profile
from segops.training.observer import Observer

FORMAT: Final = 1


class ModelState(msgspec.Struct, array_like=True):
    """The state of one model: its decisions, and the day whose predictions are being collected."""

    decisions: DecisionState
    day: Day | None = None


class Snapshot(msgspec.Struct, array_like=True):
    """A snapshot. ``of``: the topic, features and models that it was made with; others need another."""

    of: str
    offsets: dict[int, int]
    clock_ms: int
    first_ms: int | None
    level: int
    counts: dict[str, int]
    profiles: list[bytes]
    models: dict[str, ModelState]
    #: When models were made last, by the wall clock; 0: never.
    made_ms: int = 0
    format: int = FORMAT


def snapshot_of(observer: Observer, of: str, offsets: dict[int, int], made_ms: int = 0) -> Snapshot:
    """Return the state of an observer that has applied all records before the offsets."""
    return Snapshot(
        of,
        dict(offsets),
        observer.clock_ms,
        observer.first_ms,
        observer.level,
        dict(observer.counts),
        [encode_profile(each) for each in observer.replay.profiles.values()],
        {
            each.task.name: ModelState(each.state, observer.drift[each.task.name].day)
            for each in observer.decisions
        },
        made_ms,
    )


def restore(observer: Observer, found: Snapshot) -> None:
    """Give an observer that has seen nothing the state of a snapshot."""
    observer.restore(map(decode_profile, found.profiles), found.clock_ms)
    observer.first_ms, observer.level = found.first_ms, found.level
    observer.counts.update(found.counts)
    for each in observer.decisions:
        state = found.models[each.task.name]
        each.restore(state.decisions)
        observer.drift[each.task.name].day = state.day


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot; the former one stays whole until the new one is durable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _encode(snapshot))


def read_snapshot(path: Path, of: str) -> Snapshot | None:
    """Return the snapshot, or None if there is none, if it is damaged, or if it is of something else."""
    try:
        found = _decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return found if (found.of, found.format) == (of, FORMAT) else None


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once: it is never read half written."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode
