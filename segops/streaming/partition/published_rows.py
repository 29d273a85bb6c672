"""Rows ``profile|name`` of the compacted topics that the state of a partition no longer stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segops.core.indicators import INDICATOR_PREFIX
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.streaming.partition.cached_profile import CachedProfile
from segops.streaming.partition.profile_cache import ProfileCache


def retired_rows(keys: Iterable[bytes], in_force: SegmentSet) -> list[bytes]:
    """Return the rows of memberships whose segment is not in force."""
    return [key for key in keys if _split(key)[1] not in in_force.by_key]


def stale_values(
    keys: Sequence[bytes], profiles: ProfileCache, in_force: SegmentSet, *, retired: bool
) -> list[bytes]:
    """Return the rows of indicators that are not in force and, unless ``retired``, those that are untrue.

    Of an untrue one the profile has published no value. What a quarantined profile has published is unknown:
    its rows are published again on its release.
    """
    rows = {key: _split(key) for key in keys}
    known: dict[str, CachedProfile] = {}
    if not retired:
        known = {each.profile.id: each for each in profiles.known({owner for owner, _ in rows.values()})}

    def is_stale(owner: str, indicator: str) -> bool:
        if retired or indicator not in in_force.index_of:
            return indicator not in in_force.index_of
        cached = known.get(owner)
        return cached is None or (cached.quarantined is None and not _has_value(cached.profile, indicator))

    return [key for key, (owner, name) in rows.items() if is_stale(owner, f"{INDICATOR_PREFIX}{name}")]


def _has_value(profile: Profile, indicator: str) -> bool:
    last = profile.published.get(indicator)
    return last is not None and last.value is not None


def _split(key: bytes) -> tuple[str, str]:
    profile_id, _, name = key.decode(errors="replace").rpartition("|")
    return profile_id, name
