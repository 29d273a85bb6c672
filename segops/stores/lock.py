"""Locks on folders that one process uses at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from segops.core.errors import StoreInUseError


def lock_folder(path: Path) -> int:
    """Lock an existing folder until the returned file descriptor is closed or the process ends.

    Raises StoreInUseError when it is already locked, by this process or another.
    """
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise StoreInUseError(f"{path} is in use by another process") from None
    return folder
