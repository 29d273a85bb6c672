"""The latest membership changes of each segment."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

#: Changes kept of a segment, and segments of which changes are kept: those that changed last.
MOST: Final = 40
_SEGMENTS: Final = 2_000


class _Record(msgspec.Struct):
    """What is read of a published change."""

    profile_id: str
    segment_key: str
    member: bool
    reason: str
    occurred_at: int


_decode = msgspec.json.Decoder(_Record).decode


class RecentChange(NamedTuple):
    """A change. ``number``: counts the changes of all segments, in the order in which they were read."""

    number: int
    profile_id: str
    member: bool
    reason: str
    at_ms: int


class RecentChanges:
    """Keeps the latest changes of the segments that changed last. Takes at most 20 MB."""

    def __init__(self) -> None:
        self._segments: OrderedDict[str, deque[RecentChange]] = OrderedDict()
        self._offsets: dict[int, int] = {}
        #: Records that could not be read.
        self.unreadable = 0
        self.number = 0

    def take(self, partition: int, record: Any) -> str | None:
        """Take a record of the topic, once; return the segment that changed."""
        if record.value is None or record.offset <= self._offsets.get(partition, -1):
            return None
        self._offsets[partition] = record.offset
        try:
            found = _decode(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.unreadable += 1
            return None
        self.number += 1
        changes = self._segments.get(found.segment_key)
        if changes is None:
            changes = self._segments[found.segment_key] = deque(maxlen=MOST)
            if len(self._segments) > _SEGMENTS:
                self._segments.popitem(last=False)
        self._segments.move_to_end(found.segment_key)
        changes.append(
            RecentChange(self.number, found.profile_id, found.member, found.reason, found.occurred_at)
        )
        return found.segment_key

    def of(self, segment_key: str) -> Sequence[RecentChange]:
        """Return the latest changes of a segment, the newest first."""
        return [*reversed(self._segments.get(segment_key, ()))]
