"""Named points at which a test can kill the process, as ``kill -9`` does."""

from __future__ import annotations

import os
import threading

from segops.core.errors import UserError

EXIT_CODE = 137
STALL = "stall"

#: The failpoints of a checkpoint, in order.
CHECKPOINT_POINTS = (
    "after_batch",
    "after_output_ack",
    "after_changelog_ack",
    "after_store_write",
    "after_offset_commit",
)
#: The failpoints of the archive.
ARCHIVE_POINTS = (
    "archive_after_claim",  # of a partition, before the first manifest under the claim
    "archive_during_file",  # a part of a file is written
    "archive_after_append_files",
    "archive_after_append_manifest",
    "archive_after_offset_commit",
    "archive_after_erase_files",
    "archive_after_erase_manifest",
    "archive_after_erasure_receipts",
    "archive_after_compact_files",
    "archive_after_compact_manifest",
    "archive_during_delete",  # the first of the replaced files is deleted
)
#: The failpoints of `segops sources run`, in order, each passed once per transaction.
SOURCE_POINTS = (
    "sources_after_map",
    "sources_after_send",  # events are acknowledged, in an open transaction
    "sources_after_offsets",  # so are the offsets
    "sources_after_commit",
)
#: The failpoints of `segops output`, in order, each passed once per transaction.
OUTPUT_POINTS = (
    "output_after_send",  # records are acknowledged, in an open transaction
    "output_after_offsets",  # so are the offsets
    "output_after_commit",
)
#: The failpoints of a pull from another service.
PULL_POINTS = (
    "pull_after_mark",  # it is durable that requests follow; none is sent
    "pull_in_transaction",  # the records of some pages are sent, not committed
    "pull_after_commit",
)
#: The failpoints of `segops catalogue run`.
CATALOGUE_POINTS = (
    "catalogue_in_transaction",  # the counts and the position are sent, not committed
    "catalogue_after_commit",
)
#: The failpoints of `segops train`.
TRAIN_POINTS = (
    "train_before_snapshot",
    "train_after_snapshot",  # it is durable; its positions are not committed
)
#: The failpoints of `segops activate`.
ACTIVATE_POINTS = (
    "activate_before_route",
    "activate_after_route",  # targets and routes are committed
    "activate_before_request",  # it is durable that messages may be taken; none is sent
    "activate_after_request",  # a destination has taken messages, or refused them; nothing is written
    "activate_after_told",  # what it was told is committed
)
#: The failpoints of `segops lists put`.
LIST_POINTS = (
    "lists_during_upload",  # some of the identifiers are written
    "lists_after_upload",  # all are acknowledged; the list is not in force
)
POINTS = (
    *CHECKPOINT_POINTS,
    "during_recovery",  # part of the changelog is read
    "on_revoke",  # partitions are revoked, before their last checkpoint
    "on_assign",  # partitions are assigned, before their recovery
    "during_fresh_start",  # the state of a partition is discarded
    "after_timers",
    "during_scan",  # a slice of profiles is visited; the answer may be appended
    "during_backfill_read",  # rows of some past records are in the store
    "during_backfill",  # rows are moved, or the definitions have been switched
    "during_sweep",  # stale published memberships are ended
    "during_row_deletion",  # rows of retired segments are deleted
    "alerts_evaluated",  # an alert has begun to fire or stopped, and nothing of it is sent
    "alerts_sent",  # the record of it is acknowledged, not committed
    "alerts_committed",
    *ARCHIVE_POINTS,
    "collect_after_ack",  # Kafka has acknowledged the events of a request, which is not answered
    *SOURCE_POINTS,
    *OUTPUT_POINTS,
    *PULL_POINTS,
    *CATALOGUE_POINTS,
    *TRAIN_POINTS,
    *LIST_POINTS,
    *ACTIVATE_POINTS,
)


class Failpoints:
    """The failpoint of a process: ``name:n`` kills it when it passes point ``name`` for the n-th time.

    At ``STALL``, after a batch, the process hangs instead. With transactions, which commit the offsets
    before the store is written, each partition passes the points of a checkpoint separately. Raises
    UserError for an unknown name.
    """

    def __init__(self, setting: str | None = None) -> None:
        name, _, count = (setting or "").partition(":")
        if name not in ("", STALL, *POINTS):
            raise UserError(f"unknown failpoint {name!r}; known: {', '.join((*POINTS, STALL))}")
        self._name = name
        self._left = int(count or "1") if name else 0

    def passed(self, name: str) -> None:
        """Pass a point, which kills the process if it is the configured one."""
        if name == self._name:
            self._left -= 1
            if self._left <= 0 and name == STALL:
                threading.Event().wait()
            elif self._left <= 0:
                os._exit(EXIT_CODE)
