"""Definitions published while workers run: what each partition adopted where, and what must follow.

A partition's changelog names the definitions in force, their instant, and the last record before them. So the
reference can change over at the same record. It does not collect history: it has evaluated by each set of
definitions from the first record on, and publishes by the one in force. The difference between two sets is
one change, at the adoption.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from segops.core.events import Change
from segops.core.profile import Profile
from segops.core.segments import Definition, SegmentSet
from segops.schemas.backfills import BACKFILL_KEY, decode_record
from segops.schemas.in_force import IN_FORCE_KEY, decode_in_force
from segops.schemas.origin import ORIGIN_KEY, decode_origin
from segops.schemas.state import decode_profile

from ..core.backfilling import readings
from ..core.oracle import ChangeSummary
from .evidence import Evidence
from .facts import Check, Facts, Finding, accounts_of
from .reference import ExpectedProfile, PartitionAccount, seen_of


@dataclass
class Adoption:
    """Definitions that a partition evaluates by from an offset of its log, and an instant of its clock, on.

    ``fresh``: keys of the segments for which history was collected, and which did not exist before.
    """

    definitions: list[Definition]
    since_ms: int
    offset: int = 0
    fresh: frozenset[str] = frozenset()


def adoptions_in(changelog: Iterable[Any]) -> list[Adoption]:
    """Return the adoptions that the changelog of a partition records; the first are the original ones."""
    found: list[Adoption] = []
    is_new = False
    for record in changelog:
        if record.key == IN_FORCE_KEY:
            in_force = decode_in_force(record.value)
            adoption = Adoption(in_force.definitions, in_force.since_ms)
            is_new = not found or _rules(found[-1].definitions) != _rules(adoption.definitions)
            found += [adoption] * is_new
        elif is_new and record.key == BACKFILL_KEY:
            following = decode_record(record.value).next
            if following is not None and following.switched:
                found[-1].fresh = frozenset(following.fresh)
        elif is_new and record.key == ORIGIN_KEY:
            mark = decode_origin(record.value).mark
            found[-1].offset, is_new = 0 if mark is None else mark.offset + 1, False
    return found


def is_in_force(changelog: list[Any], definitions: Iterable[Definition]) -> bool:
    """Return whether a partition evaluates by these definitions and has no backfill under way."""
    adopted = adoptions_in(changelog)
    records = [decode_record(record.value) for record in changelog if record.key == BACKFILL_KEY]
    is_idle = not records or records[-1].next is None
    return bool(adopted) and is_idle and _rules(adopted[-1].definitions) == _rules(definitions)


def _rules(definitions: Iterable[Definition]) -> dict[str, Any]:
    return {each.key: each.when for each in definitions}


def final_definitions(evidence: Evidence) -> list[Definition]:
    """Return the last definitions that partition 0 adopted."""
    return _adoptions(evidence, 0)[-1].definitions


def _adoptions(evidence: Evidence, partition: int) -> list[Adoption]:
    return adoptions_in(evidence.log(evidence.settings.worker.changelog, partition))


class _Placed(NamedTuple):
    """A change at an offset; ``after``: the offset of the last one before it that time did not cause."""

    change: ChangeSummary
    offset: int
    after: int


class _Partition:
    """The adoptions of a partition, and the reference's account by each set of definitions."""

    def __init__(self, adoptions: list[Adoption], accounts: list[PartitionAccount]) -> None:
        self.adoptions = adoptions
        self.accounts = accounts

    def exact_keys(self) -> set[str]:
        """Return the keys of all segments but those whose policies begin when they are evaluated."""
        policies = {d.key: d.policy for each in self.adoptions for d in each.definitions}
        return {key for key, policy in policies.items() if policy is None}

    def expected(self, profile_id: str, key: str) -> list[list[ChangeSummary]]:
        """Return what the changes of a profile's membership of a segment may be.

        What is due at an adoption is published before it, or is part of the difference.
        """
        options: list[list[ChangeSummary]] = [[]]
        for number in range(len(self.adoptions)):
            options = [each + self._difference(number, profile_id, key, each) for each in options]
            of_set = self._of(number, profile_id, key)
            begun = [each for each in of_set if not self._precedes(number, profile_id, each)]
            mine = [each for each in begun if self._precedes(number + 1, profile_id, each)]
            surely = [each for each in mine if not self._is_due(number + 1, profile_id, each)]
            variants = {tuple(placed.change for placed in each) for each in (mine, surely)}
            options = [[*each, *variant] for each in options for variant in variants]
        return options

    def _of(self, number: int, profile_id: str, key: str) -> list[_Placed]:
        found: ExpectedProfile = self.accounts[number].profiles[profile_id]
        placed, after = [], -1
        for change, offset in zip(found.expected_changes, found.expected_at, strict=True):
            placed.append(_Placed(change, offset, after))
            after = after if change.reason == "time" else offset
        return [each for each in placed if each.change.segment == key]

    def _precedes(self, number: int, profile_id: str, placed: _Placed) -> bool:
        """Return whether a change precedes an adoption, or is due at it."""
        if number >= len(self.adoptions):
            return True
        earlier = placed.offset < self.adoptions[number].offset
        return bool(number) and (earlier or self._is_due(number, profile_id, placed))

    def _is_due(self, number: int, profile_id: str, placed: _Placed) -> bool:
        """Return whether a change is due at an adoption: not if a late merge causes it afterwards."""
        at_ms = self._at_ms(number, profile_id)
        if at_ms is None or placed.change.reason != "time":
            return False
        begin = self.adoptions[number].offset
        return placed.after < begin <= placed.offset and placed.change.occurred_at <= at_ms

    def _at_ms(self, number: int, profile_id: str) -> int | None:
        """Return the instant by which an adoption evaluates a profile; None: it does not."""
        if number >= len(self.adoptions):
            return None
        return self.accounts[number].noted[self.adoptions[number].offset].get(profile_id)

    def _difference(
        self, number: int, profile_id: str, key: str, so_far: list[ChangeSummary]
    ) -> list[ChangeSummary]:
        adoption = self.adoptions[number]
        at_ms = self._at_ms(number, profile_id)
        if not number or at_ms is None:
            return []
        of_set = self._of(number, profile_id, key)
        earlier = [each.change for each in of_set if self._precedes(number, profile_id, each)]
        is_member = _is_member(earlier)
        if is_member is _is_member(so_far):
            return []
        reason = "backfill" if key in adoption.fresh else "definition"
        return [ChangeSummary(key, "entered" if is_member else "exited", reason, at_ms, None, None)]


def _is_member(changes: list[ChangeSummary]) -> bool:
    return bool(changes) and changes[-1].action == "entered"


def changes_follow_the_adoptions(facts: Facts) -> Iterator[Finding]:
    """Check I1 and I3: each segment changes as the definitions in force say, and once with their adoption."""
    known = set[str]()
    for partition in _partitions(facts.evidence):
        known |= partition.accounts[-1].profiles.keys()
        for profile_id in partition.accounts[-1].profiles:
            yield from _compared(partition, profile_id, facts.changes.get(profile_id, []))
    for profile_id in facts.changes.keys() - known:
        yield Finding("I5", "wrong", f"{profile_id} has changes but no events")


def _partitions(evidence: Evidence) -> list[_Partition]:
    """Return the partitions; each adopts the same sets of definitions, one after the other."""
    adoptions = [_adoptions(evidence, number) for number in evidence.partitions]
    note_at = [{each.offset: each.since_ms for each in of} for of in adoptions]
    by_set = [accounts_of(evidence, each.definitions, note_at) for each in adoptions[0]]
    return [_Partition(of, [accounts[number] for accounts in by_set]) for number, of in enumerate(adoptions)]


def _compared(partition: _Partition, profile_id: str, changes: list[Change]) -> Iterator[Finding]:
    found: Mapping[str, list[ChangeSummary]] = defaultdict(list)
    for change in sorted(changes, key=lambda each: each.sequence):
        found[change.segment_key].append(seen_of(change))
    for key in partition.exact_keys():
        options = partition.expected(profile_id, key)
        if found.get(key, []) not in options:
            kind = "lost" if len(found.get(key, [])) < min(map(len, options)) else "wrong"
            text = f"{profile_id}: {_words(found.get(key, []))}, expected {' or '.join(map(_words, options))}"
            yield Finding("I3", kind, f"{key} of {text}")


def _words(changes: list[ChangeSummary]) -> str:
    return ", ".join(f"{each.action} {each.reason} {each.occurred_at}" for each in changes[-6:]) or "nothing"


def states_are_as_if_from_the_start(facts: Facts) -> Iterator[Finding]:
    """Check I1: stored profiles read as if the last definitions had been in force from the first event."""
    segments = SegmentSet(facts.evidence.definitions)
    keys = {each.key for each in segments.definitions if each.policy is None}
    for number in facts.evidence.partitions:
        store, account = facts.newest_store(number), facts.account(number)
        states = store.states if store is not None else {}
        for profile_id in states.keys() - account.profiles.keys():
            yield Finding("I5", "wrong", f"stored profile without events: {profile_id}")
        for profile_id, expected in account.profiles.items():
            state = states.get(profile_id)
            if state is None and expected.moved_at >= 0:
                yield Finding("I1", "lost", f"profile {profile_id} is not stored")
            elif state is not None:
                yield from _read_alike(segments, keys, account, (decode_profile(state), expected.profile))


def _read_alike(
    segments: SegmentSet, keys: set[str], account: PartitionAccount, profiles: tuple[Profile, Profile]
) -> Iterator[Finding]:
    found, expected = profiles
    if (found.merged_into, found.applied >= account.profiles[found.id].moved_at) != (
        expected.merged_into,
        True,
    ):
        yield Finding("I1", "wrong", f"{found.id}: redirect to {found.merged_into}, applied {found.applied}")
    if found.members.keys() & keys != expected.members.keys() & keys:
        differ = sorted((found.members.keys() ^ expected.members.keys()) & keys)
        yield Finding("I1", "wrong", f"{found.id}: incorrect memberships {differ}")
    now_ms = max(account.now_ms, expected.latest_ms)
    for feature in () if expected.merged_into is not None else segments.features.values():
        if readings(feature, found, now_ms) != readings(feature, expected, now_ms):
            yield Finding("I1", "wrong", f"{found.id}: {feature} reads otherwise")


def published_definitions_are_in_force(facts: Facts) -> Iterator[Finding]:
    """Check I1: all partitions end with the same definitions."""
    for number in facts.evidence.partitions:
        if _rules(_adoptions(facts.evidence, number)[-1].definitions) != _rules(facts.evidence.definitions):
            yield Finding("I1", "lost", f"partition {number} evaluates by other definitions")


CHECKS: Mapping[str, Check] = {
    "changes": changes_follow_the_adoptions,
    "states": states_are_as_if_from_the_start,
    "in force": published_definitions_are_in_force,
}
