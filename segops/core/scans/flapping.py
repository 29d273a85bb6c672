"""Flapping: sampled profiles that enter and leave the segments of an edit between repeated plans of it.

A repeat judges every profile as it is then. The memberships by which it judges the profiles of the sample are
not those in force, but those that the repeat before left behind: so a minimum stay, a cool-down or hysteresis
holds as if the edit had been published when the watch began.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

import msgspec

from segops.core.profile import Member, Past, Profile
from segops.core.scans.sampling import in_sample, sampling_hash

#: The share of the profiles that is followed.
FOLLOWED_SHARE: Final = 0.01
#: The most profiles that are followed: of more than a hundred times as many, the share is smaller.
MAX_FOLLOWED: Final = 50_000
#: The most watches that a partition remembers; a further one replaces the one asked for least lately.
MAX_WATCHES: Final = 4


def followed_share(profiles: int) -> float:
    """Return the share of so many profiles that is followed.

    >>> followed_share(1_000_000), followed_share(50_000_000)
    (0.01, 0.001)
    """
    return min(FOLLOWED_SHARE, MAX_FOLLOWED / max(1, profiles))


class SegmentFlapping(msgspec.Struct, gc=False):
    """What the sampled profiles did in one segment.

    ``members``: those that were members in at least one repeat. ``changes``: all entries and exits between
    repeats. ``flapping``: the profiles with at least two of these; ``most``: the most of one profile.
    """

    members: int = 0
    changes: int = 0
    flapping: int = 0
    most: int = 0

    def add(self, changes: int) -> None:
        """Count a profile that was a member, and has made so many changes."""
        self.members += 1
        self.changes += changes
        self.flapping += changes > 1
        self.most = max(self.most, changes)

    def merged(self, other: SegmentFlapping) -> SegmentFlapping:
        """Return the figures over the profiles of both."""
        return SegmentFlapping(
            self.members + other.members,
            self.changes + other.changes,
            self.flapping + other.flapping,
            max(self.most, other.most),
        )


class Flapping(msgspec.Struct):
    """What the sampled profiles did in each segment that an edit moves.

    ``profiles``: how many there are, of a ``share`` of all; ``repeats``: in how many repeats each partition
    has judged them, at least, of which the first was at the clock ``from_ms``, at the latest.
    """

    share: float
    profiles: int
    repeats: int
    from_ms: int
    segments: dict[str, SegmentFlapping]

    def merged(self, other: Flapping) -> Flapping:
        """Return the figures over the profiles of both, which are samples of the same share."""
        keys = sorted(self.segments.keys() | other.segments.keys())
        mine, theirs = self.segments, other.segments
        return Flapping(
            self.share,
            self.profiles + other.profiles,
            min(self.repeats, other.repeats),
            max(self.from_ms, other.from_ms),
            {key: mine.get(key, _NONE).merged(theirs.get(key, _NONE)) for key in keys},
        )


_NONE: Final = SegmentFlapping()


class _Followed(msgspec.Struct):
    """A sampled profile: its memberships after the last repeat, and what it did since the watch began.

    ``changes``: segments in which it was a member -> its entries and exits. ``seen``: the last repeat.
    """

    members: dict[str, Member] = {}
    past: dict[str, Past] = {}
    changes: dict[str, int] = {}
    seen: int = 0


class FollowedSample:
    """The sampled profiles of one partition, followed from one repeat to the next.

    A repeat gives a copy of each profile its memberships with ``recall``, has it evaluated by the definitions
    after the edit, hands it to ``note``, and calls ``ended``. In the first repeat, and in that in which a
    profile is seen first, a copy keeps those in force. A profile that is new in a later one was no member
    before. Profiles that a repeat does not see are forgotten: they were merged or erased.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._profiles: dict[int, _Followed] = {}
        self._repeats = 0
        self._from_ms = 0

    def has(self, profile_id: str) -> bool:
        """Return whether a profile belongs to the sample."""
        return in_sample(profile_id, self._share)

    def recall(self, copy: Profile, keys: Collection[str]) -> None:
        """Replace the memberships in the segments ``keys`` by those after the last repeat."""
        found = self._profiles.get(sampling_hash(copy.id))
        if found is not None:
            copy.members = {key: each for key, each in copy.members.items() if key not in keys}
            copy.members |= found.members
            copy.past = {key: each for key, each in copy.past.items() if key not in keys} | found.past

    def note(self, copy: Profile, keys: Collection[str]) -> None:
        """Take the memberships of an evaluated copy in the segments ``keys`` over."""
        members = {key: each for key, each in copy.members.items() if key in keys}
        name = sampling_hash(copy.id)
        found = self._profiles.get(name)
        if found is None:
            found = self._profiles[name] = _Followed(members if self._repeats == 0 else {})
        for key in members.keys() ^ found.members.keys():
            found.changes[key] = found.changes.get(key, 0) + 1
        for key in members:
            found.changes.setdefault(key, 0)
        found.members = members
        found.past = {key: each for key, each in copy.past.items() if key in keys}
        found.seen = self._repeats + 1

    def ended(self, keys: Collection[str], now_ms: int) -> Flapping:
        """End a repeat at a clock; return what happened since the first one."""
        self._repeats += 1
        if self._repeats == 1:
            self._from_ms = now_ms
        self._profiles = {name: each for name, each in self._profiles.items() if each.seen == self._repeats}
        segments = {key: SegmentFlapping() for key in sorted(keys)}
        for each in self._profiles.values():
            for key in each.changes.keys() & segments.keys():
                segments[key].add(each.changes[key])
        return Flapping(self._share, len(self._profiles), self._repeats, self._from_ms, segments)


class FollowedSamples:
    """The samples that a partition follows, by the id of the watch: those of the latest ``MAX_WATCHES``."""

    def __init__(self) -> None:
        self._samples: OrderedDict[str, FollowedSample] = OrderedDict()

    def of(self, watch: str, share: float) -> FollowedSample:
        """Return the sample of a watch, a new one for its first repeat."""
        found = self._samples.setdefault(watch, FollowedSample(share))
        self._samples.move_to_end(watch)
        while len(self._samples) > MAX_WATCHES:
            self._samples.popitem(last=False)
        return found

    def forget(self, watch: str) -> None:
        """Forget the sample of a watch that has ended, if there is one."""
        self._samples.pop(watch, None)
