"""How near a profile is to the other verdict of a rule, and the profiles that are nearest to it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from segops.core.rules import model
from segops.core.views.explain import SegmentExplanation


class Flips(NamedTuple):
    """How many leaves must change their verdict for a node to hold, and for it to fail."""

    to_hold: int
    to_fail: int


def flips(node: model.Node, holds: Callable[[model.Node], bool]) -> Flips:
    """Return how many leaves of a rule must change; ``holds`` is the verdict of a leaf.

    A leaf that stands in the rule twice counts twice.

    >>> from segops.core.rules.model import All, Any, KnownFor
    >>> day, week, year = (KnownFor(days * 86_400_000) for days in (1, 7, 365))
    >>> flips(All((day, Any((week, year)))), lambda leaf: leaf is day)
    Flips(to_hold=1, to_fail=0)
    """
    combine = _COMBINE.get(type(node))
    if combine is None:
        return Flips(0, 1) if holds(node) else Flips(1, 0)
    return combine(node, [flips(child, holds) for child in model.children(node)])


def _least(numbers: Iterable[int], count: int) -> int:
    return sum(sorted(numbers)[:count])


def _at_least(node: model.AtLeast, below: Sequence[Flips]) -> Flips:
    to_hold = _least((one.to_hold for one in below), node.k)
    return Flips(to_hold, _least((one.to_fail for one in below), len(below) - node.k + 1))


#: Group -> what it makes of its children.
_COMBINE: Final[dict[type, Callable[..., Flips]]] = {
    model.All: lambda _, below: Flips(sum(one.to_hold for one in below), min(one.to_fail for one in below)),
    model.Any: lambda _, below: Flips(min(one.to_hold for one in below), sum(one.to_fail for one in below)),
    model.Not: lambda _, below: Flips(below[0].to_fail, below[0].to_hold),
    model.AtLeast: _at_least,
}


class NearProfile(msgspec.Struct):
    """A profile with ``flips`` leaves between it and the other verdict. ``order``: the hash of its id."""

    flips: int
    order: int
    profile_id: str
    explanation: SegmentExplanation


class Nearest:
    """The profiles with the fewest flips, of these the ones with the smallest hashes; at most ``wanted``."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.found: list[NearProfile] = []

    def takes(self, flips: int, order: int) -> bool:
        """Return whether a profile with these figures is among the nearest so far."""
        if len(self.found) < self._wanted:
            return True
        return bool(self.found) and (flips, order) < (self.found[-1].flips, self.found[-1].order)

    def add(self, profile: NearProfile) -> None:
        """Add a profile, dropping the one that is no longer among the nearest."""
        insort(self.found, profile, key=_key)
        del self.found[self._wanted :]


def nearest(profiles: Iterable[NearProfile], wanted: int) -> list[NearProfile]:
    """Return the nearest of some profiles."""
    return sorted(profiles, key=_key)[:wanted]


def _key(profile: NearProfile) -> tuple[int, int]:
    return profile.flips, profile.order
