"""How this process keeps freed memory."""

from __future__ import annotations

import ctypes
import os
from typing import Final

# Parameters of mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
#: Larger blocks are mapped each alone. It is the most that glibc allows.
_ALONE_BYTES: Final = 32 << 20
#: The most free memory at the end of the heap.
_FREE_BYTES: Final = 64 << 20
_SET_BY_OPERATOR: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let glibc reuse freed blocks of up to 32 MiB instead of returning each to the system.

    A fetched batch or a write to the store is such a block, and the system clears each page that it hands
    out: an eighth of a busy worker's time. Return False where the C library is another one, or where
    the operator has set these limits.
    """
    if any(name in os.environ for name in _SET_BY_OPERATOR):  # noqa: TID251 - glibc reads them, not segops
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _ALONE_BYTES) and mallopt(_M_TRIM_THRESHOLD, _FREE_BYTES))
