"""A broker's folder: one broker at a time has it, and it keeps to the kind whose data it holds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from segops.brokers.base import BrokerRequest, BrokerUnavailable, LocalBroker

#: The kinds that keep data in a folder, each in a part of its own name.
_KEEPING = ("jvm", "embedded")
_KIND = "kind"


def kind_of(folder: Path) -> str | None:
    """The kind of broker whose data a folder holds; None when it holds none."""
    try:
        return (folder / _KIND).read_text().strip()
    except OSError:  # of a version that did not note it, or new
        return next((kind for kind in _KEEPING if (folder / kind).is_dir()), None)


def start_in(request: BrokerRequest, kind: str, start: Callable[[int], LocalBroker]) -> LocalBroker:
    """Start a broker that has the request's folder for itself, and note its kind there.

    ``start`` is given the descriptor that locks the folder, for the processes of the broker to inherit:
    the folder is locked for as long as one of them lives, also when this process was killed. Raises
    BrokerUnavailable, before anything is written, when another broker has it.
    """
    lock = lock_folder(request.data_dir)
    try:
        broker = start(lock)
        (request.data_dir / _KIND).write_text(f"{kind}\n")
    except BaseException:
        os.close(lock)
        raise
    broker.on_stop.append(lambda: os.close(lock))
    return broker


def lock_folder(folder: Path) -> int:
    """Make a folder, if there is none, and lock it until the descriptor is closed, and all that inherited it.

    Raises BrokerUnavailable when another process has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise BrokerUnavailable(f"the data folder {folder} cannot be used: {error}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BrokerUnavailable(
            f"the data folder {folder} is in use by another broker or demo: use another (--data-dir)"
        ) from None
    return descriptor
