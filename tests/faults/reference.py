"""The expected results of a case, computed from the log of profile events alone.

The log also holds the ticks and the messages between profiles, so it determines all events, identities
and clocks. Two evaluators read it. The slow evaluator (``tests.core.oracle``), which keeps every event,
yields the expected changes. The identity protocol over the engine, in one process without faults, yields
the expected state of each profile and the messages that it sends. Profiles that ever met another identifier
are left to the second, because the slow evaluator knows one profile only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from segops.core.engine import Engine
from segops.core.errors import RejectedEvent
from segops.core.events import Change, Event
from segops.core.identity.protocol import Identity
from segops.core.links import profile_clock_ms
from segops.core.messages import Forward, Message
from segops.core.profile import Profile
from segops.core.rules.reference import Edges, History
from segops.core.segments import Definition, SegmentSet, references
from segops.core.step import StepResult
from segops.schemas.events import decode
from segops.schemas.messages import decode_message, encode_message
from segops.schemas.records import origin_of
from segops.schemas.state import decode_profile, encode_profile
from segops.schemas.ticks import TYPE_HEADER, decode_tick, is_tick
from segops.streaming.partition.clock import PartitionClock

from ..core.oracle import ChangeSummary, Memberships, MembershipState, Oracle
from .handovers import Handovers

#: The default of SEGOPS_MAX_STATE_BYTES.
MAX_STATE_BYTES = 512 << 10
#: The offset of changes that no record caused before the end of the log.
END = 1 << 60
#: Profiles with more events than this are left to the engine: the slow evaluator would take minutes.
SLOW_EVENTS = 80


@dataclass
class ReferenceEvaluator(Oracle):
    """The slow evaluator without the even slower search for ``flips_at``.

    Between events, it evaluates a segment only at the instants that matter to its own rule, unless the rule
    names other segments or has a policy.
    """

    _instants_of: dict[str, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        apart = [d for d in self.definitions if d.policy is None and not set(references(d.when))]
        self._apart = {d.key: Edges([d.when]) for d in apart}

    def truth(self, now_ms: int) -> set[str]:
        """Return the keys of the segments whose member the profile is at ``now_ms``."""
        return {key for key, now in self._evaluate(self.memberships, now_ms).items() if now.member}

    def _instants(self, now_ms: int, until_ms: int) -> list[int]:
        found = {key: edges.between(self.history, now_ms, until_ms) for key, edges in self._apart.items()}
        self._instants_of = {key: set(instants) for key, instants in found.items()}
        if len(found) < len(self.definitions):
            return super()._instants(now_ms, until_ms)
        return sorted(set().union(*self._instants_of.values()))

    def _forward(
        self, memberships: Memberships, now_ms: int, until_ms: int
    ) -> Iterator[tuple[int, Memberships]]:
        yield from super()._forward(memberships, now_ms, until_ms)
        self._instants_of = {}

    def _after(
        self, definition: Definition, of: set[str], membership: MembershipState, now_ms: int
    ) -> MembershipState:
        if now_ms not in self._instants_of.get(definition.key, {now_ms}):
            return membership
        return super()._after(definition, of, membership, now_ms)

    def _adopt(
        self, memberships: Memberships, now_ms: int, reason: str, event_id: str | None
    ) -> list[ChangeSummary]:
        former, self.memberships = self.memberships, memberships
        return [
            ChangeSummary(key, "entered" if now.member else "exited", reason, now_ms, None, event_id)
            for key, now in memberships.items()
            if now.member is not former[key].member
        ]


@dataclass
class ExpectedProfile:
    """One profile as both evaluators see it.

    ``seen_at`` and ``changes_at`` are the offsets of the records at which they found their changes.
    """

    oracle: ReferenceEvaluator
    profile: Profile
    seen: list[ChangeSummary] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    seen_at: list[int] = field(default_factory=list)
    changes_at: list[int] = field(default_factory=list)
    moved_at: int = -1
    events: int = 0

    @property
    def alone(self) -> bool:
        """Whether this profile never met another identifier."""
        return self.profile.merged_into is None and self.profile.links is None

    @property
    def slow(self) -> bool:
        """Whether the slow evaluator has seen every event of this profile."""
        return self.alone and self.events <= SLOW_EVENTS

    @property
    def expected_changes(self) -> list[ChangeSummary]:
        """The expected changes in order."""
        return self.seen if self.slow else [seen_of(change) for change in self.changes]

    @property
    def expected_at(self) -> list[int]:
        """The offset of the record at which each expected change was found; those of the end are END."""
        return self.seen_at if self.slow else self.changes_at


def is_message(record: Any) -> bool:
    """Return whether a record is a message from one profile to another."""
    return bool(record.key is not None and record.headers and record.headers[0][0] == TYPE_HEADER)


def has_rows(record: Any) -> bool:
    """Return whether a message holds rows of a backfill, which change no profile by themselves."""
    return bool(record.headers[0][1] == b"rows")


def seen_of(change: Change) -> ChangeSummary:
    """Return a published change in the oracle's form."""
    return ChangeSummary(
        change.segment_key, change.action, change.reason, change.occurred_at, None, change.event_id
    )


@dataclass
class PartitionAccount:
    """The reference's account of one partition.

    ``now_ms`` is its clock, ``refused`` the sources of events that would make a profile too large,
    ``messages`` those that its profiles send, and ``unmerged`` the offsets of records whose merge is refused.
    ``noted``: for each offset to note, the instant by which each profile is evaluated at the record there.
    """

    profiles: dict[str, ExpectedProfile]
    now_ms: int
    refused: set[str]
    messages: Counter[bytes]
    unmerged: set[int]
    noted: dict[int, dict[str, int]] = field(default_factory=dict)


class Replayer:
    """Processes one partition of profile events as its segment processor should."""

    def __init__(
        self, definitions: list[Definition], sources: int, *, by_events: bool, slow_events: int = SLOW_EVENTS
    ) -> None:
        self._slow_events = slow_events
        segments = SegmentSet(definitions)
        self._identity = Identity(Engine(segments))
        self._definitions = segments.definitions
        self._clock = PartitionClock(
            sources=sources, processors=sources if by_events else 0, by_events=by_events
        )
        self._account = PartitionAccount({}, self._clock.now_ms, set(), Counter(), set())
        self.offset = 0
        self._handovers: Handovers | None = None

    @property
    def account(self) -> PartitionAccount:
        """The account so far."""
        return self._account

    def run(self, records: Iterable[Any]) -> PartitionAccount:
        """Return the account after these records, with all due timers fired."""
        for _ in self.steps(records):
            pass
        return self._account

    def steps(
        self,
        records: Iterable[Any],
        note_at: Mapping[int, int] = MappingProxyType({}),
        handovers: Handovers | None = None,
    ) -> Iterator[None]:
        """Process these records, with notes at offsets, and fire all due timers.

        ``note_at``: offset -> the recorded clock at which definitions were adopted there. Yields while a
        record waits for one of the ``handovers``; None: they are taken from the records.
        """
        left, self._handovers = sorted(note_at), handovers
        for record in records:
            while self._awaits(record):
                yield
            self.offset = record.offset
            while left and record.offset >= left[0]:
                self._note_profiles(left[0], note_at[left.pop(0)])
            self._process(record)
        for offset in left:
            self._note_profiles(offset, note_at[offset])
        self.offset = END
        for expected in self._account.profiles.values():
            self._pass_time(expected, self._clock.now_ms)
        self._account.now_ms = self._clock.now_ms

    def _awaits(self, record: Any) -> bool:
        if self._handovers is None or not is_message(record) or has_rows(record):
            return False
        return self._handovers.has_waiters(decode_message(record.value))

    def _process(self, record: Any) -> None:
        if record.key is None:
            self._tick(record)
        elif is_message(record):
            self._message(record)
        else:
            self._event(record)

    def _note_profiles(self, offset: int, clock_ms: int) -> None:
        profiles = (expected.profile for expected in self._account.profiles.values())
        self._account.noted[offset] = {
            each.id: max(profile_clock_ms(each, clock_ms), each.latest_ms)
            for each in profiles
            if each.first_ms is not None and each.merged_into is None
        }

    def _tick(self, record: Any) -> None:
        if not is_tick(record.headers):
            return  # an announcement of a backfill, or a request for a scan
        tick = decode_tick(record.value)
        if tick.clock_ms is not None:
            self._clock.advance(tick.clock_ms)
        elif tick.processor is not None and tick.watermark_ms is not None:
            self._clock.report_watermark(tick.processor, tick.watermark_ms)
        elif tick.source is not None and tick.watermark_ms is not None:
            self._clock.mark(tick.source, tick.watermark_ms, idle=tick.idle)

    def _message(self, record: Any) -> None:
        if has_rows(record):
            return
        message = decode_message(record.value)
        if self._handovers is not None:
            message = self._handovers.in_place_of(message)
        expected = self._profile(message.to)
        self._pass_time(expected, self._clock.now_ms)  # a message may stop the profile's clock in the past
        result = self._apply(expected, message)
        if result is not None:
            self._note(expected, record, result)

    def _event(self, record: Any) -> None:
        source, time_ms = origin_of(record.headers)
        self._clock.observe(int(source.partition(b":")[0]), time_ms)
        expected = self._profile(record.key.decode())
        keys = () if expected.profile.merged_into is None else None  # what is forwarded keeps all its context
        try:
            event = decode(record.value, time_ms=time_ms, default_id=source.decode(), context_keys=keys)
        except RejectedEvent:
            return
        result = self._apply(expected, Forward(expected.profile.id, event))
        if result is None:
            self._account.refused.add(source.decode())
            return
        self._note(expected, record, result)
        if result.moved and not result.duplicates:
            self._see(expected, event)

    def _see(self, expected: ExpectedProfile, event: Event) -> None:
        expected.events += 1
        if expected.events <= self._slow_events and expected.alone:
            seen = expected.oracle.on_event(event, self._clock.now_ms)
            named = event.message_id if event.named else None
            expected.seen += [_named(each, event.message_id, named) for each in seen]
            expected.seen_at += [self.offset] * len(seen)

    def _note(self, expected: ExpectedProfile, record: Any, result: StepResult) -> None:
        self._change(expected, result.changes)
        self._account.messages.update(map(encode_message, result.messages))
        if self._handovers is not None:
            self._handovers.send(result.messages)
        if result.not_merged:
            self._account.unmerged.add(record.offset)
        if result.moved:
            expected.moved_at = record.offset

    def _apply(self, expected: ExpectedProfile, message: Message) -> StepResult | None:
        """Apply a message; return None, changing nothing, if an event would make the profile too large."""
        before = encode_profile(expected.profile)
        result = self._identity.on_message(expected.profile, message, clock_ms=self._clock.now_ms)
        size = len(encode_profile(expected.profile))
        if isinstance(message, Forward) and size > max(MAX_STATE_BYTES, len(before)):
            expected.profile = decode_profile(before)
            return None
        return result

    def _profile(self, profile_id: str) -> ExpectedProfile:
        expected = self._account.profiles.get(profile_id)
        if expected is None:
            oracle = ReferenceEvaluator(self._definitions, History(profile_id))
            profile = self._identity.engine.new_profile(profile_id)
            expected = self._account.profiles[profile_id] = ExpectedProfile(oracle, profile)
        return expected

    def _pass_time(self, expected: ExpectedProfile, now_ms: int) -> None:
        self._change(expected, self._identity.on_timer(expected.profile, clock_ms=now_ms).changes)
        if expected.events <= self._slow_events and expected.alone:
            seen = expected.oracle.on_clock(now_ms)
            expected.seen += seen
            expected.seen_at += [self.offset] * len(seen)

    def _change(self, expected: ExpectedProfile, changes: list[Change]) -> None:
        expected.changes += changes
        expected.changes_at += [self.offset] * len(changes)


def _named(seen: ChangeSummary, message_id: str, named: str | None) -> ChangeSummary:
    """Remove a generated message id from a change: only an event's own id is published."""
    if named is None and seen.event_id == message_id:
        return ChangeSummary(seen.segment, seen.action, seen.reason, seen.occurred_at, seen.flips_at, None)
    return seen
