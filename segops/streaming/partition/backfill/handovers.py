"""Features of the next definitions in hand-overs between partitions of which one is not as far as the other.

A hand-over from a partition that has all rows, but does not evaluate by the next definitions yet, carries
their features folded, under ids of their own, since the features in force may have the same ids. A receiver
that does not evaluate by them, either, ignores these: it takes the rows, which precede the hand-over. One
that does evaluate by them puts these into place, and ignores the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

import msgspec

from segops.core.backfill import Row, fold, install, leave_beginnings
from segops.core.features import Feature
from segops.core.profile import Profile

_T = TypeVar("_T")


def enclose(
    state: Profile, rows: Iterable[Row], features: Mapping[int, Feature], *, now_ms: int, max_bytes: int
) -> None:
    """Add the folded ``features`` to a state that is handed over, and their notes."""
    copy = msgspec.structs.replace(state, features=dict(state.features), counted=dict(state.counted))
    install(copy, fold(state, rows, features, now_ms=now_ms, max_bytes=max_bytes), features)
    state.counted = copy.counted
    state.features = state.features | _enclosed(copy.features, features)
    state.complete_since = state.complete_since | _enclosed(copy.complete_since, features)


def unfold(state: Profile, features: Mapping[int, Feature]) -> None:
    """Put enclosed features of ``features`` into place, in a state that was handed over.

    They include the rows of the profiles that the source had not merged yet.
    """
    found = _unfolded(state.features, features)
    state.features = _in_place(state.features) | found
    state.complete_since = _in_place(state.complete_since) | _unfolded(state.complete_since, features)
    drop_from_sources(state, {key: features[key] for key in found})


def _enclosed(values: Mapping[int, _T], features: Collection[int]) -> dict[int, _T]:
    return {~key: values[key] for key in features if key in values}


def _unfolded(values: Mapping[int, _T], features: Collection[int]) -> dict[int, _T]:
    return {~key: value for key, value in values.items() if key < 0 and ~key in features}


def _in_place(values: Mapping[int, _T]) -> dict[int, _T]:
    return {key: value for key, value in values.items() if key >= 0}


def drop_from_sources(profile: Profile, features: Mapping[int, Feature]) -> None:
    """Drop features from the states that the profile has not merged yet: its own include their rows."""
    for source in () if profile.links is None else profile.links.sources:
        leave_beginnings(source.profile, features)
