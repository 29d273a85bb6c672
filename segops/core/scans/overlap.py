"""Overlap: how many profiles are in each combination of a few segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from segops.core.profile import Profile

#: The most segments of one overlap: their combinations are counted one by one.
MAX_OVERLAP: Final = 10


class Overlap(msgspec.Struct):
    """The profiles in each combination of ``segments``.

    ``counts``: a combination (bit i for ``segments[i]``) -> the number of profiles that are in exactly these
    of the segments. Combinations without a profile, and the empty one, are left out.

    >>> overlap = Overlap(["a", "b"], {0b01: 3, 0b10: 4, 0b11: 2})
    >>> overlap.size("a"), overlap.size("b"), overlap.in_all(["a", "b"]), overlap.in_any()
    (5, 6, 2, 9)
    """

    segments: list[str]
    counts: dict[int, int]

    def size(self, key: str) -> int:
        """Return the number of members of a segment."""
        return self.in_all([key])

    def in_all(self, keys: Collection[str]) -> int:
        """Return the number of profiles that are in all of these segments, and possibly in others."""
        wanted = sum(1 << self.segments.index(key) for key in set(keys))
        return sum(number for found, number in self.counts.items() if found & wanted == wanted)

    def in_any(self) -> int:
        """Return the number of profiles that are in at least one of the segments."""
        return sum(self.counts.values())

    def merged(self, other: Overlap) -> Overlap:
        """Return the overlap over the profiles of both."""
        counts = Counter(self.counts) + Counter(other.counts)
        return Overlap(self.segments, dict(sorted(counts.items())))


class OverlapCounter:
    """Counts the combinations of ``segments`` that profiles are in."""

    share: Final = 1.0

    def __init__(self, segments: Sequence[str]) -> None:
        self._segments = list(segments)
        self._bits = [(key, 1 << number) for number, key in enumerate(segments)]
        self._counts: Counter[int] = Counter()

    def visit(self, profile: Profile, now_ms: int) -> None:
        """Count the combination of one profile."""
        members = profile.members
        found = sum(bit for key, bit in self._bits if key in members)
        if found:
            self._counts[found] += 1

    def result(self) -> Overlap:
        """Return the overlap over the profiles visited so far."""
        return Overlap(self._segments, dict(sorted(self._counts.items())))
