"""Folders that one process uses at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from segops.core.errors import StoreInUseError


def lock_folder(path: Path) -> int:
    """Lock an existing folder until the descriptor that this returns is closed, or the process ends.

    StoreInUseError when it is locked already, by this process or another.
    """
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise StoreInUseError(f"{path} is in use by another process") from None
    return folder
