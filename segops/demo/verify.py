"""The check at the end: what came out of Kafka is what the replay of the same input gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, zip_longest

import msgspec

from segops.core.events import Change
from segops.demo.change_collector import differing, same
from segops.schemas.changes import encode_change


class Verdict(msgspec.Struct, frozen=True):
    """How much was ``compared``, and the differences found, in words."""

    compared: int
    profiles: int
    differences: list[str]


def compare(expected: Iterable[Change], received: Iterable[Change]) -> Verdict:
    """Hold changes against each other: per profile, in the order of their sequence, every field.

    ``expected`` has each profile's changes in order. Only when something was worked off may differ.
    """
    wanted = by_profile(expected)
    found = by_profile(received)
    for changes in found.values():
        changes.sort(key=lambda change: change.sequence)
    profiles = sorted(wanted.keys() | found.keys())
    differences = chain.from_iterable(
        _differences(profile, wanted.get(profile, []), found.get(profile, [])) for profile in profiles
    )
    compared = sum(map(len, wanted.values()))
    return Verdict(compared, len(profiles), list(differences))


def by_profile(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Changes of each profile, in the order in which they come."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.profile_id, []).append(change)
    return found


def _differences(profile: str, wanted: list[Change], found: list[Change]) -> Iterator[str]:
    for expected, received in zip_longest(wanted, found):
        if expected is None:
            yield f"{profile}: one too many: {written(received)}"
        elif received is None:
            yield f"{profile}: missing: {written(expected)}"
        elif not same(expected, received):
            yield (
                f"{profile}: differs in {', '.join(differing(expected, received))}:\n"
                f"    replay {written(expected)}\n    stream {written(received)}"
            )


def compare_state(changes: Iterable[Change], rows: Mapping[bytes, Change]) -> Verdict:
    """Hold the compacted state against the last change of each profile and segment."""
    last: dict[bytes, Change] = {}
    for change in changes:
        key = f"{change.profile_id}|{change.segment_key}".encode()
        if key not in last or change.sequence > last[key].sequence:
            last[key] = change
    differences = [
        f"{key.decode()}: state {_or_none(rows.get(key))}, last change {_or_none(last.get(key))}"
        for key in sorted(last.keys() | rows.keys())
        if key not in last or key not in rows or not same(last[key], rows[key])
    ]
    return Verdict(len(last), len({change.profile_id for change in last.values()}), differences)


def conflict(former: Change, later: Change) -> str:
    """Two records of one ``change_id`` that do not say the same, in words."""
    fields = ", ".join(differing(former, later))
    return f"one change_id, but another {fields}:\n    {written(former)}\n    {written(later)}"


def written(change: Change) -> str:
    """A change as it stands on the topic."""
    return encode_change(change, change.evaluated_at).decode()


def _or_none(change: Change | None) -> str:
    return "none" if change is None else written(change)
