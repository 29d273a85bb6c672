"""Named points at which a test may let the process die, as a kill -9 would."""

from __future__ import annotations

import os
import threading

EXIT_CODE = 137
STALL = "stall"


class Failpoints:
    """``name:n`` kills the process the n-th time that point ``name`` is passed; None never does.

    Points: cp1 after a batch was processed, cp2 after outputs were acknowledged, cp3 after the
    changelog was, cp4 after the store was written, cp5 after the commit, cp6 in the middle of a
    recovery, cp7 when partitions go, before their last checkpoint, cp8 when partitions come, before
    their recovery, cp9 while the state of a partition is given up, cp10 after timers fired, cp11 while
    memberships that are not true any more are ended; stall after a batch was processed: there the
    process does not die, but stands still. With transactions (where cp5 comes before cp4) cp2 to cp5 are
    passed by each partition.
    """

    def __init__(self, setting: str | None = None) -> None:
        name, _, count = (setting or "").partition(":")
        self._name = name
        self._left = int(count or "1") if name else 0

    def passed(self, name: str) -> None:
        """Tell that the process is at this point."""
        if name == self._name:
            self._left -= 1
            if self._left <= 0 and name == STALL:
                threading.Event().wait()
            elif self._left <= 0:
                os._exit(EXIT_CODE)
