"""The rounds in which the rows of redirects reach their survivors, as one partition takes part in them."""

from __future__ import annotations

from segops.schemas.backfills import (
    BACKFILL_HEADERS,
    DROPPED,
    WHOLE,
    Announcement,
    BackfillRecord,
    NextSet,
    encode_announcement,
)
from segops.streaming.partition.backfill.announcements import LEAST_ROUNDS, Announcements
from segops.streaming.partition.output import Output


class Rounds:
    """What one partition announces, and how far all are. It changes the durable ``record``."""

    def __init__(self, record: BackfillRecord, output: Output, *, number: int, partitions: int) -> None:
        #: Whether the record has changed since it was last written.
        self.changed = False
        #: Whether the rows of all redirects are moved for the next round.
        self.walked = False
        self._record = record
        self._output = output
        self._number = number
        self._announcements = Announcements(record, partitions)
        self._answered = ""

    @property
    def _next(self) -> NextSet | None:
        return self._record.next

    @property
    def is_settled(self) -> bool:
        """Whether another partition may already evaluate by the next definitions."""
        found = self._next
        return found is not None and found.round >= found.draft_rounds + LEAST_ROUNDS

    @property
    def needs_rows(self) -> bool:
        """Whether all others may rely on the rows of this partition."""
        return self._next is not None and self._next.round > self._next.draft_rounds

    @property
    def must_walk(self) -> bool:
        """Whether the rows of redirects are to be moved before the next round."""
        return self._next is not None and self._next.walk > self._next.round and not self.walked

    @property
    def is_through(self) -> bool:
        """Whether all rows have arrived where they belong, as far as others have read theirs."""
        found = self._next
        if found is None or found.round < LEAST_ROUNDS or found.walk > found.round:
            return False
        return self._announcements.moved(found.version, found.round) is False

    @property
    def is_agreed(self) -> bool:
        """Whether all rows have arrived, and all partitions know that the definitions are published."""
        found = self._next
        return (
            found is not None and self.is_through and self._announcements.all_know(found.version, found.round)
        )

    def walk_again(self) -> None:
        """Note that rows were lost: once they are read again, those of redirects are moved again."""
        found = self._next
        if found is not None and found.round and not self.needs_rows:
            found.walk, self.changed = found.round + 1, True

    def end_walk(self) -> None:
        """Note that the rows of all redirects are moved."""
        self.walked = True
        if self._next is not None and not self._next.round:
            self.announce(1)
        self.advance()

    def publish(self) -> None:
        """Note that the definitions, of a draft so far, are published."""
        if self._next is not None:
            self._next.draft, self.changed = "", True
            self.advance()

    def announce(self, number: int) -> None:
        """Announce a round, or that the definitions are given up or in force."""
        found = self._next
        if found is None:
            return
        drafted = bool(found.draft) and number > 0
        self._broadcast(
            Announcement(found.version, self._number, number, found.moved and number > 0, drafted)
        )
        if number > 0:
            found.round, found.moved, self.walked = number, False, False
            found.draft_rounds = number if drafted else found.draft_rounds
        self.changed = True

    def _broadcast(self, announcement: Announcement) -> None:
        self._output.broadcast(encode_announcement(announcement), headers=BACKFILL_HEADERS)

    def advance(self) -> None:
        """Announce the next round when all have announced the present one, unless it was the last."""
        found = self._next
        while found is not None and found.round and not found.switched and self._goes_on(found):
            self.announce(found.round + 1)

    def _goes_on(self, found: NextSet) -> bool:
        known, version, number = self._announcements, found.version, found.round
        moved = known.moved(version, number)
        if moved is None or found.walk > number:
            return moved is not None and self.walked
        if moved or number < LEAST_ROUNDS or known.is_repeated(version, number + 1):
            return True
        return not (found.draft or known.all_know(version, number))

    def take(self, announcement: Announcement) -> bool:
        """Take note of an announcement; return whether its sender had announced more, and gave it up."""
        of, known = announcement.of, self._announcements
        given_up = announcement.round == DROPPED and known.has_announced(of, announcement.partition)
        known.take(announcement)
        self.changed = True
        return given_up

    def answer(self, in_force: str) -> None:
        """Tell those that collect history for the definitions in force here that this partition has it."""
        if self._next is None and self._answered != in_force and self._announcements.knows(in_force):
            self._answered = in_force
            self._broadcast(Announcement(in_force, self._number, WHOLE))

    def give_up(self) -> None:
        """Begin with round 1 again: other definitions take the place of the next ones here or elsewhere."""
        found = self._next
        if found is not None:
            if found.round:
                self.announce(DROPPED)
            self._announcements.forget(found.version)
            found.round, found.draft_rounds, found.walk, found.moved = 0, 0, 1, False
            self.walked, self.changed = False, True

    def end(self) -> bool:
        """Forget what was announced for the next definitions, once all have switched; return whether so."""
        found = self._next
        if found is None or not self._announcements.all_switched(found.version):
            return False
        self._announcements.forget(found.version)
        return True
