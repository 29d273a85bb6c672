"""The final check: the changes published to Kafka equal the replay of the same input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, zip_longest

import msgspec

from segops.core.events import Change
from segops.demo.change_collector import differing, same
from segops.schemas.changes import encode_change


class Verdict(msgspec.Struct, frozen=True):
    """The number of items compared, the number of profiles, and a message per difference."""

    compared: int
    profiles: int
    differences: list[str]


def compare(expected: Iterable[Change], received: Iterable[Change]) -> Verdict:
    """Compare every field of the changes, per profile, in order of sequence.

    ``expected`` has each profile's changes in order. Only ``evaluated_at`` may differ.
    """
    replayed = by_profile(expected)
    published = by_profile(received)
    for changes in published.values():
        changes.sort(key=lambda change: change.sequence)
    profiles = sorted(replayed.keys() | published.keys())
    differences = chain.from_iterable(
        _differences(profile, replayed.get(profile, []), published.get(profile, [])) for profile in profiles
    )
    compared = sum(map(len, replayed.values()))
    return Verdict(compared, len(profiles), list(differences))


def by_profile(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Group changes by profile, keeping their order."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.profile_id, []).append(change)
    return found


def _differences(profile: str, replayed: list[Change], published: list[Change]) -> Iterator[str]:
    for expected, received in zip_longest(replayed, published):
        if expected is None:
            yield f"{profile}: unexpected: {written(received)}"
        elif received is None:
            yield f"{profile}: missing: {written(expected)}"
        elif not same(expected, received):
            yield (
                f"{profile}: differs in {', '.join(differing(expected, received))}:\n"
                f"    replay {written(expected)}\n    stream {written(received)}"
            )


def compare_state(changes: Iterable[Change], rows: Mapping[bytes, Change]) -> Verdict:
    """Compare the compacted state with the latest change per profile and segment."""
    last: dict[bytes, Change] = {}
    for change in changes:
        key = f"{change.profile_id}|{change.segment_key}".encode()
        if key not in last or change.sequence > last[key].sequence:
            last[key] = change
    differences = [
        f"{key.decode()}: state {_or_none(rows.get(key))}, latest change {_or_none(last.get(key))}"
        for key in sorted(last.keys() | rows.keys())
        if key not in last or key not in rows or not same(last[key], rows[key])
    ]
    return Verdict(len(last), len({change.profile_id for change in last.values()}), differences)


def conflict(former: Change, later: Change) -> str:
    """Describe two records with the same ``change_id`` and different fields."""
    fields = ", ".join(differing(former, later))
    return f"same change_id, different {fields}:\n    {written(former)}\n    {written(later)}"


def written(change: Change) -> str:
    """Return a change as published, as JSON."""
    return encode_change(change, change.evaluated_at).decode()


def _or_none(change: Change | None) -> str:
    return "none" if change is None else written(change)
