"""What happens to one profile: an event, a message, time, or new definitions; and what comes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from segops.core.engine import Transition
from segops.core.errors import RejectedEvent, UnstorableError
from segops.core.events import Change, Event, withdrawn
from segops.core.identity import Identity
from segops.core.links import is_blank, is_waiting
from segops.core.messages import Forward, Handover, Message
from segops.core.profile import Profile
from segops.core.turns import Outcome
from segops.schemas.state import decode_profile, encode_profile
from segops.streaming.profiles import Entry, Profiles
from segops.streaming.records import Record
from segops.streaming.reports import Counts, Outlet

INTERNAL: Final = "internal"
STATE_TOO_LARGE: Final = "state_too_large"

_Found = TypeVar("_Found", Transition, Outcome)


class Judge:
    """Takes the steps of the profiles of one partition.

    ``since_ms``: since when its definitions are in force. ``base``: the sequence of who is new.
    """

    def __init__(
        self, profiles: Profiles, identity: Identity, outlet: Outlet, *, max_state_bytes: int
    ) -> None:
        self.identity = identity
        self.since_ms = 0
        self.base = 0
        self.counts = Counts()
        self.sizes: Counter[str] = Counter()
        #: Profiles and segments of the changes since a sweep began; None while there is none.
        self.changed: set[tuple[str, str]] | None = None
        self._profiles = profiles
        self._outlet = outlet
        self._max_state_bytes = max_state_bytes
        self._large = max_state_bytes // 2

    @property
    def version(self) -> str:
        """Of the definitions that are judged by."""
        return self.identity.engine.version

    def event(self, entry: Entry, record: Record, event: Event, *, clock_ms: int) -> None:
        """Apply an event. Raises RejectedEvent when its profile would become too large."""
        self._prepare(entry, record)
        self.counts.late += event.time_ms < clock_ms
        if not self.identity.knows(entry.profile, event):
            self._tell(entry, record, Forward(entry.profile.id, event), clock_ms)
            return
        on_event = self.identity.engine.on_event
        if entry.size > self._large:
            step = partial(on_event, event=event, clock_ms=clock_ms)
            transition = self._fitting(entry, record, step)
        else:
            transition = on_event(entry.profile, event, clock_ms=clock_ms)
            entry.profile.applied = record.offset
        if transition.moved or entry.is_new:
            self._profiles.touch(entry)
        self._account(transition, record.timestamp)
        self.counts.duplicates += transition.duplicate

    def message(self, entry: Entry, record: Record, message: Message, *, clock_ms: int) -> None:
        """Take in what another profile says. Raises RejectedEvent as ``event`` does."""
        self._prepare(entry, record)
        self._tell(entry, record, message, clock_ms)

    def _prepare(self, entry: Entry, record: Record) -> None:
        if entry.profile.judged_by != self.version:
            self.definitions(entry)
        entry.size += len(record.value or b"")
        if is_blank(entry.profile) and entry.profile.merged_into is None:
            entry.profile.sequence = max(entry.profile.sequence, self.base)

    def _tell(self, entry: Entry, record: Record, message: Message, clock_ms: int) -> None:
        waited = is_waiting(entry.profile)
        full = isinstance(message, Handover) and self._overflows(entry.profile, message, record)
        step = partial(self.identity.on_message, message=message, clock_ms=clock_ms, full=full)
        # Only events are ever refused: whoever sent another message counts on it.
        if entry.size > self._large and isinstance(message, Forward):
            outcome = self._fitting(entry, record, step)
        else:
            outcome = step(entry.profile)
            entry.profile.applied = record.offset
        if outcome.moved or (entry.is_new and not is_blank(entry.profile)):
            self._profiles.touch(entry)
        self._outlet.send(outcome.messages, arrived_ms=record.timestamp)
        self._account(outcome, record.timestamp)
        self._count(outcome, record)
        self._erased(entry.profile, outcome)
        self._time(entry.profile, waited=waited)

    def _overflows(self, profile: Profile, handover: Handover, record: Record) -> bool:
        """Whether a profile would be too large with what is handed over: as stored, so each time alike."""
        if handover.state is None:
            return False
        return len(encode_profile(profile)) + len(record.value or b"") > self._max_state_bytes

    def _count(self, outcome: Outcome, record: Record) -> None:
        if outcome.counts:
            self.counts.duplicates += outcome.counts.pop("duplicate", 0)
            self.counts.identities.update(outcome.counts)
        for each in outcome.unjoined:
            joined = "split from" if each.reason == "split" else "joined with"
            detail = f"{each.profile_id} is not {joined} {each.identifier}: {each.detail}"
            self._outlet.note(record, f"identity_{each.reason}", detail)
        if "gave_up" in outcome.counts:
            self._outlet.reject(record, INTERNAL, "it was sent on too often: redirects go round in a circle")

    def _erased(self, profile: Profile, outcome: Outcome) -> None:
        if outcome.erased:
            # Should the identifier come again, no change of its may have the id of an earlier one.
            self.base = max(self.base, profile.sequence + 1)
            self._outlet.erased(outcome.erased, outcome.segments)

    def _time(self, profile: Profile, *, waited: bool) -> None:
        waits = is_waiting(profile)
        if waits and not waited:
            self._outlet.began(profile.id)
        elif waited and not waits:
            self._outlet.ended(profile.id, 0 if profile.links is None else len(profile.links.owned))

    def _fitting(self, entry: Entry, record: Record, step: Callable[[Profile], _Found]) -> _Found:
        """Take a step by an event, and take it back if a large profile becomes too large by it."""
        before = encode_profile(entry.profile)
        found = step(entry.profile)
        entry.profile.applied = record.offset
        reason = f"with it the profile would be larger than {self._max_state_bytes} bytes"
        try:
            entry.size = len(encode_profile(entry.profile))
            if entry.size <= self._max_state_bytes or entry.size <= len(before):
                return found
        except UnstorableError as error:
            reason = str(error)
        entry.profile, entry.size = decode_profile(before), len(before)
        entry.profile.applied = record.offset
        raise RejectedEvent(STATE_TOO_LARGE, reason)

    def released(self, entry: Entry, known: Iterable[str], was: Collection[str], *, clock_ms: int) -> None:
        """Take in a profile from quarantine; ``known``, ``was``: members by the sizes, and as published."""
        entry.profile = self.identity.engine.open(entry.profile)
        self.sizes.update(entry.profile.members.keys())
        self.sizes.subtract(known)
        changes = self.identity.engine.on_release(entry.profile, was, clock_ms=clock_ms).changes
        self._outlet.emit(changes, arrived_ms=None)
        if self.changed is not None:
            self.changed.update((change.profile_id, change.segment_key) for change in changes)
        self.definitions(entry)
        self._profiles.touch(entry)

    def timer(self, entry: Entry, *, clock_ms: int) -> None:
        """Let time pass."""
        self._step(entry, lambda: self.identity.on_timer(entry.profile, clock_ms=clock_ms))

    def definitions(self, entry: Entry) -> None:
        """Judge by the definitions in force, as of when they came: it does not matter when its turn is."""
        profile = entry.profile
        if profile.judged_by == self.version or profile.merged_into is not None:
            return
        if entry.is_new:  # only rejected events so far: it is judged from its first one on
            profile.judged_by = self.version
        else:
            self._step(entry, lambda: self.identity.on_definitions(profile, clock_ms=self.since_ms))

    def withdraw(
        self, profile_id: str, rows: Sequence[Change], *, after: int, clock_ms: int, again: bool
    ) -> int:
        """End the memberships of a profile that were published and are not true now; how many these are.

        Their sequences are those behind ``after``, which no other change has: a repetition finds the same,
        and nothing about the profile changes, which may not even be known. ``again``: publish also what
        was published by an attempt that did not come to its end.
        """
        profile, changed = self._profiles.peek(profile_id), self.changed or ()
        members = profile.members if profile is not None else {}
        untrue = [
            row
            for row in rows
            if row.segment_key not in members and (profile_id, row.segment_key) not in changed
        ]
        numbered = enumerate(untrue, after + 1)
        ends = [
            withdrawn(row, sequence=sequence, at_ms=clock_ms)
            for sequence, row in numbered
            if row.member or again
        ]
        if ends:
            self._outlet.emit(ends, arrived_ms=None)
        return len(ends)

    def _step(self, entry: Entry, judge: Callable[[], Outcome]) -> None:
        try:
            outcome = judge()
        except Exception as error:
            self.counts.broken.append(f"{entry.profile.id}: {type(error).__name__}: {error}")
            return
        self._profiles.touch(entry)
        self._account(outcome, None)

    def _account(self, found: Transition | Outcome, arrived_ms: int | None) -> None:
        if found.changes:
            for change in found.changes:
                self.sizes[change.segment_key] += 1 if change.member else -1
            if self.changed is not None:
                self.changed.update((change.profile_id, change.segment_key) for change in found.changes)
            self._outlet.emit(found.changes, arrived_ms=arrived_ms)
        if found.skipped:
            self.counts.skipped.update((skip.path, skip.found) for skip in found.skipped)
        if found.failures:
            self.counts.failures.update(found.failures)
