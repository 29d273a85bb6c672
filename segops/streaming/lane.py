"""The segment step of one partition, without Kafka: records in, changes out, state in between.

A lane is synchronous. Whoever drives it may do other things between two calls, never within one, so
that a checkpoint never sees half a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from segops.core.engine import Engine, Transition
from segops.core.errors import RejectedEvent
from segops.core.events import Change, Event
from segops.core.profile import Profile
from segops.schemas.events import decode
from segops.schemas.in_force import IN_FORCE_KEY, encode_in_force
from segops.schemas.state import decode_profile, encode_profile
from segops.stores.base import ProfileStore, Write
from segops.streaming.clock import PartitionClock
from segops.streaming.profiles import Entry, Profiles, Scan
from segops.streaming.records import Record, origin_of
from segops.streaming.ticks import decode_tick, is_tick

JUDGED_META: Final = "judged_by"
IN_FORCE_META: Final = "definitions"
SIZES_META: Final = "segment_sizes"
SOURCE_META: Final = "source_offset"
CHANGELOG_META: Final = "changelog_offset"
INTERNAL: Final = "internal"
STATE_TOO_LARGE: Final = "state_too_large"

_encode_sizes = msgspec.json.encode
_decode_sizes = msgspec.json.Decoder(dict[str, int]).decode


class Outlet:
    """Where a lane's changes and bad records go. The base class keeps them in lists, for tests."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.rejected: list[tuple[Record, str, str]] = []

    def emit(self, changes: Sequence[Change], *, arrived_ms: int | None) -> None:
        """Publish these, in this order. ``arrived_ms``: Kafka's timestamp of the cause, if a record."""
        self.changes.extend(changes)

    def reject(self, record: Record, reason: str, detail: str) -> None:
        """Put a record aside."""
        self.rejected.append((record, reason, detail))


@dataclass
class Counts:
    """What happened since the counts were taken last."""

    records: int = 0
    duplicates: int = 0
    late: int = 0
    skipped_values: int = 0
    timers: int = 0
    broken: list[str] = field(default_factory=list)
    lateness_ms: list[int] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Collected:
    """A lane as of one moment: what a checkpoint makes durable."""

    writes: list[Write]
    meta: dict[str, bytes]
    offset: int
    metadata: str
    records: int

    @property
    def logged(self) -> list[Write]:
        """What goes to the changelog, in this order: definitions come after all that was judged before."""
        in_force = self.meta.get(IN_FORCE_META)
        return self.writes if in_force is None else [*self.writes, Write(IN_FORCE_KEY.decode(), in_force)]


@dataclass(frozen=True)
class Start:
    """Where a lane begins: the next record to apply, and what time it is there.

    ``since_ms``: since when the engine's definitions are known to be in force; None: they are not recorded
    yet. ``replay_until``: the records before this offset may have been judged already, by these definitions,
    by a process that did not live to make it durable.
    """

    offset: int
    clock: PartitionClock
    since_ms: int | None = None
    replay_until: int = 0


class Bounds(NamedTuple):
    """Clean profiles kept in memory, and bytes of a stored profile, at most."""

    profiles: int = 50_000
    state_bytes: int = 512 << 10


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
        self._max_state_bytes = bounds.state_bytes
        self.clock = start.clock
        self.offset = start.offset
        self.counts = Counts()
        self.sizes: Counter[str] = Counter(_read_sizes(store))
        self._store = store
        self._outlet = outlet
        self._engine = engine
        self._profiles = Profiles(store, self._new_profile, bound=bounds.profiles)
        self._since_collect = 0
        self._replay_until = start.replay_until
        self._since_ms = self.clock.now_ms if start.since_ms is None else start.since_ms
        self.recording = self._in_force_due = start.since_ms is None
        judged = not self.recording and store.meta(JUDGED_META) == engine.version.encode()
        self._scan = None if judged else Scan(self._profiles)
        self._judged_meta_due = False

    def _new_profile(self, profile_id: str) -> Profile:
        return self._engine.new_profile(profile_id)

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
        if engine.version == self._engine.version:
            return
        self._engine = engine
        self._since_ms = self.clock.now_ms
        self.recording = self._in_force_due = True
        self._scan, self._judged_meta_due = Scan(self._profiles), False

    def process(self, records: Sequence[Record]) -> None:
        """Apply records in the order of the log. Records before ``offset`` are passed over."""
        self._profiles.load_batch(_profile_ids(records, self.offset))
        for record in records:
            offset = record.offset
            if offset >= self.offset:
                if record.key is None:
                    self._tick(record)
                else:
                    self._event(record, offset)
                self.offset = offset + 1
                self._since_collect += 1
        self.counts.records += len(records)

    def _event(self, record: Record, offset: int) -> None:
        try:
            source, time_ms = origin_of(record.headers)
            self.clock.observe(int(source.partition(b":")[0]), time_ms)
            entry = self._profiles.get(record.key.decode())  # type: ignore[union-attr]
            if offset > entry.profile.applied:
                self._apply(entry, record, time_ms, source.decode())
        except RejectedEvent as rejection:
            self._outlet.reject(record, rejection.reason, rejection.detail)
        except Exception as error:
            # A bug, in a record or in the engine. The partition goes on, and somebody can look.
            self._outlet.reject(record, INTERNAL, f"{type(error).__name__}: {error}")

    def _apply(self, entry: Entry, record: Record, time_ms: int, source: str) -> None:
        profile, clock_ms = entry.profile, self.clock.now_ms
        event = decode(record.value, time_ms=time_ms, default_id=source)  # type: ignore[arg-type]
        if profile.judged_by != self._engine.version:
            self._judge(entry)
        if time_ms < clock_ms:
            self.counts.late += 1
        entry.size += len(record.value)  # type: ignore[arg-type]
        if entry.size > self._max_state_bytes // 2:
            transition = self._fitting(entry, event, record.offset)
            profile = entry.profile
        else:
            transition = self._engine.on_event(profile, event, clock_ms=clock_ms)
        profile.applied = record.offset
        if transition.moved or entry.is_new:
            self._profiles.touch(entry)
        self._account(transition, record.timestamp)

    def _fitting(self, entry: Entry, event: Event, offset: int) -> Transition:
        """Apply an event to a large profile, and take it back if the profile becomes too large."""
        before = encode_profile(entry.profile)
        transition = self._engine.on_event(entry.profile, event, clock_ms=self.clock.now_ms)
        entry.size = len(encode_profile(entry.profile))
        if entry.size <= self._max_state_bytes or entry.size <= len(before):
            return transition
        entry.profile, entry.size = decode_profile(before), len(before)
        entry.profile.applied = offset
        raise RejectedEvent(
            STATE_TOO_LARGE, f"with it the profile would be larger than {self._max_state_bytes} bytes"
        )

    def _tick(self, record: Record) -> None:
        try:
            if not is_tick(record.headers):
                raise ValueError("a record without a key that is no tick")
            tick = decode_tick(record.value)
            if tick.clock_ms is not None:
                self.clock.advance(tick.clock_ms)
            elif tick.source is not None and tick.watermark_ms is not None:
                self.clock.mark(tick.source, tick.watermark_ms, idle=tick.idle)
        except (ValueError, IndexError) as error:
            self._outlet.reject(record, INTERNAL, f"{type(error).__name__}: {error}")

    def fire_due(self, limit: int) -> int:
        """Judge at most ``limit`` profiles whose time has come; how many were looked at.

        Fewer than ``limit`` means that nothing more is due at present.
        """
        now_ms = self.clock.now_ms
        ids = self._profiles.due_ids(now_ms, limit)
        for entry in self._profiles.known(ids):
            due_ms = entry.profile.due_ms
            if due_ms is not None and due_ms <= now_ms:
                self._fire(entry, now_ms, due_ms)
        return len(ids)

    def _fire(self, entry: Entry, now_ms: int, due_ms: int) -> None:
        self._judge(entry)
        self._step(entry, lambda: self._engine.on_timer(entry.profile, clock_ms=now_ms))
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
            self._judge(entry)
        return len(ids)

    def _judge(self, entry: Entry) -> None:
        """By the definitions in force, as of when they came: it does not matter when its turn is."""
        profile, engine = entry.profile, self._engine
        if profile.judged_by == engine.version:
            return
        if entry.is_new:  # only rejected events so far: it is judged from its first one on
            profile.judged_by = engine.version
        else:
            self._step(entry, lambda: engine.on_definitions(profile, clock_ms=self._since_ms))

    def _step(self, entry: Entry, judge: Callable[[], Transition]) -> None:
        try:
            transition = judge()
        except Exception as error:
            self.counts.broken.append(f"{entry.profile.id}: {type(error).__name__}: {error}")
            return
        if transition.moved:
            self._profiles.touch(entry)
        self._account(transition, None)

    def _account(self, transition: Transition, arrived_ms: int | None) -> None:
        if transition.changes:
            for change in transition.changes:
                self.sizes[change.segment_key] += 1 if change.member else -1
            self._outlet.emit(transition.changes, arrived_ms=arrived_ms)
        if transition.duplicate:
            self.counts.duplicates += 1
        if transition.skipped_values:
            self.counts.skipped_values += transition.skipped_values
        if transition.failures:
            self.counts.failures.update(transition.failures)

    def collect(self) -> Collected:
        """Fix what is to be made durable. ``written`` must follow before the next ``collect``."""
        writes, records = self._profiles.collect(), self._since_collect
        self._since_collect = 0
        return Collected(
            writes=writes,
            meta=self._meta(),
            offset=self.offset,
            metadata=self.clock.dump(),
            records=records,
        )

    def _meta(self) -> dict[str, bytes]:
        meta = {SOURCE_META: str(self.offset).encode(), SIZES_META: _encode_sizes(+self.sizes)}
        if self._in_force_due:
            definitions = self._engine.segments.definitions
            meta[IN_FORCE_META] = encode_in_force(definitions, since_ms=self._since_ms)
            meta[JUDGED_META] = b""  # also of a version that was in force before
            self._in_force_due = False
        if self._judged_meta_due:
            meta[JUDGED_META] = self._engine.version.encode()
            self._judged_meta_due = False
        return meta

    def write(self, collected: Collected, changelog_offset: int | None) -> None:
        """Step 3 of the checkpoint: states, due index and offsets in one write. StateError if not."""
        meta: Mapping[str, bytes] = collected.meta
        if changelog_offset is not None:
            meta = {**meta, CHANGELOG_META: str(changelog_offset).encode()}
        if collected.writes or JUDGED_META in meta:
            self._store.write(collected.writes, meta)
        self._profiles.written()

    def committed(self) -> None:
        """The checkpoint of the last ``collect`` came to its end."""
        self.recording = self._in_force_due

    def close(self) -> None:
        """Let go of the store; what was not collected and written is gone."""
        self._store.close()


def _profile_ids(records: Iterable[Record], start: int) -> list[str]:
    ids = []
    for record in records:
        if record.key is not None and record.offset >= start:
            ids.append(record.key.decode(errors="replace"))
    return ids


def _read_sizes(store: ProfileStore) -> dict[str, int]:
    data = store.meta(SIZES_META)
    return _decode_sizes(data) if data else {}
