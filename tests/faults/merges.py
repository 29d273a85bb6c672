"""Checks that every person is one profile that holds each of the person's events exactly once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from segops.core.engine import Engine
from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.core.features.states import Tally, Total
from segops.core.identifiers import is_user
from segops.core.links import is_waiting
from segops.core.messages import Handover, Message
from segops.core.profile import Profile
from segops.core.rules.reference import History
from segops.core.segments import SegmentSet
from segops.schemas.events import decode, route
from segops.schemas.identifying import limits_of
from segops.schemas.messages import decode_message, encode_message
from segops.schemas.state import decode_profile
from segops.schemas.ticks import is_tick

from .evidence import Evidence
from .facts import NOTE, Check, Facts, Finding
from .handovers import without_state
from .reference import ReferenceEvaluator, has_rows, is_message


class FinalProfiles:
    """The final profiles according to the stores, and the input events of each."""

    def __init__(self, facts: Facts) -> None:
        stores = [facts.newest_store(number) for number in facts.evidence.partitions]
        states = [state for store in stores if store is not None for state in store.states.values()]
        self.profiles = {profile.id: profile for profile in map(decode_profile, states)}
        self.events: dict[str, list[Event]] = defaultdict(list)
        for event in _events(facts.evidence):
            first, *_ = limits_of(facts.evidence.settings).rules.identifiers_of(event)
            self.events[self.end_of(first)].append(event)

    def end_of(self, identifier: str) -> str:
        """Return the id at which the redirects from ``identifier`` end; "" if they form a cycle."""
        visited = set[str]()
        while identifier not in visited:
            visited.add(identifier)
            profile = self.profiles.get(identifier)
            if profile is None or profile.merged_into is None:
                return identifier
            identifier = profile.merged_into
        return ""

    def merged(self) -> Iterator[Profile]:
        """Yield the profiles that met another identifier and are not redirects."""
        for profile in self.profiles.values():
            if profile.links is not None:
                yield profile


def _events(evidence: Evidence) -> Iterator[Event]:
    limits, known = limits_of(evidence.settings), set[str]()
    for record in evidence.all_of(evidence.settings.topics.events):
        if is_tick(record.headers):
            continue
        try:
            routed = route(record.value, now_ms=1 << 50, default_time_ms=record.timestamp, limits=limits)
            origin = f"{record.partition}:{record.offset}"
            event = decode(record.value, time_ms=routed.time_ms, default_id=origin, limits=limits)
        except RejectedEvent:
            continue
        if event.message_id not in known:
            known.add(event.message_id)
            yield event


def messages_equal_reference(facts: Facts) -> Iterator[Finding]:
    """Check I9: the messages between profiles equal the reference's and repeat only after a crash."""
    found, expected = Counter[bytes](), Counter[bytes]()
    # A state that is handed over is of the definitions in force then.
    plain = without_state if facts.evidence.circumstances.adopts else _plain
    for partition in facts.evidence.partitions:
        for message, number in facts.account(partition).messages.items():
            expected[plain(message)] += number
        log = facts.evidence.log(facts.evidence.settings.topics.profile_events, partition)
        found.update(plain(record.value) for record in log if is_message(record) and not has_rows(record))
    for message in expected - found:
        yield Finding("I9", "lost", f"message never sent: {_text(message)}")
    for message in found.keys() - expected.keys():
        yield Finding("I9", "wrong", f"unexpected message: {_text(message)}")
    repeated = (found - expected).total()
    if repeated and (facts.evidence.exactly_once or not facts.evidence.circumstances.crashes):
        yield Finding("I4", "duplicated", f"{repeated} messages repeated")


def _plain(data: bytes) -> bytes:
    """Return a message without its ``applied`` offsets, which may skip records without effect."""
    message = decode_message(data)
    if isinstance(message, Handover) and message.state is not None:
        message.state.applied = -1
        for joined in message.state.links.sources if message.state.links is not None else ():
            joined.profile.applied = -1
    return encode_message(message)


def _text(data: bytes) -> str:
    message: Message = decode_message(data)
    return str(msgspec.to_builtins(message, str_keys=True))[:300]


def identifiers_lead_to_one_profile(facts: Facts) -> Iterator[Finding]:
    """Check I9: identifiers on one event lead to one profile unless they belong to two known users."""
    final, rules = FinalProfiles(facts), limits_of(facts.evidence.settings).rules
    ends = {each: final.end_of(each) for each in final.profiles}
    for identifier, end in ends.items():
        if not end:
            yield Finding("I9", "wrong", f"redirect cycle at {identifier}")
        elif is_user(identifier) and end != identifier:
            yield Finding("I9", "wrong", f"user {identifier} was merged into {end}")
    for event in _events(facts.evidence):
        first, *others = rules.identifiers_of(event)
        for other in others:
            if ends.get(first) != ends.get(other) and not _refused(final, first, other):
                text = f"{first} leads to {ends.get(first)}, but {other} leads to {ends.get(other)}"
                yield Finding("I9", "lost", f"{text}; both are on event {event.message_id}")


def _refused(final: FinalProfiles, first: str, other: str) -> bool:
    profile = final.profiles.get(final.end_of(first))
    if profile is None or profile.links is None or other not in profile.links.refused:
        return False
    return is_user(profile.id) and is_user(final.end_of(other))


def merged_profiles_are_complete(facts: Facts) -> Iterator[Finding]:
    """Check I9: redirects have no memberships; survivors equal a profile that saw every event once."""
    final = FinalProfiles(facts)
    for profile in final.profiles.values():
        if profile.merged_into is not None and _is_member(facts, profile):
            yield Finding(
                "I9", "wrong", f"{profile.id}, merged into {profile.merged_into}, is still a member"
            )
    for profile in final.merged():
        if is_waiting(profile):
            yield Finding("I9", "lost", f"{profile.id} still waits for {list(profile.links.pending)}")  # type: ignore[union-attr]
            continue
        yield from _complete(facts, profile, final.events[profile.id])


def _is_member(facts: Facts, profile: Profile) -> bool:
    latest = {change.segment_key: change.member for change in facts.changes.get(profile.id, [])}
    return bool(profile.members) or any(latest.values())


def _complete(facts: Facts, profile: Profile, events: list[Event]) -> Iterator[Finding]:
    segments = SegmentSet(facts.evidence.definitions)
    # Membership policies depend on earlier memberships, not only on the events.
    comparable = {each.key for each in segments.definitions if each.policy is None}
    evaluator = ReferenceEvaluator(segments.definitions, History(profile.id))
    evaluator.history.events = events
    true_segments = evaluator.truth(max(facts.account(number).now_ms for number in facts.evidence.partitions))
    if true_segments & comparable != profile.members.keys() & comparable:
        differ = sorted((true_segments ^ profile.members.keys()) & comparable)
        yield Finding("I9", "wrong", f"{profile.id}: incorrect memberships {differ}")
    yield from _identified_by_latest(profile, events)
    expected, found = _sums(_engine_profile(segments, profile.id, events)), _sums(profile)
    for key in expected.keys() | found.keys():
        if expected.get(key) != found.get(key):
            yield _difference(profile.id, found.get(key), expected.get(key))


def _identified_by_latest(profile: Profile, events: list[Event]) -> Iterator[Finding]:
    """Check that each identifier field comes from the latest event that has one."""
    for field in ("user_id", "anonymous_id", "email"):
        values = [
            (event.time_ms, getattr(event, field))
            for event in events
            if getattr(event, field) is not None or (field == "email" and event.email_removed)
        ]
        # Of several events at the same instant, any may have been applied last.
        last_ms = max((time_ms for time_ms, _ in values), default=0)
        latest = {name for time_ms, name in values if time_ms == last_ms} or {None}
        if getattr(profile, field) not in latest:
            text = f"{profile.id}: {field} {getattr(profile, field)}, expected one of {latest}"
            yield Finding("I9", "wrong", text)


def _difference(profile_id: str, found: Any, expected: Any) -> Finding:
    few = found is None or (expected is not None and found.count < expected.count)
    kind = "lost" if few else "duplicated"
    return Finding("I9", kind, f"{profile_id}: {found}, expected {expected}")


def _engine_profile(segments: SegmentSet, profile_id: str, events: list[Event]) -> Profile:
    engine = Engine(segments)
    profile = engine.new_profile(profile_id)
    for event in sorted(events, key=lambda each: each.time_ms):
        engine.on_event(profile, event, clock_ms=event.time_ms)
    return profile


def _sums(profile: Profile) -> dict[int, Any]:
    """Return the lifetime counts and sums, in which every event is included exactly once."""
    lasting = (Tally, Total)
    return {k: s for k, s in profile.features.items() if isinstance(s, lasting) and s.since_ms == 0}


def notes_equal_reference(facts: Facts) -> Iterator[Finding]:
    """Check I10: exactly the refused merges are noted among the dead letters."""
    found = {origin for reason, origin in facts.letters if reason.startswith(NOTE)}
    topic = facts.evidence.settings.topics.profile_events
    numbers = facts.evidence.partitions
    expected = {
        f"{topic}:{number}:{offset}" for number in numbers for offset in facts.account(number).unmerged
    }
    for origin in expected ^ found:
        kind = "lost" if origin in expected else "wrong"
        yield Finding("I10", kind, f"note on a refused merge at {origin}")


CHECKS: Mapping[str, Check] = {
    "messages": messages_equal_reference,
    "one person": identifiers_lead_to_one_profile,
    "merged": merged_profiles_are_complete,
    "notes": notes_equal_reference,
}
