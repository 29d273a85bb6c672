"""Features of the next definitions in hand-overs between partitions of which one is not as far as the other.

A hand-over from a partition that has all rows, but does not evaluate by the next definitions yet, carries
their features folded, under ids of their own, since the features in force may have the same ids. A receiver
that does not evaluate by them, either, ignores these: it takes the rows, which precede the hand-over. One
that does evaluate by them puts these into place, and ignores the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from segops.core.backfill import Row, fold, install
from segops.core.features import Feature
from segops.core.links import shares_of
from segops.core.profile import Profile

_T = TypeVar("_T")
#: Identifier -> the encoded rows that came from it.
OwnRows = dict[str, list[bytes]]


def enclose(
    state: Profile,
    rows: Iterable[Row],
    features: Mapping[int, Feature],
    *,
    max_bytes: int,
    holder: Profile | None = None,
) -> None:
    """Add the folded ``features`` to a state that is handed over, and their notes.

    ``holder``: the profile that has yet to merge it, and is handed over with it.
    """
    copy = msgspec.structs.replace(state, features=dict(state.features), counted=dict(state.counted))
    found = fold(state, rows, features, now_ms=state.latest_ms, max_bytes=max_bytes, holder=holder)
    install(copy, found, features)
    state.counted = copy.counted
    state.features = state.features | _enclosed(copy.features, features)
    state.complete_since = state.complete_since | _enclosed(copy.complete_since, features)


def unfold(state: Profile, features: Collection[int]) -> None:
    """Put enclosed features of ``features`` into place, in a state that was handed over with its sources."""
    for each, _ in shares_of(state):
        each.features = _in_place(each.features) | _unfolded(each.features, features)
        each.complete_since = _in_place(each.complete_since) | _unfolded(each.complete_since, features)


def encloses(state: Profile) -> bool:
    """Return whether a state that was handed over has enclosed features, or one of its sources."""
    return any(key < 0 for each, _ in shares_of(state) for key in each.features)


def with_rows(profile: Profile, rows: Mapping[str, list[bytes]]) -> Iterator[tuple[Profile, OwnRows]]:
    """Yield the profile and each source that it has yet to merge, with those of the rows that are its own."""
    for each, owned in shares_of(profile):
        yield each, {identifier: rows[identifier] for identifier in owned if identifier in rows}


def _enclosed(values: Mapping[int, _T], features: Collection[int]) -> dict[int, _T]:
    return {~key: values[key] for key in features if key in values}


def _unfolded(values: Mapping[int, _T], features: Collection[int]) -> dict[int, _T]:
    return {~key: value for key, value in values.items() if key < 0 and ~key in features}


def _in_place(values: Mapping[int, _T]) -> dict[int, _T]:
    return {key: value for key, value in values.items() if key >= 0}
