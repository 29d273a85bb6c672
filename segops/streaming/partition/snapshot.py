"""The snapshot of a partition that a checkpoint makes durable, and the names of its values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from segops.schemas.backfills import BACKFILL_KEY
from segops.schemas.in_force import BASE_KEY, IN_FORCE_KEY
from segops.schemas.origin import ORIGIN_KEY, Mark
from segops.schemas.positions import POSITIONS_KEY
from segops.schemas.tallies import BUCKET_KEYS
from segops.stores.base import Write
from segops.streaming.partition.cached_profile import ProfileSnapshot, slices_of

EVALUATED_META: Final = "judged_by"
IN_FORCE_META: Final = "definitions"
BASE_META: Final = "sequence_base"
SIZES_META: Final = "segment_sizes"
ORIGIN_META: Final = "origin"
POSITIONS_META: Final = "positions"
#: Whether the state topic may hold rows of segments that are not in force.
ROWS_META: Final = "retired_rows"
POPULATION_META: Final = "population"
#: The moves of restored profiles that the tallies do not include yet.
MOVES_META: Final = "moves"
BACKFILL_META: Final = "backfill"
#: Which records the rows of past events cover: in the store only.
COVERAGE_META: Final = "history"
LOGGED_META: Final = {
    **BUCKET_KEYS,
    BASE_KEY: BASE_META,
    IN_FORCE_KEY: IN_FORCE_META,
    BACKFILL_KEY: BACKFILL_META,
    POSITIONS_KEY: POSITIONS_META,
    ORIGIN_KEY: ORIGIN_META,
}
LOGGED_NAMES: Final = frozenset(LOGGED_META.values())
#: Stored even when no profile has changed.
STORED_ALONE: Final = frozenset(
    (
        EVALUATED_META,
        ORIGIN_META,
        POSITIONS_META,
        ROWS_META,
        BACKFILL_META,
        COVERAGE_META,
        *BUCKET_KEYS.values(),
    )
)
SOURCE_META: Final = "source_offset"
CHANGELOG_META: Final = "changelog_offset"


@dataclass(frozen=True)
class PartitionSnapshot:
    """A partition as of one moment; it can be read until it is written.

    ``records``: the input records since the snapshot before.
    ``leading``: changelog records that precede those of the profiles.
    """

    profiles: ProfileSnapshot
    meta: dict[str, bytes]
    offset: int
    metadata: str
    mark: Mark | None
    records: int
    leading: Sequence[Write] = ()

    def encode(self) -> bool:
        """Encode one slice of the profiles; return whether more remain. Other work may run in between."""
        return self.profiles.encode()

    @property
    def writes(self) -> Iterator[Write]:
        """The store writes of the changed profiles, each made when it is taken."""
        return chain.from_iterable(self.profiles.slices())

    @property
    def logged(self) -> Iterator[Iterable[Write]]:
        """The changelog records in order, in slices. A crash may leave any first records of them.

        The base comes before the profiles: if those whose erasure raised it were durable without it, their
        sequences could be assigned again. Definitions follow the profiles that were evaluated before them.
        The origin comes last: its mark covers all records before it.
        """
        logged = {
            key: Write(key.decode(), self.meta[name])
            for key, name in LOGGED_META.items()
            if name in self.meta
        }
        base = [logged.pop(BASE_KEY)] if BASE_KEY in logged else []
        yield from slices_of((*self.leading, *base))
        yield from self.profiles.slices()
        yield from slices_of(logged.values())
