"""Frozen nodes and figures in compiled rules: read on the profile as of the latest refresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from segops.core.features import Feature
from segops.core.features.frozen import as_of
from segops.core.features.states import Frozen, State
from segops.core.profile import Profile
from segops.core.refresh import Refresh
from segops.core.rules import model
from segops.core.rules.execution.leaf import Leaf
from segops.core.rules.execution.verdicts import Verdicts, stepped

T = TypeVar("T")
_Project = Callable[[Profile], Profile]


class Projection(msgspec.Struct, frozen=True):
    """Features with a refresh, and the profile that rules without one read of them."""

    refresh: Refresh
    #: Of each feature without its refresh: its id, and the frozen feature's.
    ids: tuple[tuple[int, int], ...]
    features: tuple[Feature, ...]

    def before(self, profile: Profile, refreshed_ms: int) -> Profile:
        """Return the profile as of the refresh ``refreshed_ms``, the latest one."""
        return self._of(profile, lambda state: as_of(state, refreshed_ms))

    def now(self, profile: Profile) -> Profile:
        """Return the profile as of now, which the next refresh will read."""
        return self._of(profile, lambda state: None if state is None else state.live)

    def _of(self, profile: Profile, state_of: Callable[[Frozen | None], State | None]) -> Profile:
        found: dict[int, State] = {}
        for key, frozen in self.ids:
            known: Any = profile.features.get(frozen)
            state = state_of(known)
            if state is not None:
                found[key] = state
        return Profile(profile.id, features=found)


def projection(features: Sequence[Feature], refresh: Refresh) -> Projection:
    """Return how to read these features, which have no refresh yet, as of a refresh."""
    frozen = tuple(msgspec.structs.replace(feature, refresh=refresh) for feature in features)
    ids = tuple((feature.id, other.id) for feature, other in zip(features, frozen, strict=True))
    return Projection(refresh, ids, frozen)


def sampled(
    refresh: Refresh, now_ms: int, first: T, coming: Iterator[tuple[int, T]]
) -> Iterator[tuple[int, T]]:
    """Yield the first value, then at each refresh at which it may differ that of the series ``coming``.

    >>> series = iter([(5, "b"), (3_600_000, "c"), (3_600_001, "d"), (3_600_002, "e")])
    >>> list(sampled(Refresh("hour"), 5, "a", series))
    [(5, 'a'), (3600000, 'c'), (7200000, 'e')]
    """
    yield now_ms, first
    due, last = refresh.following(now_ms), first
    for at, value in coming:
        later = due if at == now_ms else refresh.upcoming(at)
        if due is not None and later != due:
            yield due, last
        due, last = later, value
    if due is not None:
        yield due, last


def frozen(node: model.Frozen, inner: Leaf) -> Leaf:
    """Return the leaf of a frozen node; ``inner`` is that of the node without the refresh."""
    features = inner.figures if inner.feature is None else (inner.feature, *inner.figures)
    read, refresh = projection(features, node.refresh), node.refresh
    changes_of = inner.changes or stepped(inner.holds, inner.edge)

    def holds(profile: Profile, now_ms: int) -> bool:
        refreshed_ms = refresh.latest(now_ms)
        return inner.holds(read.before(profile, refreshed_ms), refreshed_ms)

    def changes(profile: Profile, now_ms: int) -> Verdicts:
        coming = changes_of(read.now(profile), now_ms)
        return sampled(refresh, now_ms, holds(profile, now_ms), coming)

    return Leaf(holds, figures=read.features, changes=changes)
