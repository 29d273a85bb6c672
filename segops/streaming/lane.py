"""The segment step of one partition, without Kafka: records in, changes out, state in between.

A lane is synchronous. Whoever drives it may do other things between two calls, never within one, so
that a checkpoint never sees half a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from segops.core.engine import Engine
from segops.core.erasure import is_erased
from segops.core.errors import RejectedEvent, StateError, UnstorableError
from segops.core.events import Change
from segops.core.identity import Identity
from segops.core.links import is_blank, timer_of
from segops.core.messages import Release
from segops.core.portrait import Portrait, portray
from segops.core.profile import Profile
from segops.schemas.aside import HeldRecord
from segops.schemas.events import decode
from segops.schemas.in_force import encode_in_force
from segops.schemas.messages import decode_message
from segops.schemas.origin import encode_origin
from segops.stores.base import ProfileStore
from segops.streaming.collected import (
    BASE_META,
    CHANGELOG_META,
    IN_FORCE_META,
    JUDGED_META,
    LOGGED_NAMES,
    ORIGIN_META,
    SIZES_META,
    SOURCE_META,
    Collected,
)
from segops.streaming.engines import packed_of
from segops.streaming.judge import INTERNAL, Judge
from segops.streaming.marks import LastRecord
from segops.streaming.profiles import Entry, Profiles, Scan
from segops.streaming.quarantine import Limits, Position, Quarantine
from segops.streaming.records import Record, origin_of, profile_ids
from segops.streaming.reports import Counts, Outlet
from segops.streaming.start import Bounds, Start
from segops.streaming.ticks import TYPE_HEADER, decode_tick, is_tick

_encode_sizes = msgspec.json.encode
_decode_sizes = msgspec.json.Decoder(dict[str, int]).decode


class SegmentLane:
    """One owned partition of profile events.

    While it is ``recording``, its definitions are not durable yet: nothing may be judged by them.
    """

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        *,
        start: Start,
        outlet: Outlet,
        bounds: Bounds | None = None,
    ) -> None:
        bounds = bounds or Bounds()
        self.clock = start.clock
        self.offset = start.offset
        self._store = store
        self._outlet = outlet
        self._limits = bounds.limits
        self._quarantine = Quarantine(
            outlet, self._where, Limits(bounds.quarantined, bounds.state_bytes // 2)
        )
        self._profiles = Profiles(
            store, self._new_profile, self._opened, self._quarantine.set_aside, bound=bounds.profiles
        )
        identity = Identity(engine, bounds.limits.rules)
        self._judge = Judge(self._profiles, identity, outlet, max_state_bytes=bounds.state_bytes)
        self._judge.sizes.update(_read_sizes(store))
        self._judge.base = self._base = int(store.meta(BASE_META) or b"0")
        self._since_collect = 0
        self._replay_until = start.replay_until
        self._judge.since_ms = self.clock.now_ms if start.since_ms is None else start.since_ms
        self.recording = self._in_force_due = start.since_ms is None
        judged = not self.recording and store.meta(JUDGED_META) == engine.version.encode()
        self._scan = None if judged else Scan(self._profiles)
        self._judged_meta_due = False
        self._told_ms: int | None = None
        self._origin, self._origin_due = start.origin, start.adopted
        self._last = LastRecord(start.mark)

    def _new_profile(self, profile_id: str) -> Profile:
        return self._judge.identity.engine.new_profile(profile_id)

    def _opened(self, profile: Profile) -> Profile:
        return self._judge.identity.engine.open(profile)

    def _where(self) -> Position:
        return Position(self.clock.now_ms, self.offset)

    @property
    def sizes(self) -> Counter[str]:
        """The members of each segment."""
        return self._judge.sizes

    def portrait(self, profile_id: str) -> Portrait | str | None:
        """What is known of a profile at this moment; the id of the one that took it over; None: nothing."""
        profile = self._profiles.peek(profile_id)
        if profile is None or profile.merged_into is not None:
            return None if profile is None else profile.merged_into
        if is_blank(profile):
            return None  # nothing but events that were refused
        return portray(self._judge.identity.engine.segments, profile, self.clock.now_ms)

    def take_counts(self) -> Counts:
        """What happened since the last call."""
        counts, self._judge.counts = self._judge.counts, Counts()
        return counts

    @property
    def counts(self) -> Counts:
        """What happened since the counts were taken last."""
        return self._judge.counts

    @property
    def pending(self) -> int:
        """How much a checkpoint taken now would cover: records and changed profiles."""
        return max(self._since_collect, self._profiles.dirty)

    @property
    def cached(self) -> int:
        """Profiles in memory."""
        return len(self._profiles)

    @property
    def scanning(self) -> bool:
        """Whether profiles are still being judged by new definitions."""
        return self._scan is not None

    @property
    def replaying(self) -> bool:
        """Whether it repeats what a former process may have published: by the same definitions only."""
        return self._replay_until > 0

    def caught_up(self) -> None:
        """Nothing is due and nothing left to be judged anew: that may be the end of the repetition."""
        if self.offset >= self._replay_until:
            self._replay_until = 0

    def use(self, engine: Engine) -> None:
        """Judge by ``engine`` once a checkpoint has recorded it; ``rejudge`` goes through all profiles.

        Not while it is ``replaying``.
        """
        if engine.version == self._judge.version:
            return
        self._judge.identity = Identity(engine, self._limits.rules)
        self._judge.since_ms = self.clock.now_ms
        self.recording = self._in_force_due = True
        self._scan, self._judged_meta_due = Scan(self._profiles), False

    def process(self, records: Sequence[Record]) -> None:
        """Apply records in the order of the log. Records before ``offset`` are passed over."""
        self._profiles.load_batch(profile_ids(records, self.offset))
        for record in records:
            offset = record.offset
            if offset >= self.offset:
                if record.key is None:
                    self._tick(record)
                else:
                    self._event(record, offset)
                self.offset = offset + 1
                self._since_collect += 1
        if records and records[-1].offset == self.offset - 1:
            self._last.read(records[-1])
        self.counts.records += len(records)

    def _event(self, record: Record, offset: int) -> None:
        if record.headers and record.headers[0][0] == TYPE_HEADER:
            self._attempt(self._message, record, offset)
        else:
            self._attempt(self._forwarded, record, offset)

    def _attempt(self, take: Callable[..., None], record: Record, *args: Any) -> None:
        try:
            take(record, *args)
        except RejectedEvent as rejection:
            self._outlet.reject(record, rejection.reason, rejection.detail)
        except UnstorableError as error:
            self._outlet.reject(record, INTERNAL, str(error))
        except StateError:
            raise  # the store, or too many profiles that cannot be read: the partition cannot go on
        except Exception as error:
            # A bug, in a record or in the engine. The partition goes on, and somebody can look.
            self._outlet.reject(record, INTERNAL, f"{type(error).__name__}: {error}")

    def _forwarded(self, record: Record, offset: int) -> None:
        source, time_ms = origin_of(record.headers)
        self.clock.observe(int(source.partition(b":")[0]), time_ms)
        entry = self._profiles.get(record.key.decode())  # type: ignore[union-attr]
        if offset > entry.profile.applied:
            if entry.aside is not None:
                self._quarantine.hold(self._profiles, entry, record, clock_ms=self.clock.now_ms)
            else:
                self._judge_event(entry, record, self.clock.now_ms)

    def _judge_event(self, entry: Entry, record: Record, clock_ms: int) -> None:
        source, time_ms = origin_of(record.headers)
        event = decode(
            record.value,  # type: ignore[arg-type]
            time_ms=time_ms,
            default_id=source.decode(),
            limits=self._limits,
            mended=self._judge.counts.mended,
        )
        self._judge.event(entry, record, event, clock_ms=clock_ms)

    def _message(self, record: Record, offset: int) -> None:
        try:
            message = decode_message(record.value)
        except ValueError as error:
            message = self._quarantine.unread_handover(record, error)
        entry = self._profiles.get(message.to)
        if offset <= entry.profile.applied:
            return
        if isinstance(message, Release):
            self._release(entry, record, message)
        elif entry.aside is not None:
            self._quarantine.hold(self._profiles, entry, record, clock_ms=self.clock.now_ms)
        else:
            self._judge.message(entry, record, message, clock_ms=self.clock.now_ms)

    def _release(self, entry: Entry, record: Record, message: Release) -> None:
        for held in self._quarantine.release(self._judge, entry, record, message):
            if held.offset > entry.profile.applied:
                self._attempt(self._again, held, entry)
        if entry.aside is None and not entry.is_new:
            entry.profile.applied = record.offset
            self._profiles.touch(entry)

    def _again(self, held: HeldRecord, entry: Entry) -> None:
        if held.headers and held.headers[0][0] == TYPE_HEADER:
            message = decode_message(held.value)
            if not isinstance(message, Release):
                self._judge.message(entry, held, message, clock_ms=held.clock_ms)
        else:
            self._judge_event(entry, held, held.clock_ms)

    def _tick(self, record: Record) -> None:
        try:
            if not is_tick(record.headers):
                raise ValueError("a record without a key that is no tick")
            tick = decode_tick(record.value)
            if tick.clock_ms is not None:
                self.clock.advance(tick.clock_ms)
            elif tick.lane is not None and tick.watermark_ms is not None:
                self.clock.told(tick.lane, tick.watermark_ms)
            elif tick.source is not None and tick.watermark_ms is not None:
                self.clock.mark(tick.source, tick.watermark_ms, idle=tick.idle)
        except (ValueError, IndexError) as error:
            self._outlet.reject(record, INTERNAL, f"{type(error).__name__}: {error}")

    def tell(self) -> int | None:
        """How far the sources are, with all that this partition had to say until then; None: no news."""
        reached_ms = self.clock.sources_ms
        if reached_ms == self._told_ms:
            return None
        self._told_ms = reached_ms
        return reached_ms

    @property
    def sweep_until(self) -> int:
        """Memberships published up to this sequence are to be compared with the state; 0: none are."""
        return 0 if self._origin is None else self._origin.sweep_until

    def begin_sweep(self) -> None:
        """Take note of what is published from now on."""
        self._judge.changed = set()

    def withdraw(self, profile_id: str, rows: Sequence[Change], *, again: bool) -> int:
        """Publish the end of those of these published memberships that are not true: ``Judge.withdraw``."""
        if any(entry.aside is not None for entry in self._profiles.known((profile_id,))):
            return 0  # what is true of it shows when it is released
        after, clock_ms = self.sweep_until, self.clock.now_ms
        return self._judge.withdraw(profile_id, rows, after=after, clock_ms=clock_ms, again=again)

    def end_sweep(self) -> None:
        """Everything published is compared: the next checkpoint records that."""
        if self._origin is not None:
            self._origin, self._origin_due = msgspec.structs.replace(self._origin, sweep_until=0), True
        self._judge.changed = None

    def fire_due(self, limit: int) -> int:
        """Judge at most ``limit`` profiles whose time has come; how many were looked at.

        Fewer than ``limit`` means that nothing more is due at present.
        """
        now_ms = self.clock.now_ms
        ids = self._profiles.due_ids(now_ms, limit)
        for entry in self._profiles.known(ids):
            due_ms = timer_of(entry.profile)
            if entry.aside is not None:
                self._quarantine.tell(self._profiles, entry)
            elif is_erased(entry.profile):
                self._profiles.drop(entry)
            elif due_ms is not None and due_ms <= now_ms:
                self._fire(entry, now_ms, due_ms)
        return len(ids)

    def _fire(self, entry: Entry, now_ms: int, due_ms: int) -> None:
        self._judge.definitions(entry)
        self._judge.timer(entry, clock_ms=now_ms)
        self.counts.timers += 1
        self.counts.lateness_ms.append(now_ms - due_ms)

    def rejudge(self, limit: int) -> int:
        """Judge the next ``limit`` profiles by new definitions; how many were looked at, 0 when done."""
        if self._scan is None:
            return 0
        ids = self._scan.take(limit)
        if not ids:
            self._scan, self._judged_meta_due = None, True
        for entry in self._profiles.known(ids):
            if entry.aside is None:
                self._judge.definitions(entry)
        return len(ids)

    def collect(self) -> Collected:
        """Fix what is to be made durable. ``write`` must follow before the next ``collect``."""
        records = self._since_collect
        self._since_collect = 0
        meta = self._meta()
        if self._origin is not None and (
            self._profiles.dirty or self._origin_due or LOGGED_NAMES & meta.keys()
        ):
            self._origin_due = False
            meta[ORIGIN_META] = encode_origin(msgspec.structs.replace(self._origin, mark=self._last.mark))
        return Collected(
            profiles=self._profiles.collect(),
            meta=meta,
            offset=self.offset,
            metadata=self.clock.dump(),
            mark=self._last.mark,
            records=records,
        )

    def _meta(self) -> dict[str, bytes]:
        meta = {SOURCE_META: str(self.offset).encode(), SIZES_META: _encode_sizes(+self.sizes)}
        if self._in_force_due:
            packed = packed_of(self._judge.identity.engine.segments)
            meta[IN_FORCE_META] = encode_in_force(packed, since_ms=self._judge.since_ms)
            meta[JUDGED_META] = b""  # also of a version that was in force before
            self._in_force_due = False
        if self._judge.base != self._base:
            self._base = self._judge.base
            meta[BASE_META] = b"%d" % self._base
        if self._judged_meta_due:
            meta[JUDGED_META] = self._judge.version.encode()
            self._judged_meta_due = False
        return meta

    def write(self, collected: Collected, changelog_offset: int | None) -> None:
        """Step 3 of the checkpoint: states, due index and offsets in one write. StateError if not."""
        meta: Mapping[str, bytes] = collected.meta
        if changelog_offset is not None:
            meta = {**meta, CHANGELOG_META: str(changelog_offset).encode()}
        writes = collected.writes
        if writes or JUDGED_META in meta or ORIGIN_META in meta:
            self._store.write(writes, meta)
        self._profiles.written()

    def committed(self) -> None:
        """The checkpoint of the last ``collect`` came to its end."""
        self.recording = self._in_force_due

    def close(self) -> None:
        """Let go of the store; what was not collected and written is gone."""
        self._store.close()


def _read_sizes(store: ProfileStore) -> dict[str, int]:
    data = store.meta(SIZES_META)
    return _decode_sizes(data) if data else {}
