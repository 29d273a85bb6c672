"""The data folder of a broker: locked by one broker at a time, and bound to one kind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from segops.brokers.base import BrokerRequest, BrokerUnavailable, LocalBroker

#: The kinds that store data in the folder, each in a subfolder of its name.
_STORING = ("jvm", "embedded")
_KIND = "kind"


def kind_of(folder: Path) -> str | None:
    """Return the kind of broker whose data a folder holds, or None."""
    try:
        return (folder / _KIND).read_text().strip()
    except OSError:  # a new folder, or one of a version that did not record the kind
        return next((kind for kind in _STORING if (folder / kind).is_dir()), None)


def start_in(request: BrokerRequest, kind: str, start: Callable[[int], LocalBroker]) -> LocalBroker:
    """Lock the request's folder, start a broker in it, and record its kind there.

    ``start`` takes the descriptor of the lock, which the broker's processes inherit: the folder stays locked
    while one of them lives, even if this process is killed. Raises BrokerUnavailable, before writing
    anything, when another broker has the folder.
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
    """Create a folder if missing and lock it, until the descriptor and all inherited copies are closed.

    Raises BrokerUnavailable when another process has the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise BrokerUnavailable(f"cannot use the data folder {folder}: {error}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BrokerUnavailable(
            f"the data folder {folder} is in use by another broker or demo; use another (--data-dir)"
        ) from None
    return descriptor
