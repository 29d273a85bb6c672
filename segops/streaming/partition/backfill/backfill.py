"""The backfill of one partition, from the adoption of definitions that need history until they are in force.

1. *Read*: rows are collected, of the log before the adoption and of what is applied from then on.
2. *Move*: the rows of redirects go to their survivors, in rounds (``announcements``).
3. *Switch*: the definitions come into force, and each profile is folded when its turn comes.
4. *End*: all partitions have switched and all profiles here are folded. Until then rows are collected: a
   profile handed over to a partition that has not switched takes its rows along.

A *draft* is a set of definitions that a plan may publish. It is read and moved in the same way, and then
held: profiles can be judged by it (``fill``), and it is published without reading anything again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from segops.core.backfill import fold, give_reason, install
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import Feature
from segops.core.identity.protocol import MAX_HOPS
from segops.core.messages import Forward, Handover, Message, Rows
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.step import StepResult
from segops.schemas.backfills import SWITCHED, Announcement, NextSet, encode_record
from segops.schemas.identifying import IdentityLimits
from segops.schemas.records import Record
from segops.schemas.sizes import Progress
from segops.schemas.state import encode_profile
from segops.stores.base import ProfileStore, RowWrite
from segops.streaming.partition.backfill.adoption import Adoption
from segops.streaming.partition.backfill.handovers import OwnRows, enclose, encloses, unfold, with_rows
from segops.streaming.partition.backfill.history import History
from segops.streaming.partition.backfill.recorded import incomplete, next_engine, recorded
from segops.streaming.partition.backfill.rounds import Rounds
from segops.streaming.partition.backfill.rows import chunked, decoded, split_owner
from segops.streaming.partition.engines import packed_of
from segops.streaming.partition.output import Output
from segops.streaming.partition.snapshot import BACKFILL_META
from segops.streaming.partition.start import Start

log = logging.getLogger(__name__)

#: The least room for folded features, however large the profile is.
_LEAST_ROOM: Final = 4_096


class Backfill:
    """The backfill of one partition; without one, it only takes note of others'."""

    def __init__(
        self,
        store: ProfileStore,
        output: Output,
        *,
        start: Start,
        limits: IdentityLimits,
        history_ms: int,
        max_bytes: int,
    ) -> None:
        self._number = start.number
        self._history_ms = history_ms
        self.engine: Engine | None = None
        #: Whether a row is kept, in ``history``, of each event that is applied.
        self.collects = False
        self._output = output
        self._max_bytes = max_bytes
        self._record = recorded(store.meta(BACKFILL_META))
        self._rounds = Rounds(self._record, output, number=start.number, partitions=start.partitions)
        self.history = History(store, limits)
        self._features: Mapping[int, Feature] = {}
        self._owners: Iterator[str] | None = None
        self._clear_due = False
        self._minute: tuple[str, int] | None = None
        self._incomplete: Mapping[str, int] = {}
        engine = next_engine(store.meta(BACKFILL_META))
        if self._next is not None and engine is None:
            self._record.next = None  # the newest definitions are adopted again
        if self._next is not None and engine is not None:
            self._aim(engine)
            self.history.resume(self._next.version, self._features, start.offset, self._next.from_ms)
            if self.history.gap is not None:
                self._rounds.walk_again()
        self._clear_due = self._next is None and self.history.has_rows

    @property
    def _next(self) -> NextSet | None:
        return self._record.next

    def _aim(self, engine: Engine) -> None:
        known, self.engine, self.collects = engine.segments.features, engine, True
        wanted = () if self._next is None else self._next.features
        self._features = {key: known[key] for key in wanted if key in known}

    # -- stages --------------------------------------------------------------------------------

    @property
    def version(self) -> str | None:
        """The version of the definitions that history is collected for; None: none are."""
        return None if self._next is None else self._next.version

    @property
    def switched(self) -> bool:
        """Whether the definitions are in force, and profiles are being folded."""
        return self._next is not None and self._next.switched

    @property
    def draft(self) -> tuple[str, str] | None:
        """The id of the plan and the version of the draft that history is collected for; None: of none."""
        found = self._next
        return (found.draft, found.version) if found is not None and found.draft else None

    @property
    def is_settled(self) -> bool:
        """Whether other definitions must wait: another partition may already evaluate by these."""
        return self._rounds.is_settled

    @property
    def is_blocked(self) -> bool:
        """Whether nothing may be applied until rows, which were lost, are read again."""
        return self._rounds.needs_rows and self.history.gap is not None

    @property
    def is_ready(self) -> bool:
        """Whether all rows have arrived where they belong: the definitions can come into force."""
        return self.history.gap is None and not self.switched and not self.draft and self._rounds.is_agreed

    def has_history_for(self, plan_id: str) -> bool:
        """Return whether all rows for the draft of a plan have arrived where they belong."""
        draft = self.draft
        return (
            draft is not None and draft[0] == plan_id and self.history.gap is None and self._rounds.is_through
        )

    @property
    def gap(self) -> tuple[int, int] | None:
        """The next range of offsets of the log to read, the end excluded; None: nothing is to be read."""
        return None if self._next is None else self.history.gap

    @property
    def from_ms(self) -> int:
        """The Kafka timestamp at which history begins."""
        return 0 if self._next is None else self._next.from_ms

    @property
    def progress(self) -> Progress | None:
        """How much of the history has been read; None without a backfill."""
        return None if self._next is None else Progress(*self.history.progress)

    def building(self, in_force: SegmentSet) -> dict[str, int]:
        """Return the segments that wait for history, and their versions."""
        if self.engine is None or self.switched or self.draft:
            return {}
        known = {each.key: each.version for each in in_force.segments}
        later = {each.key: each.version for each in self.engine.segments.segments}
        return {key: version for key, version in later.items() if known.get(key) != version}

    def begin(self, adoption: Adoption, *, now_ms: int, offset: int, plan_id: str = "") -> None:
        """Collect history for the next definitions of an adoption, at this clock and offset.

        ``plan_id``: the plan of which they are a draft; "": they are published.
        """
        engine = adoption.next
        if engine is None:
            return
        from_ms = max(0, now_ms - self._history_ms)
        self._record.next = NextSet(
            engine.version,
            packed_of(engine.segments),
            list(adoption.features),
            sorted(adoption.fresh),
            from_ms,
            draft=plan_id,
        )
        self._aim(engine)
        self.history.collect_for(engine.version, self._features, offset, from_ms)
        self._owners, self._rounds.changed = None, True
        log.info("partition %d collects history for %d features", self._number, len(self._features))

    def publish(self) -> None:
        """Note that the draft is published: it comes into force once all partitions know that."""
        self._rounds.publish()

    def draft_of(self, plan_id: str) -> None:
        """Note that another plan publishes the same draft."""
        if self._next is not None and self._next.draft:
            self._next.draft, self._rounds.changed = plan_id, True

    def drop(self, offset: int | None = None) -> None:
        """Give up the next definitions: others take their place at ``offset``, or (None) none."""
        if self._next is not None:
            log.info("partition %d no longer collects history for its next definitions", self._number)
            self._rounds.give_up()
            self._end(offset)

    def _end(self, offset: int | None = None) -> None:
        self._record.next, self.engine, self._features, self._owners = None, None, {}, None
        self.collects = False
        self.history.stop(offset)
        self._rounds.changed = self._clear_due = True

    def switch(self) -> None:
        """Note that the next definitions are in force from now on; profiles are to be folded."""
        if self._next is not None:
            self._next.switched = True
            self._rounds.announce(SWITCHED)

    def end_if_done(self, *, folded: bool) -> None:
        """End if all partitions have switched and all profiles of this one are ``folded``."""
        if self.switched and folded and self._rounds.end():
            since = {**self._record.since, **dict.fromkeys(self._features, self.history.since_ms)}
            kept = () if self.engine is None else self.engine.segments.features
            self._record.since = {key: at for key, at in since.items() if at and key in kept}
            self._end()

    # -- rounds --------------------------------------------------------------------------------

    def work(self, limit: int, survivors_of: Callable[[Collection[str]], Mapping[str, str]]) -> int:
        """Move rows of redirects when all rows are read; return how many of ``limit`` owners were examined.

        ``survivors_of`` maps those of some profiles that are redirects to their survivors.
        """
        found = self._next
        if found is None or not self._rounds.must_walk or self.history.gap is not None:
            return 0
        if self._owners is None:
            self._owners = self.history.rows.owners()
        owners = list(islice(self._owners, limit))
        into = survivors_of({split_owner(owner)[0] for owner in owners})
        for owner in owners:
            profile_id, source = split_owner(owner)
            if profile_id in into:
                rows = [value for _, value in self.history.rows.of(owner)]
                self._move(into[profile_id], {source: rows}, ahead=False)
                found.moved = True
        if owners:
            return len(owners)
        self._owners = None
        self._rounds.end_walk()
        return 1

    def _move(self, into: str, rows: Mapping[str, Sequence[bytes]], *, ahead: bool) -> None:
        version = self.history.version
        for source, of_source in rows.items():
            for part in chunked(of_source):
                self._output.move(Rows(into, version, source, part, ahead))

    def on_announcement(self, announcement: Announcement, in_force: str) -> None:
        """Take note of an announcement. ``in_force``: the version of the definitions in force here."""
        given_up = self._rounds.take(announcement)
        if announcement.of == self.version:
            if given_up and not self.switched:
                self._rounds.give_up()
                self._owners = None
            else:
                self._rounds.advance()
        elif announcement.of == in_force and announcement.round >= 1:
            self.answer(in_force)

    def answer(self, in_force: str) -> None:
        """Tell those that collect history for the definitions in force here that this partition has it."""
        self._rounds.answer(in_force)

    # -- records -------------------------------------------------------------------------------

    def note(self, profile: Profile, event: Event, record: Record, source: bytes | None = None) -> None:
        """Keep the row of an event that a profile has applied or holds (``History.note``)."""
        if profile.merged_into is None:
            self.history.note(profile.id, event, record, source)

    def take(self, message: Rows, record: Record, receiver: Profile) -> None:
        """Keep rows that another partition moved here, or relay them."""
        found = self._next
        if receiver.merged_into is None:
            self.history.take(message, record)
        elif message.hops < MAX_HOPS:
            message.to, message.hops = receiver.merged_into, message.hops + 1
            self._output.move(message)
            if found is not None and found.version == message.of:
                found.moved = self._rounds.changed = True

    def receive(self, message: Message, receiver: Profile, features: Mapping[int, Feature]) -> None:
        """Prepare a hand-over for a profile, unless a redirect, that is evaluated by ``features``."""
        state = message.state if isinstance(message, Handover) and receiver.merged_into is None else None
        if state is not None and encloses(state):
            waits = {} if self._next is None or self._next.switched else self._features
            unfold(state, features.keys() - waits.keys())

    def follow(self, message: Message, record: Record, profile: Profile, result: StepResult) -> None:
        """Collect what a message to a profile did; its result is not sent yet."""
        if isinstance(message, Forward):
            self.note(profile, message.event, record)
        for sent in result.messages:
            if isinstance(sent, Handover) and sent.source == profile.id and sent.state is not None:
                self._take_along(sent, sent.state)
        for erased in result.erased:
            self.history.wipe(erased.identifier, erased.others, record.offset)

    def _take_along(self, handover: Handover, state: Profile) -> None:
        """Send the rows of a profile ahead of its hand-over, and enclose the folded features."""
        if self.history.gap is not None:
            return  # its rows are relayed when all are read
        rows = self.history.of(state)
        self._move(handover.to, rows, ahead=True)
        if self.switched or self.draft:
            return  # the features are in the state, or it arrives before any partition may switch
        try:
            for each, of_share in with_rows(state, rows):
                room = self._room(each, of_share)
                enclose(each, decoded(of_share), self._features, max_bytes=room, holder=state)
        except Exception as error:
            log.error("history of a profile cannot be handed over: %s: %s", type(error).__name__, error)

    # -- profiles ------------------------------------------------------------------------------

    def fold(self, profile: Profile, *, since_ms: int) -> None:
        """Put the features into a profile that was last evaluated without them, and sources that it holds."""
        if self.switched:
            for each, rows in with_rows(profile, self.history.of(profile)):
                if each.first_ms is not None:
                    self._fill(each, rows, since_ms, holder=profile)

    def fill(self, profile: Profile, now_ms: int) -> None:
        """Put the features, at most as of a clock, into a profile or a copy of one.

        They are as of the latest event: the clock of a profile that waits, or of one that this is merged
        into, may stand at any instant from then on, and its windows end there.
        Of a copy, only ``features`` and ``counted`` are changed, and these in place.
        """
        _, rows = next(with_rows(profile, self.history.of(profile)))
        self._fill(profile, rows, now_ms, holder=profile)

    def _fill(self, profile: Profile, rows: OwnRows, now_ms: int, *, holder: Profile) -> None:
        room, at_ms = self._room(profile, rows), min(now_ms, profile.latest_ms)
        found = fold(profile, decoded(rows), self._features, now_ms=at_ms, max_bytes=room, holder=holder)
        install(profile, found, self._features)

    def _room(self, profile: Profile, rows: Mapping[str, Sequence[bytes]]) -> int:
        """Return how many bytes of features fit into a profile; few rows need not be measured."""
        if sum(len(row) for of_source in rows.values() for row in of_source) < self._max_bytes // 4:
            return self._max_bytes
        return max(_LEAST_ROOM, self._max_bytes - len(encode_profile(profile)))

    def explain(self, profile: Profile, result: StepResult) -> None:
        """Set the reason of changes in segments that were not evaluated before."""
        if self._next is not None and self._next.switched:
            give_reason(profile, result.changes, self._next.fresh, result.values)

    # -- reading and durability ----------------------------------------------------------------

    def read(self, records: Sequence[Record], start: int, end: int, *, since_ms: int | None) -> bool:
        """Take records of the log, read aside (``History.read``)."""
        if self._next is None or not self.history.read(records, start, end, since_ms=since_ms):
            return False
        if since_ms is not None:
            log.warning("partition %d: the history before %d ms is missing", self._number, since_ms)
        return True

    @property
    def since(self) -> Mapping[int, int]:
        """Id of each feature in force with incomplete history -> from when on its events are complete."""
        return self._record.since

    def complete_since(self, segments: SegmentSet, now_ms: int) -> Mapping[str, int]:
        """Return the segments that count no event before an instant (ms) which their windows include."""
        if not self._record.since:
            return {}
        minute = segments.version, now_ms // 60_000
        if minute != self._minute:
            self._minute = minute
            self._incomplete = incomplete(segments, self._record.since, now_ms)
        return self._incomplete

    def planned_since(self, segments: SegmentSet, now_ms: int) -> Mapping[str, int]:
        """Return the same of segments that a draft would bring into force, if one is collected."""
        drafted = self._features if self.draft else ()
        since = {**self._record.since, **dict.fromkeys(drafted, self.history.since_ms)}
        return incomplete(segments, since, now_ms)

    def take_meta(self) -> dict[str, bytes]:
        """Return the record, if it has changed since the last call."""
        due, self._rounds.changed = self._rounds.changed, False
        return {BACKFILL_META: encode_record(self._record)} if due else {}

    def writes(self, offset: int) -> tuple[dict[str, bytes], list[RowWrite]]:
        """Return the values and rows to write with a checkpoint at ``offset``; ``written`` must follow."""
        return self.history.writes(offset)

    def written(self) -> None:
        """Note that the last record and rows are written: remove the rows of a backfill that has ended."""
        if self._clear_due and not self._rounds.changed:
            self._clear_due = False
            self.history.clear()
