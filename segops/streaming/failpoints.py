"""Named points at which a test may let the process die, as a kill -9 would."""

from __future__ import annotations

import os
import threading

from segops.core.errors import UserError

EXIT_CODE = 137
STALL = "stall"

#: The points of a checkpoint, in their order.
CHECKPOINT_POINTS = (
    "after_batch",
    "after_output_ack",
    "after_changelog_ack",
    "after_store_write",
    "after_offset_commit",
)
POINTS = (
    *CHECKPOINT_POINTS,
    "during_recovery",  # half of the changelog is read
    "on_revoke",  # partitions go, before their last checkpoint
    "on_assign",  # partitions come, before their recovery
    "during_fresh_start",  # the state of a partition is given up
    "after_timers",
    "during_sweep",  # published memberships that are no longer true are ended
)


class Failpoints:
    """``name:n`` kills the process the n-th time that point ``name`` is passed; None never does.

    At ``STALL``, after a batch, the process does not die but stands still. With transactions, which commit
    the offsets before the store is written, each partition passes the points of a checkpoint by itself.
    Raises UserError for an unknown name.
    """

    def __init__(self, setting: str | None = None) -> None:
        name, _, count = (setting or "").partition(":")
        if name not in ("", STALL, *POINTS):
            raise UserError(f"unknown failpoint {name!r}; known: {', '.join((*POINTS, STALL))}")
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
