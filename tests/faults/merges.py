"""Is every person one profile, with all that happened to it, once?"""

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
from .reference import Judge, is_message


class People:
    """Who is who at the end, by the stores; and what the input says of everybody."""

    def __init__(self, facts: Facts) -> None:
        stores = [facts.newest_store(number) for number in facts.seen.partitions]
        states = [state for store in stores if store is not None for state in store.states.values()]
        self.profiles = {profile.id: profile for profile in map(decode_profile, states)}
        self.events: dict[str, list[Event]] = defaultdict(list)
        for event in _events(facts.seen):
            first, *_ = limits_of(facts.seen.settings).rules.identifiers_of(event)
            self.events[self.end_of(first)].append(event)

    def end_of(self, identifier: str) -> str:
        """Where the redirects lead to; "" when they go round in a circle."""
        passed = set[str]()
        while identifier not in passed:
            passed.add(identifier)
            profile = self.profiles.get(identifier)
            if profile is None or profile.merged_into is None:
                return identifier
            identifier = profile.merged_into
        return ""

    def joined(self) -> Iterator[Profile]:
        """The profiles that met another identifier, and are no redirects."""
        for profile in self.profiles.values():
            if profile.links is not None:
                yield profile


def _events(seen: Evidence) -> Iterator[Event]:
    limits, known = limits_of(seen.settings), set[str]()
    for record in seen.all_of(seen.settings.topics.events):
        if is_tick(record.headers):
            continue
        try:
            routed = route(record.value, now_ms=1 << 50, default_time_ms=record.timestamp, limits=limits)
            place = f"{record.partition}:{record.offset}"
            event = decode(record.value, time_ms=routed.time_ms, default_id=place, limits=limits)
        except RejectedEvent:
            continue
        if event.message_id not in known:
            known.add(event.message_id)
            yield event


def messages_equal_reference(facts: Facts) -> Iterator[Finding]:
    """I9 What profiles said to each other is what the reference says, again only after a crash."""
    found, wanted = Counter[bytes](), Counter[bytes]()
    for partition in facts.seen.partitions:
        for message, number in facts.told(partition).messages.items():
            wanted[_plain(message)] += number
        log = facts.seen.log(facts.seen.settings.topics.profile_events, partition)
        found.update(_plain(record.value) for record in log if is_message(record))
    for message in wanted - found:
        yield Finding("I9", "lost", f"a message that was never sent: {_text(message)}")
    for message in found.keys() - wanted.keys():
        yield Finding("I9", "wrong", f"a message that the reference knows nothing of: {_text(message)}")
    again = (found - wanted).total()
    if again and (facts.seen.exactly_once or not facts.seen.happened.crashes):
        yield Finding("I4", "duplicated", f"{again} messages came twice")


def _plain(data: bytes) -> bytes:
    """Without the offsets applied last: for records without effect they are written sooner or later."""
    message = decode_message(data)
    if isinstance(message, Handover) and message.state is not None:
        message.state.applied = -1
        for joined in message.state.links.sources if message.state.links is not None else ():
            joined.profile.applied = -1
    return encode_message(message)


def _text(data: bytes) -> str:
    message: Message = decode_message(data)
    return str(msgspec.to_builtins(message, str_keys=True))[:300]


def people_are_one(facts: Facts) -> Iterator[Finding]:
    """I9 Identifiers met on one event lead to one profile, unless they are of two known users."""
    people, rules = People(facts), limits_of(facts.seen.settings).rules
    ends = {each: people.end_of(each) for each in people.profiles}
    for identifier, end in ends.items():
        if not end:
            yield Finding("I9", "wrong", f"redirects go round in a circle from {identifier}")
        elif is_user(identifier) and end != identifier:
            yield Finding("I9", "wrong", f"{identifier} is part of {end}")
    for event in _events(facts.seen):
        first, *others = rules.identifiers_of(event)
        for other in others:
            if ends.get(first) != ends.get(other) and not _refused(people, first, other):
                text = f"{first} leads to {ends.get(first)}, but {other} to {ends.get(other)}"
                yield Finding("I9", "lost", f"{text}, met by {event.message_id}")


def _refused(people: People, first: str, other: str) -> bool:
    profile = people.profiles.get(people.end_of(first))
    if profile is None or profile.links is None or other not in profile.links.refused:
        return False
    return is_user(profile.id) and is_user(people.end_of(other))


def merged_are_whole(facts: Facts) -> Iterator[Finding]:
    """I9 A redirect is in nothing; its survivor is what one profile would be that saw every event once."""
    people = People(facts)
    for profile in people.profiles.values():
        if profile.merged_into is not None and _in_some(facts, profile):
            yield Finding("I9", "wrong", f"{profile.id} is part of {profile.merged_into}, and in a segment")
    for profile in people.joined():
        if is_waiting(profile):
            yield Finding("I9", "lost", f"{profile.id} waits for {list(profile.links.pending)}")  # type: ignore[union-attr]
            continue
        yield from _whole(facts, profile, people.events[profile.id])


def _in_some(facts: Facts, profile: Profile) -> bool:
    latest = {change.segment_key: change.member for change in facts.changes.get(profile.id, [])}
    return bool(profile.members) or any(latest.values())


def _whole(facts: Facts, profile: Profile, events: list[Event]) -> Iterator[Finding]:
    segments = SegmentSet(facts.seen.definitions)
    # What a policy allows depends on the way, not only on the events.
    kept = {each.key for each in segments.definitions if each.policy is None}
    judge = Judge(segments.definitions, History(profile.id))
    judge.history.events = events
    true = judge.truth(max(facts.told(number).now_ms for number in facts.seen.partitions))
    if true & kept != profile.members.keys() & kept:
        differ = sorted((true ^ profile.members.keys()) & kept)
        yield Finding("I9", "wrong", f"{profile.id}: memberships that are not true: {differ}")
    yield from _named_by_the_latest(profile, events)
    wanted, found = _sums(_engine_says(segments, profile.id, events)), _sums(profile)
    for key in wanted.keys() | found.keys():
        if wanted.get(key) != found.get(key):
            yield _not_the_same(profile.id, found.get(key), wanted.get(key))


def _named_by_the_latest(profile: Profile, events: list[Event]) -> Iterator[Finding]:
    """Each name is that of the latest event that says one; of several at one time any may have come last."""
    for field in ("user_id", "anonymous_id", "email"):
        said = [
            (event.time_ms, getattr(event, field))
            for event in events
            if getattr(event, field) is not None or (field == "email" and event.email_removed)
        ]
        last_ms = max((time_ms for time_ms, _ in said), default=0)
        latest = {name for time_ms, name in said if time_ms == last_ms} or {None}
        if getattr(profile, field) not in latest:
            text = f"{profile.id}: {field} {getattr(profile, field)}, should be of {latest}"
            yield Finding("I9", "wrong", text)


def _not_the_same(profile_id: str, found: Any, wanted: Any) -> Finding:
    few = found is None or (wanted is not None and found.count < wanted.count)
    kind = "lost" if few else "duplicated"
    return Finding("I9", kind, f"{profile_id}: {found}, should be {wanted}")


def _engine_says(segments: SegmentSet, profile_id: str, events: list[Event]) -> Profile:
    engine = Engine(segments)
    profile = engine.new_profile(profile_id)
    for event in sorted(events, key=lambda each: each.time_ms):
        engine.on_event(profile, event, clock_ms=event.time_ms)
    return profile


def _sums(profile: Profile) -> dict[int, Any]:
    """What was counted and summed of a whole life: every event shows in it, and only once."""
    lasting = (Tally, Total)
    return {k: s for k, s in profile.features.items() if isinstance(s, lasting) and s.since_ms == 0}


def notes_equal_reference(facts: Facts) -> Iterator[Finding]:
    """I10 Whoever was not joined with another is noted among the dead letters, and nobody else."""
    found = {origin for reason, origin in facts.letters if reason.startswith(NOTE)}
    topic = facts.seen.settings.topics.profile_events
    numbers = facts.seen.partitions
    wanted = {f"{topic}:{number}:{offset}" for number in numbers for offset in facts.told(number).unjoined}
    for origin in wanted ^ found:
        kind = "lost" if origin in wanted else "wrong"
        yield Finding("I10", kind, f"the note on somebody who was not joined, of {origin}")


CHECKS: Mapping[str, Check] = {
    "messages": messages_equal_reference,
    "one person": people_are_one,
    "merged": merged_are_whole,
    "notes": notes_equal_reference,
}
