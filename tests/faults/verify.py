"""Is anything lost, counted twice or wrong? Every check reads the evidence and yields what it found.

The checks carry the numbers of the invariants in ``README.md``. None of them asks the workers anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.events import Change
from segops.core.links import timer_of
from segops.core.profile import Profile
from segops.schemas.changes import decode_change
from segops.schemas.events import decode, route
from segops.schemas.identifying import IdentityLimits, limits_of
from segops.schemas.records import SOURCE_HEADER, partition_of
from segops.schemas.state import decode_profile
from segops.schemas.ticks import is_tick

from . import merges
from .evidence import Evidence
from .facts import NOTE, Check, Facts, Finding
from .reference import Person, is_message, seen_of

#: Batches that may be under way beside what a checkpoint covers.
_UNDER_WAY = 2 * 250


def everything_is_forwarded(facts: Facts) -> Iterator[Finding]:
    """I1 Each event of the input reaches its profile's partition, in order; nothing else does (I5)."""
    wanted = {f"{r.partition}:{r.offset}": key for r, key in _accepted(facts)}
    found: dict[str, bytes] = {}
    for partition in facts.seen.partitions:
        yield from _forwarded(facts, partition, found)
    for source in wanted.keys() - found.keys():
        yield Finding("I1", "lost", f"event {source} was never forwarded")
    for source in found.keys() - wanted.keys() - _deleted(facts, found):
        yield Finding("I5", "wrong", f"a forwarded event of a source that is none: {source}")
    for source in (s for s in wanted.keys() & found.keys() if wanted[s] != found[s]):
        yield Finding("I1", "wrong", f"event {source} went to {found[source]!r}, not {wanted[source]!r}")


def _deleted(facts: Facts, sources: Iterable[str]) -> set[str]:
    gone = facts.seen.happened.gone
    places = ((source, *map(int, source.split(":"))) for source in sources)
    return {source for source, partition, offset in places if offset < gone.get(partition, 0)}


def _accepted(facts: Facts) -> Iterator[tuple[Any, bytes]]:
    """The records of the input that are events, each with its profile."""
    limits, gone = _limits(facts), facts.seen.happened.gone
    for record in facts.seen.all_of(facts.seen.settings.topics.events):
        if record.offset >= gone.get(record.partition, 0) and not is_tick(record.headers):
            profile_id = _routed(record, limits)
            if profile_id is not None:
                yield record, profile_id.encode()


def _forwarded(facts: Facts, partition: int, found: dict[str, bytes]) -> Iterator[Finding]:
    count, last = len(facts.seen.partitions), dict[tuple[bytes, int], int]()
    for record in facts.seen.log(facts.seen.settings.topics.profile_events, partition):
        if record.key is None or is_message(record):
            continue
        source = dict(record.headers)[SOURCE_HEADER].decode()
        if source in found:
            if facts.seen.exactly_once:
                yield Finding("I4", "duplicated", f"event {source} was forwarded twice")
            continue
        found[source] = record.key
        if partition_of(record.key, count) != partition:
            yield Finding("I1", "wrong", f"event {source} is in partition {partition}")
        number, offset = map(int, source.split(":"))
        if last.get((record.key, number), -1) > offset:
            yield Finding("I1", "wrong", f"event {source} came after a later one of its profile")
        last[record.key, number] = offset


def _limits(facts: Facts) -> IdentityLimits:
    return limits_of(facts.seen.settings)


def _routed(record: Any, limits: IdentityLimits) -> str | None:
    try:
        found = route(record.value, now_ms=1 << 50, default_time_ms=record.timestamp, limits=limits)
    except RejectedEvent:
        return None
    return found.profile_id


def everything_is_applied(facts: Facts) -> Iterator[Finding]:
    """I1 Behind the committed offset of each partition there is no event left."""
    for partition in facts.seen.partitions:
        for topic in (facts.seen.settings.topics.events, facts.seen.settings.topics.profile_events):
            until = facts.seen.committed.get((topic, partition), (0, ""))[0]
            left = [
                r for r in facts.seen.log(topic, partition) if r.offset >= until and not is_tick(r.headers)
            ]
            if left:
                yield Finding("I1", "lost", f"{len(left)} records of {topic}:{partition} from {until} on")


def changes_equal_reference(facts: Facts) -> Iterator[Finding]:
    """I1, I3 The changes of each profile, each once, are those of both reference judges."""
    people = {i: p for n in facts.seen.partitions for i, p in facts.told(n).people.items()}
    for profile_id in people.keys() | facts.changes.keys():
        person = people.get(profile_id)
        found = sorted(facts.changes.get(profile_id, []), key=lambda change: change.sequence)
        if person is None:
            yield Finding("I5", "wrong", f"{profile_id} has changes but no events")
            continue
        yield from _compared(profile_id, person.expected, [seen_of(change) for change in found])
        yield from _identical(profile_id, person.changes, found)


def _compared(profile_id: str, wanted: list[Any], found: list[Any]) -> Iterator[Finding]:
    missing, extra = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
    if missing:
        yield Finding("I3", "lost", f"{profile_id}: {missing.total()} changes, first {min(missing, key=_at)}")
    if extra:
        yield Finding("I3", "wrong", f"{profile_id}: {extra.total()} changes, first {min(extra, key=_at)}")
    if wanted != found and not missing and not extra:
        yield Finding("I3", "wrong", f"{profile_id}: changes in another order")


def _at(seen: Any) -> int:
    at: int = seen.occurred_at
    return at


def _identical(profile_id: str, wanted: list[Change], found: list[Change]) -> Iterator[Finding]:
    """Field by field, but for when they were published."""
    for want, have in zip(wanted, found, strict=False):
        want.evaluated_at = have.evaluated_at
        if want != have:
            yield Finding("I3", "wrong", f"{profile_id}: {have} instead of {want}")
            return


def states_equal_reference(facts: Facts) -> Iterator[Finding]:
    """I1 The stored profiles are those of an engine that was never disturbed."""
    for partition in facts.seen.partitions:
        store = facts.newest_store(partition)
        people = facts.told(partition).people
        states = store.states if store is not None else {}
        for profile_id in states.keys() - people.keys():
            yield Finding("I5", "wrong", f"a stored profile without an event: {profile_id}")
        for profile_id, person in people.items():
            yield from _state(profile_id, person, states.get(profile_id))


def _state(profile_id: str, person: Person, state: bytes | None) -> Iterator[Finding]:
    if state is None:
        if person.moved_at >= 0:
            yield Finding("I1", "lost", f"no profile {profile_id} is stored")
        return
    found = decode_profile(state)
    if found.applied < person.moved_at:
        yield Finding("I7", "lost", f"{profile_id}: applied {found.applied}, should be {person.moved_at}")
    if set(found.members) != _members(person):
        yield Finding(
            "I1", "wrong", f"{profile_id}: in {sorted(found.members)}, not {sorted(_members(person))}"
        )
    elif _digest(found) != _digest(person.profile):
        yield Finding(
            "I1", "wrong", f"{profile_id}: the state differs in {_difference(found, person.profile)}"
        )


def _members(person: Person) -> set[str]:
    latest = {seen.segment: seen.action for seen in person.expected}
    return {segment for segment, action in latest.items() if action == "entered"}


def _digest(profile: Profile) -> Any:
    return msgspec.to_builtins({**msgspec.structs.asdict(profile), "applied": None}, str_keys=True)


def _difference(one: Profile, other: Profile) -> list[str]:
    first, second = _digest(one), _digest(other)
    return [name for name in first if first[name] != second[name]]


def state_topic_is_final(facts: Facts) -> Iterator[Finding]:
    """I1 The latest record of each row of the state topic says what the profile's membership is."""
    rows: dict[str, bool] = {}
    for record in facts.seen.all_of(facts.seen.settings.topics.membership_state):
        rows[record.key.decode()] = decode_change(record.value).member
    wanted = {
        f"{profile_id}|{segment}"
        for partition in facts.seen.partitions
        for profile_id, person in facts.told(partition).people.items()
        for segment in _members(person)
    }
    for row in wanted ^ {row for row, member in rows.items() if member}:
        yield Finding("I1", "wrong", f"the row {row} of the state topic")


def changes_alternate(facts: Facts) -> Iterator[Finding]:
    """I2 Enter and exit alternate, sequences rise from 1 without a gap, in the order of the log."""
    for profile_id, changes in facts.changes.items():
        if [change.sequence for change in changes] != list(range(1, len(changes) + 1)):
            yield Finding("I2", "wrong", f"{profile_id}: sequences {[c.sequence for c in changes][:20]}…")
        member: dict[str, bool] = {}
        for change in sorted(changes, key=lambda each: each.sequence):
            if member.get(change.segment_key, False) is change.member:
                yield Finding("I2", "wrong", f"{profile_id}: {change.segment_key} {change.action} twice")
            member[change.segment_key] = change.member


def repetitions_are_bounded(facts: Facts) -> Iterator[Finding]:
    """I3, I4 A change comes again only after a crash, and no more often than a checkpoint covers."""
    happened, topics = facts.seen.happened, facts.seen.settings.topics
    for topic in (topics.membership_changes, topics.membership_state):
        times = Counter(decode_change(r.value).change_id for r in facts.seen.all_of(topic))
        again = sum(count - 1 for count in times.values())
        if facts.seen.exactly_once and again:
            yield Finding("I4", "duplicated", f"{again} changes of {topic} are visible twice")
        elif times and max(times.values()) > 1 + happened.crashes:
            yield Finding("I3", "duplicated", f"a change of {topic} came {max(times.values())} times")
        elif again > happened.crashes * _changes_between(facts):
            yield Finding("I3", "duplicated", f"{again} repetitions in {topic}, {happened.crashes} crashes")


def _changes_between(facts: Facts) -> int:
    """At most this many changes lie between two checkpoints: as many records, each with all its edges."""
    records = 2 * facts.seen.happened.checkpoint_records + _UNDER_WAY
    most = Counter(c.event_id for changes in facts.changes.values() for c in changes if c.event_id)
    return records * max(most.values(), default=1)


def changes_have_their_cause(facts: Facts) -> Iterator[Finding]:
    """I5 Every change is caused by an event that there is, or by time; none is early (I8)."""
    wall = facts.seen.settings.engine.clock == "wall"
    known = set[str]()
    for record in facts.seen.all_of(facts.seen.settings.topics.profile_events):
        if record.key is not None and not is_message(record):
            known.add(_message(record))
    for change in (change for changes in facts.changes.values() for change in changes):
        if change.event_id is not None and change.event_id not in known:
            yield Finding("I5", "wrong", f"a change by the event {change.event_id}, which there is not")
        if wall and change.reason == "time" and change.evaluated_at < change.occurred_at:
            yield Finding("I8", "wrong", f"{change.change_id} was judged before it was due")


def _message(record: Any) -> str:
    try:
        return decode(record.value, time_ms=0, default_id="").message_id
    except RejectedEvent:
        return ""


def changelog_equals_stores(facts: Facts) -> Iterator[Finding]:
    """I6 Each store holds what the changelog says up to the store's own offset, and the newest all of it."""
    for store in facts.seen.stores:
        if store.problem:
            yield Finding("I11", "wrong", f"store {store.partition} in {store.folder}: {store.problem}")
            continue
        if facts.changelog_until(store.partition, store.changelog_offset) != store.states:
            yield Finding("I6", "wrong", f"store {store.partition} in {store.folder} is not its changelog")
    for partition, states in facts.changelog.items():
        newest = facts.newest_store(partition)
        if (newest.states if newest is not None else {}) != states:
            yield Finding("I6", "wrong", f"partition {partition}: the changelog holds what no store does")


def offsets_are_in_order(facts: Facts) -> Iterator[Finding]:
    """I7 Nothing is committed that was not applied, nothing applied that is not there."""
    topic = facts.seen.settings.topics.profile_events
    for place, (offset, _) in facts.seen.committed.items():
        if offset > facts.seen.ends.get(place, offset):
            yield Finding(
                "I7", "wrong", f"{place}: committed {offset}, the log ends at {facts.seen.ends[place]}"
            )
    for partition, states in facts.changelog.items():
        applied = max((decode_profile(state).applied for state in states.values()), default=-1)
        if applied >= facts.seen.ends[topic, partition]:
            yield Finding("I7", "wrong", f"partition {partition}: applied {applied} is beyond the log")


def nothing_is_overdue(facts: Facts) -> Iterator[Finding]:
    """I8 No timer is left whose time has come, and the due index says what the profiles say."""
    for partition in facts.seen.partitions:
        store = facts.newest_store(partition)
        if store is None:
            continue
        overdue = [entry for entry in store.due if entry[0] <= facts.told(partition).now_ms]
        if overdue:
            yield Finding(
                "I8", "lost", f"partition {partition}: {len(overdue)} due timers, first {overdue[0]}"
            )
        wanted = {
            (due, p.id)
            for p in map(decode_profile, store.states.values())
            if (due := timer_of(p)) is not None
        }
        if wanted != set(store.due):
            yield Finding("I8", "wrong", f"partition {partition}: the due index is not what the profiles say")


def dead_letters_are_the_poison(facts: Facts) -> Iterator[Finding]:
    """I10 Exactly what was injected as bad is put aside, and says where it is from."""
    letters = Counter(
        _input_of(facts, origin) for reason, origin in facts.letters if not reason.startswith(NOTE)
    )
    refused = {source for number in facts.seen.partitions for source in facts.told(number).refused}
    wanted = facts.seen.happened.poison | {f"{facts.seen.settings.topics.events}:{each}" for each in refused}
    for origin in wanted - letters.keys():
        yield Finding("I10", "lost", f"bad record {origin} is no dead letter")
    for origin in letters.keys() - wanted:
        yield Finding("I10", "wrong", f"dead letter {origin} was not bad")
    again = letters.total() - len(letters)
    if again and (facts.seen.exactly_once or not facts.seen.happened.crashes):
        yield Finding("I10", "duplicated", f"{again} dead letters came twice")


def _input_of(facts: Facts, origin: str) -> str:
    """Where in the input a dead letter is from: the second step puts records of its own topic aside."""
    topics = facts.seen.settings.topics
    topic, partition, offset = origin.rsplit(":", 2)
    if topic != topics.profile_events:
        return origin
    record = next(r for r in facts.seen.log(topic, int(partition)) if r.offset == int(offset))
    return f"{topics.events}:{dict(record.headers)[SOURCE_HEADER].decode()}"


def final_members_are_true(facts: Facts) -> Iterator[Finding]:
    """I1 At the end, by all events there were, the rules that were never changed hold or do not."""
    kept = facts.seen.happened.unchanged
    rows: dict[str, set[str]] = defaultdict(set)
    for change in (change for changes in facts.changes.values() for change in changes):
        (rows[change.profile_id].add if change.member else rows[change.profile_id].discard)(
            change.segment_key
        )
    for partition in facts.seen.partitions:
        told = facts.told(partition)
        for profile_id, person in told.people.items():
            if not person.slow:
                continue
            true = person.oracle.truth(told.now_ms)
            if true & kept != rows[profile_id] & kept:
                differ = sorted((true ^ rows[profile_id]) & kept)
                yield Finding("I1", "wrong", f"{profile_id}: memberships that are not true: {differ}")


def nothing_hangs(facts: Facts) -> Iterator[Finding]:
    """I11 No transaction is open, and no store lies around that belongs to no partition."""
    for place, end in facts.seen.ends.items():
        if facts.seen.stable[place] < end:
            yield Finding("I11", "wrong", f"{place}: an open transaction at {facts.seen.stable[place]}")
    for stray in facts.seen.strays:
        yield Finding("I11", "wrong", f"a stray folder {stray}")


def recovery_was_quick(facts: Facts) -> Iterator[Finding]:
    """I12 The system was caught up with what there was at the fault within the budget."""
    happened = facts.seen.happened
    for seconds in happened.recovery_s:
        if seconds > happened.budget_s:
            yield Finding(
                "I12", "wrong", f"recovery took {seconds:.1f} s, the budget is {happened.budget_s} s"
            )


CHECKS: Mapping[str, Check] = {
    "forwarded": everything_is_forwarded,
    "applied": everything_is_applied,
    "changes": changes_equal_reference,
    "states": states_equal_reference,
    "state topic": state_topic_is_final,
    "alternation": changes_alternate,
    "repetitions": repetitions_are_bounded,
    "causes": changes_have_their_cause,
    "changelog": changelog_equals_stores,
    "offsets": offsets_are_in_order,
    "timers": nothing_is_overdue,
    "dead letters": dead_letters_are_the_poison,
    "members": final_members_are_true,
    "leftovers": nothing_hangs,
    "recovery": recovery_was_quick,
    **merges.CHECKS,
}


def verify(seen: Evidence) -> list[Finding]:
    """Everything that is not as it must be, without the checks that the fault makes void."""
    facts = Facts(seen)
    wanted = {name: check for name, check in CHECKS.items() if name not in seen.happened.loose}
    return [finding for check in wanted.values() for finding in check(facts)]
