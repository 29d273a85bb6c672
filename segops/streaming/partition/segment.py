"""The segment step of one partition, without Kafka: records in, changes out, state in between.

A processor is synchronous: other work may run between two calls but never within one, so that a checkpoint
never sees half a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import ClassVar, TypeVar

from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.identity.erasure import is_erased
from segops.core.links import is_blank, timer_of
from segops.schemas.identifying import DEFAULT, IdentityLimits
from segops.schemas.records import Record
from segops.schemas.sizes import PopulationFigures
from segops.schemas.ticks import watermark_tick
from segops.stores.base import ProfileStore
from segops.streaming.partition.applier import RecordApplier
from segops.streaming.partition.backfill.adoption import DraftSet, adoption_of
from segops.streaming.partition.backfill.backfill import Backfill
from segops.streaming.partition.cached_profile import CachedProfile
from segops.streaming.partition.effects import Effects
from segops.streaming.partition.evaluator import ProfileEvaluator
from segops.streaming.partition.looking import View
from segops.streaming.partition.marks import LastRecord
from segops.streaming.partition.metadata import PartitionMetadata, base_of, is_evaluated_by, sizes_of
from segops.streaming.partition.output import Counts, Output
from segops.streaming.partition.profile_cache import CacheUse, ProfileCache, Scan
from segops.streaming.partition.published_rows import retired_rows, stale_values
from segops.streaming.partition.quarantine import Quarantine, QuarantinePosition
from segops.streaming.partition.scans import ScanJobs
from segops.streaming.partition.sizes import Figures, SegmentHistory
from segops.streaming.partition.snapshot import CHANGELOG_META, STORED_ALONE, PartitionSnapshot
from segops.streaming.partition.start import Start
from segops.streaming.partition.tallies import Tallies

_Seen = TypeVar("_Seen")


class SegmentProcessor:
    """One owned partition of profile events: it owns the sizes, the base sequence and the counts.

    ``cache_profiles`` bounds the clean decoded profiles in memory, ``max_state_bytes`` the size of a stored
    profile, ``max_quarantined`` the quarantined profiles: one more raises StateError.
    ``figures_interval_ms``: between publications of sizes. ``history_ms``: how long events are history.
    """

    timers_at_once: ClassVar[int] = 50  #: Those that fire between two batches of events, which wait.

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        *,
        start: Start,
        output: Output,
        limits: IdentityLimits = DEFAULT,
        cache_profiles: int = 50_000,
        max_state_bytes: int = 512 << 10,
        max_quarantined: int = 1_000,
        figures_interval_ms: int = 1_000,
        history_ms: int = 14 * 86_400_000,
        profiles: type[ProfileCache] | partial[ProfileCache] = ProfileCache,
    ) -> None:
        self.clock, self.offset = start.clock, start.offset
        self._store, self._output = store, output
        position, held = (lambda: QuarantinePosition(self.clock.now_ms, self.offset)), max_state_bytes // 2
        self._quarantine = Quarantine(output, position, max_profiles=max_quarantined, max_held_bytes=held)
        self._profiles = profiles(store, engine, self._quarantine.add, bound=cache_profiles)
        tallies = Tallies(store, self.clock, sizes_of(store))
        self._effects = Effects(output, tallies, sizes_of(store), base_of(store))
        self.sizes = self._effects.sizes  #: The members of each segment.
        self._figures = Figures(
            store, start, output, tallies=tallies, sizes=self.sizes, interval_ms=figures_interval_ms
        )
        self._meta = PartitionMetadata(store, start)
        #: The history that new definitions need, collected before they come into force.
        self.backfill = Backfill(
            store, output, start=start, limits=limits, history_ms=history_ms, max_bytes=max_state_bytes
        )
        self.scans = ScanJobs(self._profiles, output, self.backfill)
        self._applier = RecordApplier(
            ProfileEvaluator(engine, limits.rules, max_state_bytes=max_state_bytes),
            clock=self.clock,
            profiles=self._profiles,
            quarantine=self._quarantine,
            effects=self._effects,
            output=output,
            meta=self._meta,
            limits=limits,
            scans=self.scans,
            backfill=self.backfill,
        )
        self._since_snapshot, self._replay_until = 0, start.replay_until
        evaluated = not self.recording and is_evaluated_by(store, engine.version)
        self._scan = None if evaluated else Scan(self._profiles)
        self._reported_ms: int | None = None
        self._last = LastRecord(start.mark)

    def look(self, profile_id: str, view: View[_Seen]) -> _Seen | str | None:
        """Return the current view of a profile, the id of the profile that it was merged into, or None."""
        profile = self._profiles.peek(profile_id)
        if profile is None or is_blank(profile):  # only rejected events so far, or a redirect
            return None if profile is None else profile.merged_into
        return profile.merged_into or view(self.in_force, profile, self.clock.now_ms, self.backfill.since)

    @property
    def counts(self) -> Counts:
        """The counts since ``take_counts`` was last called."""
        return self._effects.counts

    def take_counts(self) -> Counts:
        """Return the counts since the last call, and reset them."""
        counts, self._effects.counts = self._effects.counts, Counts()
        return counts

    @property
    def pending(self) -> int:
        """The work that a checkpoint would cover: records or changed profiles, whichever is more."""
        return max(self._since_snapshot, self._profiles.dirty)

    @property
    def cached(self) -> CacheUse:
        """The profiles in memory, and how much of it they take."""
        return self._profiles.use()

    @property
    def population(self) -> PopulationFigures:
        """The population as of the last snapshot."""
        return self._figures.population()

    @property
    def scanning(self) -> bool:
        """Whether a rescan by new definitions is running."""
        return self._scan is not None

    @property
    def replaying(self) -> bool:
        """Whether it replays records that an earlier process may have evaluated, by the same definitions."""
        return self._replay_until > 0

    @property
    def recording(self) -> bool:
        """Whether the definitions are not durable yet, so that nothing may be evaluated by them."""
        return self._meta.recording

    def caught_up(self) -> None:
        """End the replay if its records are applied; no timer may be due and no rescan running."""
        if self.offset >= self._replay_until:
            self._replay_until = 0

    def use(self, engine: Engine, draft: DraftSet | None = None) -> None:
        """Evaluate by ``engine`` as soon as its history is there and a checkpoint has recorded it.

        What needs no history is in force at once; a draft, for which it has been collected, as a whole.
        Then collect the history of ``draft``. Not allowed while ``replaying``, and without effect while
        definitions are settled that another partition may already evaluate by: call it again later.
        """
        if self._wants_published(engine):
            self._publish(engine)
        if self._wants_draft(engine, draft):
            self._collect_for(draft)

    def wants(self, engine: Engine, draft: DraftSet | None = None) -> bool:
        """Whether ``use`` of these definitions has an effect now."""
        return self._wants_published(engine) or self._wants_draft(engine, draft)

    def _wants_published(self, engine: Engine) -> bool:
        draft, in_force = self.backfill.draft, self.in_force.version
        aim = in_force if draft else self.backfill.version or in_force
        return engine.version != aim and not self.backfill.is_settled

    def _publish(self, engine: Engine) -> None:
        if self.backfill.draft and self.backfill.version == engine.version:
            self.backfill.publish()
            return
        self.backfill.drop(self.offset)
        adoption = adoption_of(self.in_force, engine)
        self._adopt(adoption.engine)
        self.backfill.begin(adoption, now_ms=self.clock.now_ms, offset=self.offset)
        self.backfill.answer(adoption.engine.version)

    def _wants_draft(self, engine: Engine, draft: DraftSet | None) -> bool:
        if (known := self.backfill.draft) is not None:
            return draft is None or known != (draft.plan_id, draft.engine.version)
        is_idle = self.backfill.version is None and self.in_force.version == engine.version
        return draft is not None and is_idle and draft.engine.version != engine.version

    def _collect_for(self, draft: DraftSet | None) -> None:
        known, backfill, offset = self.backfill.draft, self.backfill, self.offset
        if draft is None:
            backfill.drop()
        elif known is not None and known[1] == draft.engine.version:
            backfill.draft_of(draft.plan_id)
        else:
            backfill.drop(offset)
            adoption = adoption_of(self.in_force, draft.engine)._replace(next=draft.engine)
            backfill.begin(adoption, now_ms=self.clock.now_ms, offset=offset, plan_id=draft.plan_id)

    @property
    def in_force(self) -> Engine:
        """The engine of the definitions in force."""
        return self._applier.evaluator.engine

    def _adopt(self, engine: Engine) -> None:
        if engine.version == self.in_force.version:
            return
        removed = self.in_force.segments.index_of.keys() - engine.segments.index_of.keys()
        self._applier.evaluator = self._applier.evaluator.adopt(engine)
        self._profiles.engine = engine
        self._meta.adopt(self.clock.now_ms, removed=bool(removed))
        self._scan = Scan(self._profiles)

    @property
    def adopting(self) -> bool:
        """Whether new definitions are being adopted: by a rescan, or by a backfill."""
        return self.scanning or self.backfill.engine is not None

    @property
    def folding(self) -> bool:
        """Whether definitions came into force after a backfill, and profiles get their features."""
        return self.backfill.switched and self.scanning

    @property
    def can_switch(self) -> bool:
        """Whether definitions can come into force now, their history being complete."""
        ready = self.backfill.engine is not None and self.backfill.is_ready
        return ready and not (self.recording or self.replaying)

    def work_backfill(self, limit: int, *, may_switch: bool = True) -> int:
        """Do the next part of a backfill, at most ``limit`` redirects; return 0 when it must wait.

        ``may_switch``: whether its definitions may come into force now, which keeps this partition busy.
        """
        backfill = self.backfill
        if backfill.engine is None or self.recording or backfill.is_blocked:
            return 0
        if may_switch and self.can_switch:
            self._adopt(backfill.engine)
            backfill.switch()
            return 1
        backfill.end_if_done(folded=self._scan is None)
        return backfill.work(limit, self._survivors_of)

    def _survivors_of(self, profile_ids: Collection[str]) -> dict[str, str]:
        known = (cached.profile for cached in self._profiles.known(profile_ids))
        return {profile.id: profile.merged_into for profile in known if profile.merged_into is not None}

    def process(self, records: Sequence[Record]) -> None:
        """Apply records in the order of the log. Records before ``offset`` are passed over."""
        self._profiles.load_records(records, self.offset)
        self._apply(records)
        if records and records[-1].offset == self.offset - 1:
            self._last.read(records[-1])
        self._effects.counts.records += len(records)

    def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.offset >= self.offset:
                self._applier.apply(record)
                self.offset = record.offset + 1
                self._since_snapshot += 1

    def report_watermark(self, partition: int) -> None:
        """Report the watermark of this partition's sources to all, after all it has sent, if it changed."""
        reached_ms = self.clock.sources_ms
        if reached_ms is not None and reached_ms != self._reported_ms:
            self._output.broadcast(watermark_tick(partition, reached_ms))
        self._reported_ms = reached_ms

    @property
    def sweep_until(self) -> int:
        """The sequence up to which published memberships must be compared with the state; 0: none."""
        return self._meta.sweep_until

    def begin_sweep(self) -> None:
        """Record the published changes from now on."""
        self._effects.begin_sweep()

    def withdraw(self, profile_id: str, rows: Sequence[Change], *, again: bool) -> int:
        """End the published memberships of a profile that no longer hold; return how many."""
        members: Collection[str] = ()
        for cached in self._profiles.known((profile_id,)):
            if cached.quarantined is not None:
                return 0  # its memberships are compared on release
            if not cached.is_new:
                members = cached.profile.members
        after, at_ms = self.sweep_until, self.clock.now_ms
        return self._effects.withdraw(rows, members, after=after, at_ms=at_ms, again=again)

    def end_sweep(self) -> None:
        """Record at the next checkpoint that all published memberships are compared."""
        self._meta.swept()
        self._effects.end_sweep()

    @property
    def has_retired_rows(self) -> bool:
        """Whether the state topic may hold rows of retired segments, whose members have all exited."""
        return self._meta.rows_due and not (self.recording or self.replaying or self.scanning)

    def delete_retired_rows(self, keys: Sequence[bytes]) -> int:
        """Delete those rows ``profile|segment`` whose segment is not in force; return their number."""
        retired = retired_rows(keys, self.in_force.segments)
        self._output.delete_rows(retired)
        return len(retired)

    def delete_values(self, keys: Sequence[bytes], *, retired: bool) -> int:
        """Delete the rows ``profile|indicator`` that are ``retired``, or all untrue ones; return how many."""
        stale = stale_values(keys, self._profiles, self.in_force.segments, retired=retired)
        self._output.delete_values(stale)
        return len(stale)

    def retired_rows_deleted(self) -> None:
        """Record at the next checkpoint that the rows of retired segments are deleted."""
        self._meta.rows_deleted()

    def fire_due(self, limit: int) -> int:
        """Fire the timers of at most ``limit`` due profiles; return how many were examined.

        Fewer than ``limit`` means that no other timer is due.
        """
        if self.backfill.is_blocked:
            return 0
        now_ms = self.clock.now_ms
        ids = self._profiles.due_ids(now_ms, limit)
        for cached in self._profiles.known(ids):
            self._fire_due(cached, now_ms)
        return len(ids)

    def _fire_due(self, cached: CachedProfile, now_ms: int) -> None:
        due_ms = timer_of(cached.profile)
        if cached.quarantined is not None:
            self._quarantine.publish(self._profiles, cached)
        elif is_erased(cached.profile):
            self._profiles.drop(cached)
        elif due_ms is not None and due_ms <= now_ms:
            self._fire(cached, now_ms, due_ms)

    def _fire(self, cached: CachedProfile, now_ms: int, due_ms: int) -> None:
        self._applier.redefine(cached)
        self._applier.evaluate(cached, partial(self._applier.evaluator.timer, clock_ms=now_ms))
        counts = self._effects.counts
        counts.timers += 1
        counts.lateness_ms.append(now_ms - due_ms)

    def rescan(self, limit: int) -> int:
        """Evaluate the next ``limit`` profiles by new definitions; return their number, 0 at the end."""
        if self._scan is None or self.backfill.is_blocked:
            return 0
        ids = self._scan.take(limit)
        if not ids:
            self._scan = None
            self._meta.evaluated(self._applier.evaluator.version)
        for cached in self._profiles.known(ids):
            if cached.quarantined is None:
                self._applier.redefine(cached)
        return len(ids)

    def snapshot(self) -> PartitionSnapshot:
        """Return the state to make durable. ``write`` must follow before the next ``snapshot``."""
        records, self._since_snapshot = self._since_snapshot, 0
        engine, base = self._applier.evaluator.engine, self._effects.base
        history = SegmentHistory.of(self.backfill, engine.segments, self.clock.now_ms)
        cut = self._figures.cut(self._profiles, engine.segments, history)
        meta = cut.meta | self._meta.take(engine, offset=self.offset, sizes=self.sizes, base=base)
        meta |= self.backfill.take_meta()
        mark, dirty = self._last.mark, bool(self._profiles.dirty)
        return PartitionSnapshot(
            profiles=self._profiles.snapshot(),
            meta=meta | self._meta.take_origin(meta, mark, dirty=dirty),
            offset=self.offset,
            metadata=self.clock.dump(),
            mark=mark,
            records=records,
            leading=cut.leading,
        )

    def write(self, snapshot: PartitionSnapshot, changelog_offset: int | None) -> None:
        """Write states, due index and offsets to the store at once. Raises StateError on failure."""
        coverage, rows = self.backfill.writes(snapshot.offset)
        meta = {**snapshot.meta, **coverage}
        if changelog_offset is not None:
            meta[CHANGELOG_META] = str(changelog_offset).encode()
        if len(snapshot.profiles) or not meta.keys().isdisjoint(STORED_ALONE):
            self._store.write(snapshot.writes, meta, rows)
        self._profiles.written()
        self.backfill.written()

    def committed(self) -> None:
        """Note that the checkpoint of the last ``snapshot`` is complete."""
        self._meta.committed()

    def close(self) -> None:
        """Close the store, discarding what no checkpoint has written."""
        self._store.close()
