"""The checks: each reads the evidence and yields findings of lost, duplicated or wrong data.

The checks are named by the numbers of the invariants in ``README.md``. None of them queries a worker.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.events import Change
from segops.core.links import timer_of
from segops.core.profile import Profile
from segops.schemas.changes import decode_change
from segops.schemas.events import decode
from segops.schemas.records import SOURCE_HEADER
from segops.schemas.state import decode_profile

from . import adoptions, forwarding, merges, sizes
from .evidence import Evidence
from .facts import NOTE, Check, Facts, Finding
from .reference import ExpectedProfile, is_message, seen_of

#: Records in flight beside those that a checkpoint covers: two batches.
_UNDER_WAY = 2 * 250


def changes_equal_reference(facts: Facts) -> Iterator[Finding]:
    """Check I1 and I3: the distinct changes of each profile equal those of both reference evaluators."""
    profiles = {i: p for n in facts.evidence.partitions for i, p in facts.account(n).profiles.items()}
    for profile_id in profiles.keys() | facts.changes.keys():
        expected = profiles.get(profile_id)
        found = sorted(facts.changes.get(profile_id, []), key=lambda change: change.sequence)
        if expected is None:
            yield Finding("I5", "wrong", f"{profile_id} has changes but no events")
            continue
        yield from _compared(profile_id, expected.expected_changes, [seen_of(change) for change in found])
        yield from _identical(profile_id, expected.changes, found)


def _compared(profile_id: str, expected: list[Any], found: list[Any]) -> Iterator[Finding]:
    missing, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    if missing:
        yield Finding(
            "I3", "lost", f"{profile_id}: {missing.total()} changes missing, first {min(missing, key=_at)}"
        )
    if extra:
        yield Finding(
            "I3", "wrong", f"{profile_id}: {extra.total()} unexpected changes, first {min(extra, key=_at)}"
        )
    if expected != found and not missing and not extra:
        yield Finding("I3", "wrong", f"{profile_id}: changes out of order")


def _at(seen: Any) -> int:
    at: int = seen.occurred_at
    return at


def _identical(profile_id: str, expected: list[Change], found: list[Change]) -> Iterator[Finding]:
    """Compare field by field, except for the time of publication."""
    for expected_change, change in zip(expected, found, strict=False):
        expected_change.evaluated_at = change.evaluated_at
        if expected_change != change:
            yield Finding("I3", "wrong", f"{profile_id}: got {change}, expected {expected_change}")
            return


def states_equal_reference(facts: Facts) -> Iterator[Finding]:
    """Check I1: the stored profiles equal those of an engine without faults."""
    for partition in facts.evidence.partitions:
        store = facts.newest_store(partition)
        profiles = facts.account(partition).profiles
        states = store.states if store is not None else {}
        for profile_id in states.keys() - profiles.keys():
            yield Finding("I5", "wrong", f"stored profile without events: {profile_id}")
        for profile_id, expected in profiles.items():
            yield from _state(profile_id, expected, states.get(profile_id))


def _state(profile_id: str, expected: ExpectedProfile, state: bytes | None) -> Iterator[Finding]:
    if state is None:
        if expected.moved_at >= 0:
            yield Finding("I1", "lost", f"profile {profile_id} is not stored")
        return
    found = decode_profile(state)
    if found.applied < expected.moved_at:
        yield Finding(
            "I7", "lost", f"{profile_id}: applied offset {found.applied}, expected {expected.moved_at}"
        )
    if set(found.members) != _members(expected):
        yield Finding(
            "I1",
            "wrong",
            f"{profile_id}: member of {sorted(found.members)}, expected {sorted(_members(expected))}",
        )
    elif _digest(found) != _digest(expected.profile):
        yield Finding("I1", "wrong", f"{profile_id}: state differs in {_difference(found, expected.profile)}")


def _members(expected: ExpectedProfile) -> set[str]:
    latest = {seen.segment: seen.action for seen in expected.expected_changes}
    return {segment for segment, action in latest.items() if action == "entered"}


def _digest(profile: Profile) -> Any:
    return msgspec.to_builtins({**msgspec.structs.asdict(profile), "applied": None}, str_keys=True)


def _difference(one: Profile, other: Profile) -> list[str]:
    first, second = _digest(one), _digest(other)
    return [name for name in first if first[name] != second[name]]


def state_topic_is_final(facts: Facts) -> Iterator[Finding]:
    """Check I1: the latest record of each row of the state topic matches the profile's membership."""
    rows: dict[str, bool] = {}
    for record in facts.evidence.all_of(facts.evidence.settings.topics.membership_state):
        # Without a value, the row of a retired segment is deleted.
        rows[record.key.decode()] = record.value is not None and decode_change(record.value).member
    expected = {
        f"{profile_id}|{segment}"
        for partition in facts.evidence.partitions
        for profile_id, expected in facts.account(partition).profiles.items()
        for segment in _members(expected)
    }
    for row in expected ^ {row for row, member in rows.items() if member}:
        yield Finding("I1", "wrong", f"state topic has a wrong row {row}")


def changes_alternate(facts: Facts) -> Iterator[Finding]:
    """Check I2: entered and exited alternate; sequences rise from 1 without gaps, in log order."""
    for profile_id, changes in facts.changes.items():
        if [change.sequence for change in changes] != list(range(1, len(changes) + 1)):
            yield Finding("I2", "wrong", f"{profile_id}: sequences {[c.sequence for c in changes][:20]}…")
        member: dict[str, bool] = {}
        for change in sorted(changes, key=lambda each: each.sequence):
            if member.get(change.segment_key, False) is change.member:
                yield Finding("I2", "wrong", f"{profile_id}: {change.segment_key} {change.action} twice")
            member[change.segment_key] = change.member


def repetitions_are_bounded(facts: Facts) -> Iterator[Finding]:
    """Check I3 and I4: changes repeat only after a crash, and no more than a checkpoint covers."""
    circumstances, topics = facts.evidence.circumstances, facts.evidence.settings.topics
    for topic in (topics.membership_changes, topics.membership_state):
        values = (record.value for record in facts.evidence.all_of(topic) if record.value is not None)
        counts = Counter(decode_change(value).change_id for value in values)
        repeated = sum(count - 1 for count in counts.values())
        if facts.evidence.exactly_once and repeated:
            yield Finding("I4", "duplicated", f"{repeated} changes in {topic} are visible twice")
        elif counts and max(counts.values()) > 1 + circumstances.crashes:
            yield Finding("I3", "duplicated", f"a change in {topic} appears {max(counts.values())} times")
        elif repeated > circumstances.crashes * _changes_between(facts):
            yield Finding(
                "I3",
                "duplicated",
                f"{repeated} repeated changes in {topic} after {circumstances.crashes} crashes",
            )


def _changes_between(facts: Facts) -> int:
    """Return the maximum number of changes between two checkpoints: records times changes per record."""
    records = 2 * facts.evidence.circumstances.checkpoint_records + _UNDER_WAY
    most = Counter(c.event_id for changes in facts.changes.values() for c in changes if c.event_id)
    return records * max(most.values(), default=1)


def changes_have_causes(facts: Facts) -> Iterator[Finding]:
    """Check I5: every change is caused by an existing event or by time; and I8: none is early."""
    wall = facts.evidence.settings.engine.clock == "wall"
    known = set[str]()
    for record in facts.evidence.all_of(facts.evidence.settings.topics.profile_events):
        if record.key is not None and not is_message(record):
            known.add(_message(record))
    for change in (change for changes in facts.changes.values() for change in changes):
        if change.event_id is not None and change.event_id not in known:
            yield Finding("I5", "wrong", f"change caused by nonexistent event {change.event_id}")
        if wall and change.reason == "time" and change.evaluated_at < change.occurred_at:
            yield Finding("I8", "wrong", f"{change.change_id} was published before it was due")


def _message(record: Any) -> str:
    try:
        return decode(record.value, time_ms=0, default_id="").message_id
    except RejectedEvent:
        return ""


def changelog_equals_stores(facts: Facts) -> Iterator[Finding]:
    """Check I6: each store equals the changelog up to its own offset, and the newest store all of it."""
    for store in facts.evidence.stores:
        if store.problem:
            yield Finding("I11", "wrong", f"store {store.partition} in {store.folder}: {store.problem}")
            continue
        if facts.changelog_until(store.partition, store.changelog_offset) != store.states:
            yield Finding(
                "I6", "wrong", f"store {store.partition} in {store.folder} differs from its changelog"
            )
    for partition, states in facts.changelog.items():
        newest = facts.newest_store(partition)
        if (newest.states if newest is not None else {}) != states:
            yield Finding("I6", "wrong", f"partition {partition}: changelog differs from the newest store")


def offsets_are_in_order(facts: Facts) -> Iterator[Finding]:
    """Check I7: no offset beyond the end of its log is committed or applied."""
    topic = facts.evidence.settings.topics.profile_events
    for topic_partition, (offset, _) in facts.evidence.committed.items():
        end = facts.evidence.ends.get(topic_partition, offset)
        if offset > end:
            yield Finding(
                "I7",
                "wrong",
                f"{topic_partition}: committed {offset}, log ends at {end}",
            )
    for partition, states in facts.changelog.items():
        applied = max((decode_profile(state).applied for state in states.values()), default=-1)
        if applied >= facts.evidence.ends[topic, partition]:
            yield Finding(
                "I7", "wrong", f"partition {partition}: applied offset {applied} is beyond the end of the log"
            )


def no_timer_is_overdue(facts: Facts) -> Iterator[Finding]:
    """Check I8: no due timer is left, and the due index matches the profiles."""
    for partition in facts.evidence.partitions:
        store = facts.newest_store(partition)
        if store is None:
            continue
        overdue = [entry for entry in store.due if entry[0] <= facts.account(partition).now_ms]
        if overdue:
            yield Finding(
                "I8", "lost", f"partition {partition}: {len(overdue)} overdue timers, first {overdue[0]}"
            )
        expected = {
            (due, p.id)
            for p in map(decode_profile, store.states.values())
            if (due := timer_of(p)) is not None
        }
        if expected != set(store.due):
            yield Finding("I8", "wrong", f"partition {partition}: due index differs from the profiles")


def dead_letters_match_invalid_records(facts: Facts) -> Iterator[Finding]:
    """Check I10: exactly the injected invalid records are dead letters, with their origins."""
    letters = Counter(
        _input_of(facts, origin) for reason, origin in facts.letters if not reason.startswith(NOTE)
    )
    refused = {source for number in facts.evidence.partitions for source in facts.account(number).refused}
    expected = facts.evidence.circumstances.poison | {
        f"{facts.evidence.settings.topics.events}:{each}" for each in refused
    }
    for origin in expected - letters.keys():
        yield Finding("I10", "lost", f"invalid record {origin} has no dead letter")
    for origin in letters.keys() - expected:
        yield Finding("I10", "wrong", f"unexpected dead letter {origin}")
    repeated = letters.total() - len(letters)
    if repeated and (facts.evidence.exactly_once or not facts.evidence.circumstances.crashes):
        yield Finding("I10", "duplicated", f"{repeated} repeated dead letters")


def _input_of(facts: Facts, origin: str) -> str:
    """Return the origin in the input of a dead letter, also if the segment step wrote it."""
    topics = facts.evidence.settings.topics
    topic, partition, offset = origin.rsplit(":", 2)
    if topic != topics.profile_events:
        return origin
    record = next(r for r in facts.evidence.log(topic, int(partition)) if r.offset == int(offset))
    return f"{topics.events}:{dict(record.headers)[SOURCE_HEADER].decode()}"


def final_memberships_are_true(facts: Facts) -> Iterator[Finding]:
    """Check I1: final memberships equal the slow evaluator's over all events."""
    keys = facts.evidence.circumstances.true_segments
    rows: dict[str, set[str]] = defaultdict(set)
    for change in (change for changes in facts.changes.values() for change in changes):
        (rows[change.profile_id].add if change.member else rows[change.profile_id].discard)(
            change.segment_key
        )
    for partition in facts.evidence.partitions:
        account = facts.account(partition)
        for profile_id, expected in account.profiles.items():
            if not expected.slow:
                continue
            true_segments = expected.oracle.truth(account.now_ms)
            if true_segments & keys != rows[profile_id] & keys:
                differ = sorted((true_segments ^ rows[profile_id]) & keys)
                yield Finding("I1", "wrong", f"{profile_id}: incorrect memberships {differ}")


def nothing_is_left_open(facts: Facts) -> Iterator[Finding]:
    """Check I11: no transaction is open, and no store folder lacks a partition."""
    for partition, end in facts.evidence.ends.items():
        if facts.evidence.stable[partition] < end:
            yield Finding(
                "I11", "wrong", f"{partition}: open transaction at offset {facts.evidence.stable[partition]}"
            )
    for stray in facts.evidence.strays:
        yield Finding("I11", "wrong", f"stray folder {stray}")


def recovery_is_within_budget(facts: Facts) -> Iterator[Finding]:
    """Check I12: the backlog at the fault was processed within the budget."""
    circumstances = facts.evidence.circumstances
    for seconds in circumstances.recovery_s:
        if seconds > circumstances.budget_s:
            yield Finding("I12", "wrong", f"recovery took {seconds:.1f} s, budget {circumstances.budget_s} s")


CHECKS: Mapping[str, Check] = {
    **forwarding.CHECKS,
    "changes": changes_equal_reference,
    "states": states_equal_reference,
    "state topic": state_topic_is_final,
    "alternation": changes_alternate,
    "repetitions": repetitions_are_bounded,
    "causes": changes_have_causes,
    "changelog": changelog_equals_stores,
    "offsets": offsets_are_in_order,
    "timers": no_timer_is_overdue,
    "dead letters": dead_letters_match_invalid_records,
    "members": final_memberships_are_true,
    "leftovers": nothing_is_left_open,
    "recovery": recovery_is_within_budget,
    **merges.CHECKS,
}


def verify(evidence: Evidence) -> list[Finding]:
    """Run all checks but those that the fault invalidates and return their findings."""
    facts = Facts(evidence)
    circumstances = evidence.circumstances
    checks = {
        **CHECKS,
        **(adoptions.CHECKS if circumstances.adopts else {}),
        **(sizes.CHECKS if circumstances.sizes else {}),
        **circumstances.more_checks,
    }
    expected = [check for name, check in checks.items() if name not in circumstances.skipped_checks]
    return [finding for check in expected for finding in check(facts)]
