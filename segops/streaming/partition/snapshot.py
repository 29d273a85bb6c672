"""A lane as of one moment: what a checkpoint makes durable, and under which names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from segops.schemas.in_force import BASE_KEY, IN_FORCE_KEY
from segops.schemas.origin import ORIGIN_KEY, Mark
from segops.stores.base import Write
from segops.streaming.partition.profile_cache import Snapshot

EVALUATED_META: Final = "judged_by"
IN_FORCE_META: Final = "definitions"
BASE_META: Final = "sequence_base"
SIZES_META: Final = "segment_sizes"
ORIGIN_META: Final = "origin"
LOGGED_META: Final = {BASE_KEY: BASE_META, IN_FORCE_KEY: IN_FORCE_META, ORIGIN_KEY: ORIGIN_META}
LOGGED_NAMES: Final = frozenset(LOGGED_META.values())
SOURCE_META: Final = "source_offset"
CHANGELOG_META: Final = "changelog_offset"


@dataclass(frozen=True)
class PartitionSnapshot:
    """A lane as of one moment: what a checkpoint makes durable."""

    profiles: Snapshot
    meta: dict[str, bytes]
    offset: int
    metadata: str
    mark: Mark | None
    records: int

    def encode(self) -> bool:
        """Encode a few of the profiles; whether there are more. Others may have their turn in between."""
        return self.profiles.encode()

    @property
    def writes(self) -> list[Write]:
        """The profiles that changed, with their states as of that moment."""
        return self.profiles.writes

    @property
    def logged(self) -> list[Write]:
        """What goes to the changelog, in this order: definitions come after all that was judged before.

        The origin comes last: its mark covers all that stands before it.
        """
        known = ((key, self.meta.get(name)) for key, name in LOGGED_META.items())
        return [*self.writes, *(Write(key.decode(), data) for key, data in known if data is not None)]
