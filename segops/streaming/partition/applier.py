"""Application of a partition's records to its profiles: events, messages, ticks, and requests for scans."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from segops.core.activity import is_another_day
from segops.core.errors import RejectedEvent, StateError, UnstorableError
from segops.core.links import is_blank, timer_of
from segops.core.messages import Message, Release, Rows
from segops.core.profile import Profile
from segops.core.step import StepResult
from segops.schemas.backfills import BACKFILL_TYPE, decode_announcement
from segops.schemas.events import decode
from segops.schemas.identifying import IdentityLimits
from segops.schemas.messages import decode_message
from segops.schemas.quarantine import HeldRecord
from segops.schemas.records import Record, origin_of
from segops.schemas.scans import SCAN
from segops.schemas.ticks import TICK, TYPE_HEADER, decode_tick
from segops.streaming.partition.backfill.backfill import Backfill
from segops.streaming.partition.cached_profile import CachedProfile
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.effects import INTERNAL, Effects
from segops.streaming.partition.evaluator import ProfileEvaluator
from segops.streaming.partition.metadata import PartitionMetadata
from segops.streaming.partition.output import Output
from segops.streaming.partition.profile_cache import ProfileCache
from segops.streaming.partition.quarantine import Quarantine, Released
from segops.streaming.partition.scans import ScanJobs


class RecordApplier:
    """Applies records one at a time, by the definitions of its ``evaluator``, and publishes the results."""

    def __init__(
        self,
        evaluator: ProfileEvaluator,
        *,
        clock: PartitionClock,
        profiles: ProfileCache,
        quarantine: Quarantine,
        effects: Effects,
        output: Output,
        meta: PartitionMetadata,
        limits: IdentityLimits,
        scans: ScanJobs,
        backfill: Backfill,
    ) -> None:
        self.evaluator = evaluator
        self._clock = clock
        self._profiles = profiles
        self._quarantine = quarantine
        self._effects = effects
        self._output = output
        self._meta = meta
        self._limits = limits
        self._scans = scans
        self._backfill = backfill

    def apply(self, record: Record) -> None:
        """Apply a record, or send it to the dead-letter topic. Raises StateError: the partition must stop."""
        if record.key is None:
            self._keyless(record)
            return
        try:
            if record.headers and record.headers[0][0] == TYPE_HEADER:
                self._message(record)
            else:
                self._event(record)
        except Exception as error:
            self._reject(record, error)

    def _reject(self, record: Record, error: Exception) -> None:
        """Send a record to the dead-letter topic. Raises a StateError: the partition cannot continue.

        It means that the store failed or that too many profiles are unreadable. Any other error is a fault of
        one record or of the engine: the partition continues, and the dead letter can be examined.
        """
        if isinstance(error, RejectedEvent):
            self._output.reject(record, error.reason, error.detail)
        elif isinstance(error, UnstorableError):
            self._output.reject(record, INTERNAL, str(error))
        elif isinstance(error, StateError):
            raise error
        else:
            self._output.reject(record, INTERNAL, f"{type(error).__name__}: {error}")

    def _event(self, record: Record) -> None:
        source, time_ms = origin_of(record.headers)
        clock = self._clock
        clock.observe(int(source.partition(b":")[0]), time_ms)
        cached = self._profiles.get(record.key.decode())  # type: ignore[union-attr]
        if record.offset > cached.profile.applied:
            if cached.quarantined is not None:
                self._quarantine.hold(self._profiles, cached, record, clock_ms=clock.now_ms)
            else:
                self._apply_event(cached, record, (source, time_ms), clock.now_ms)

    def _apply_event(
        self, cached: CachedProfile, record: Record, origin: tuple[bytes, int], clock_ms: int
    ) -> None:
        (source, time_ms), effects, evaluator = origin, self._effects, self.evaluator
        event = decode(
            record.value,  # type: ignore[arg-type]
            time_ms=time_ms,
            default_id=source.decode(),
            limits=self._limits,
            repairs=effects.counts.repairs,
            context_keys=self._context_keys(cached.profile),
        )
        if cached.profile.evaluated_by != evaluator.version:
            self.redefine(cached)
        if effects.base:
            effects.begin(cached.profile)
        if time_ms < clock_ms:
            effects.counts.late += 1
        result = evaluator.event(cached, record, event, clock_ms=clock_ms)
        if self._backfill.collects:
            self._backfill.note(cached.profile, event, record, source)
        if result.moved or (cached.is_new and not is_blank(cached.profile)):
            self._profiles.touch(cached, dated=is_another_day(cached.activity, time_ms))
        effects.accept(result, cached.profile, record)

    def _context_keys(self, profile: Profile) -> frozenset[str] | None:
        """Return the parts of an event's context that rules read, now or after a backfill; None: all.

        An event that is forwarded keeps all: the history of later definitions reads it from the message.
        """
        if profile.merged_into is not None:
            return None
        keys, coming = self.evaluator.context_keys, self._backfill.engine
        return keys if coming is None else keys | coming.segments.context_keys

    def _message(self, record: Record) -> None:
        try:
            message = decode_message(record.value)
        except ValueError as error:
            message = self._quarantine.unread_handover(record, error)
        cached = self._profiles.get(message.to)
        if isinstance(message, Rows):
            self._backfill.take(message, record, cached.profile)
        elif record.offset <= cached.profile.applied:
            return
        elif isinstance(message, Release):
            self._release(cached, record, message)
        elif cached.quarantined is not None:
            self._quarantine.hold(self._profiles, cached, record, clock_ms=self._clock.now_ms)
        else:
            self._apply_message(cached, record, message, self._clock.now_ms)

    def _apply_message(self, cached: CachedProfile, record: Record, message: Message, clock_ms: int) -> None:
        if cached.profile.evaluated_by != self.evaluator.version:
            self.redefine(cached)
        due_ms = timer_of(cached.profile)
        if due_ms is not None and due_ms <= clock_ms:
            # A message may stop the profile's clock in the past; what is due must not depend on the batch.
            self.evaluate(cached, partial(self.evaluator.timer, clock_ms=clock_ms))
        if self._effects.base:
            self._effects.begin(cached.profile)
        self._backfill.receive(message, cached.profile, self.evaluator.engine.segments.features)
        result = self.evaluator.message(cached, record, message, clock_ms=clock_ms)
        if self._backfill.collects:
            self._backfill.follow(message, record, cached.profile, result)
        if result.moved or (cached.is_new and not is_blank(cached.profile)):
            self._profiles.touch(cached)
        self._effects.accept(result, cached.profile, record)

    def _release(self, cached: CachedProfile, record: Record, message: Release) -> None:
        released = self._quarantine.release(cached, record, message)
        if released is not None:
            self._take_back(cached, released, message)
            for held in released.held:
                if held.offset > cached.profile.applied:
                    self._apply_held(cached, held)
        if cached.quarantined is None and not cached.is_new:
            cached.profile.applied = record.offset
            self._profiles.touch(cached)

    def _take_back(self, cached: CachedProfile, released: Released, message: Release) -> None:
        profile = cached.profile
        result = self.evaluator.release(profile, message.members, clock_ms=released.clock_ms)
        self._effects.sizes.update(profile.members.keys())
        self._effects.sizes.subtract(released.members)
        self._effects.publish_corrections(result.changes, None)
        self._output.publish_values(result.values)
        self.redefine(cached)
        self._profiles.touch(cached)
        self._output.released(profile.id)
        if message.state is None:
            profile.applied = -1

    def _apply_held(self, cached: CachedProfile, held: HeldRecord) -> None:
        try:
            if held.headers and held.headers[0][0] == TYPE_HEADER:
                message = decode_message(held.value)
                if not isinstance(message, Release | Rows):
                    self._apply_message(cached, held, message, held.clock_ms)
            else:
                self._apply_event(cached, held, origin_of(held.headers), held.clock_ms)
        except Exception as error:
            self._reject(held, error)

    def _keyless(self, record: Record) -> None:
        try:
            kind = dict(record.headers).get(TYPE_HEADER)
            if kind == TICK:
                self._clock.take(decode_tick(record.value))
            elif kind == BACKFILL_TYPE:
                self._backfill.on_announcement(decode_announcement(record.value), self.evaluator.version)
            elif kind == SCAN:
                self._scans.take(record)
            else:
                raise ValueError("expected a tick or a request, got a record without a key")
        except (ValueError, IndexError) as error:
            self._output.reject(record, INTERNAL, f"{type(error).__name__}: {error}")

    def redefine(self, cached: CachedProfile) -> None:
        """Evaluate a profile by the definitions in force, unless it already was."""
        profile, version = cached.profile, self.evaluator.version
        if profile.evaluated_by == version or profile.merged_into is not None:
            return
        if cached.is_new:  # only rejected events so far: its first event evaluates it
            profile.evaluated_by = version
        else:
            self.evaluate(cached, self._by_definitions)

    def _by_definitions(self, profile: Profile) -> StepResult:
        since_ms = self._meta.since_ms
        self._backfill.fold(profile, since_ms=since_ms)
        result = self.evaluator.definitions(profile, since_ms=since_ms)
        self._backfill.explain(profile, result)
        return result

    def evaluate(self, cached: CachedProfile, step: Callable[[Profile], StepResult]) -> None:
        """Take a step that no record caused. On failure it is counted, and the profile stays unchanged."""
        try:
            result = step(cached.profile)
        except Exception as error:
            self._effects.counts.broken.append(f"{cached.profile.id}: {type(error).__name__}: {error}")
            return
        self._profiles.touch(cached, dated=False)
        self._effects.accept_timed(result, None)
