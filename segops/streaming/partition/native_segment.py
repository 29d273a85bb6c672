"""The segment step of one partition where the kernel runs: Python does the records that it cannot."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar, Final

from segops.core.engine import Engine
from segops.core.events import Change, Event
from segops.kernel.answers import Answers
from segops.kernel.tables import Limits, exported
from segops.schemas.events import decode
from segops.schemas.identifying import DEFAULT, IdentityLimits
from segops.schemas.records import Record
from segops.schemas.state import redirect_of
from segops.streaming.partition.native_profiles import NativeProfiles
from segops.streaming.partition.native_rows import NativeRows
from segops.streaming.partition.segment import SegmentProcessor

_COMPILED: Final = 4
#: Why the kernel leaves a record: Python has its profile.
HELD: Final = "held"


@lru_cache(maxsize=_COMPILED)
def native_engine(
    native: Any, engine: Engine, limits: IdentityLimits, max_state_bytes: int
) -> tuple[Any, Answers]:
    """Return the kernel's engine for the segments of an engine, and what answers its questions.

    They are the same ones for all partitions.
    """
    segments = engine.segments
    tables = exported(segments, _of_kernel(limits, max_state_bytes))

    def decoded(value: bytes, time_ms: int, default_id: str) -> Event:
        keys = segments.context_keys
        return decode(value, time_ms=time_ms, default_id=default_id, limits=limits, context_keys=keys)

    answers = Answers(segments, tables, decoded)
    return native.Engine(tables.tables, answers), answers


def _of_kernel(limits: IdentityLimits, max_state_bytes: int) -> Limits:
    return Limits(
        blocked=tuple(sorted(limits.blocked)),
        email_sources=limits.email_sources,
        rules=limits.rules,
        max_bytes=max_state_bytes // 2,
    )


class NativeSegmentProcessor(SegmentProcessor):
    """A ``SegmentProcessor`` that gives records and timers to the kernel, and the rest to Python.

    Its outputs, counts and stored profiles are those of a ``SegmentProcessor``.
    """

    # With 500, live events beside 100,000 timers were five times as late as without them (99th percentile).
    # With 100 they were 1.3 to 2.4 times as late, and the timers no later.
    timers_at_once: ClassVar[int] = 100

    _profiles: NativeProfiles
    _answers: Answers

    def __init__(
        self,
        *args: Any,
        native: Any,
        limits: IdentityLimits = DEFAULT,
        max_state_bytes: int = 512 << 10,
        cache_bytes: int = 128 << 20,
        **kwargs: Any,
    ) -> None:
        def make_native(engine: Engine) -> Any:
            native_part, self._answers = native_engine(native, engine, limits, max_state_bytes)
            return native.Partition(native_part)

        self._reasons: list[str] = native.REASONS
        self._records_type: Any = native.Records
        profiles = partial(NativeProfiles, make_native=make_native, max_bytes=cache_bytes)
        kwargs |= {"limits": limits, "max_state_bytes": max_state_bytes, "profiles": profiles}
        super().__init__(*args, **kwargs)
        self._row_writer = NativeRows(native, _of_kernel(limits, max_state_bytes))
        self.backfill.history.read_native = self._row_writer.read

    def process(self, records: Sequence[Record]) -> None:
        is_native = isinstance(records, self._records_type)
        super().process(records if is_native else self._records_type.of(records))

    def _apply(self, records: Any) -> None:
        rows, at, is_native = records, 0, self._is_native
        while at < len(rows):
            if is_native:
                at, reason = self._feed(rows, at)
                if reason == HELD and self._profiles.give_back_one(rows[at].key):
                    continue
                if reason:
                    self._effects.counts.left_to_python[reason] += 1
            # The kernel tries the record after this one again.
            end = at + 1 if is_native else len(rows)
            super()._apply(rows[at:end])
            at = end
        if is_native:
            self._profiles.give_back()

    @property
    def _is_native(self) -> bool:
        """Whether the kernel applies records: not if held events must keep more than it reads of them."""
        coming = self.backfill.engine
        return coming is None or coming.segments.context_keys <= self.in_force.segments.context_keys

    def _feed(self, rows: Any, at: int) -> tuple[int, str]:
        """Give records to the kernel; return the index of the first one that it left, and why ("": none)."""
        native = self._profiles.native
        native.set_clock(self.clock.observed)
        kept = self._row_writer.of(self.backfill.history.collector) if self.backfill.collects else None
        at, self.offset, applied, why = native.feed(rows, (at, self.offset), self._effects.base, kept)
        self._since_snapshot += applied
        marks, idle, least, now_ms = native.clock()
        self._publish_native(native)
        self.clock.set_observed(marks, idle, least, now_ms)
        return int(at), self._reasons[why] if why >= 0 else ""

    def _publish_native(self, native: Any) -> None:
        """Publish the kernel's changes, each by the clock at which it happened."""
        counts = self._effects.counts
        if not self._effects.publish_from(native):
            for arrived_ms, clock_ms, changes in native.take_changes(Change):
                self.clock.now_ms = clock_ms
                self._effects.publish(changes, arrived_ms)
        self._effects.send_from(native)
        for profile_id, offset, row in native.take_rows():
            self.backfill.history.keep(profile_id, offset, row)
        for profile_id, identifiers in native.take_waits():
            if identifiers is None:
                self._output.wait_started(profile_id)
            else:
                self._output.wait_ended(profile_id, identifiers)
        self._profiles.note_created()
        duplicates, late, relayed, stale = native.take_counts()
        counts.duplicates += duplicates
        counts.late += late
        counts.identities.update({k: n for k, n in (("relayed", relayed), ("stale", stale)) if n})
        asked, failures = self._answers.take()
        counts.left_to_python.update(asked)
        counts.failures.update(failures)

    def fire_due(self, limit: int) -> int:
        if self.backfill.is_blocked:
            return 0
        now_ms = self.clock.now_ms
        ids = self._profiles.due_ids(now_ms, limit)
        self._profiles.load_due(ids)
        at = 0
        while at < len(ids):
            at = self._fire_native(ids, at, now_ms)
        self._profiles.give_back()
        return len(ids)

    def _fire_native(self, ids: list[str], at: int, now_ms: int) -> int:
        """Fire from an index on up to the first profile that is Python's, and that one; return the next."""
        counts = self._effects.counts
        at, late_ms, why = self._profiles.native.fire(ids, at, now_ms)
        if late_ms:
            self._publish_native(self._profiles.native)
            counts.timers += len(late_ms)
            counts.lateness_ms.extend(late_ms)
        if at < len(ids):
            if why >= 0:
                counts.left_to_python[self._reasons[why]] += 1
            for cached in self._profiles.known((ids[at],)):
                self._fire_due(cached, now_ms)
        return at + 1

    def _survivors_of(self, profile_ids: Collection[str]) -> dict[str, str]:
        native = self._profiles.native
        states = {each: native.state(each) for each in profile_ids if native.has(each)}
        found = super()._survivors_of([each for each in profile_ids if each not in states])
        into = {each: redirect_of(state) for each, state in states.items()}
        return found | {each: survivor for each, survivor in into.items() if survivor is not None}

    def rescan(self, limit: int) -> int:
        number = super().rescan(limit)
        self._profiles.give_back()
        return number
