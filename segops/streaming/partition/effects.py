"""The effects of steps on a partition: the published records and the partition-wide sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

from segops.core.events import Change, withdrawn
from segops.core.links import is_blank
from segops.core.profile import Profile
from segops.core.step import StepResult
from segops.schemas.records import Record
from segops.streaming.partition.output import Counts, OutboxOutput, Output
from segops.streaming.partition.tallies import Tallies

INTERNAL: Final = "internal"


class Effects:
    """Publishes the results of steps and maintains the sums of one partition.

    ``sizes``: the number of members of each segment. ``base``: the first sequence of a new profile, greater
    than that of every erased profile. ``counts``: the counts since they were last taken.
    """

    def __init__(self, output: Output, tallies: Tallies, sizes: dict[str, int], base: int) -> None:
        self.sizes: Counter[str] = Counter(sizes)
        self.base = base
        self.counts = Counts()
        self._output = output
        self._outboxes = output if isinstance(output, OutboxOutput) else None
        self._tallies = tallies
        #: (profile, segment) of every change since the sweep began; None without a sweep.
        self._changed: set[tuple[str, str]] | None = None

    def begin(self, profile: Profile) -> None:
        """Start the sequence of a new profile at the base."""
        if is_blank(profile) and profile.merged_into is None:
            profile.sequence = max(profile.sequence, self.base)

    def accept(self, result: StepResult, profile: Profile, record: Record) -> None:
        """Publish and count the result of a step that ``record`` caused."""
        if result.messages:
            self._output.send(result.messages, arrived_ms=record.timestamp)
        if result.changes or result.values or result.skipped or result.failures:
            self.accept_timed(result, record.timestamp)
        if result.duplicates:
            self.counts.duplicates += result.duplicates
        if result.counts or result.not_merged:
            self._note_identities(result, record)
        if result.erased:
            # If the identifier returns, none of its changes may reuse the id of an earlier one.
            self.base = max(self.base, profile.sequence + 1)
            self._output.erased(result.erased, result.segments, offset=record.offset)
        if result.waiting is not None:
            self._note_waiting(profile, waits=result.waiting)

    def accept_timed(self, result: StepResult, arrived_ms: int | None) -> None:
        """Publish and count the result of a step that time or new definitions caused."""
        if result.changes:
            self.publish(result.changes, arrived_ms)
        if result.values:
            self._output.publish_values(result.values)
        if result.skipped:
            self.counts.skipped.update((skip.path, skip.found) for skip in result.skipped)
        if result.failures:
            self.counts.failures.update(result.failures)

    def publish(self, changes: Sequence[Change], arrived_ms: int | None) -> None:
        """Publish changes and adjust the sizes."""
        for change in changes:
            self.sizes[change.segment_key] += 1 if change.member else -1
        self.publish_corrections(changes, arrived_ms)

    def publish_from(self, native: Any) -> bool:
        """Publish the changes of the kernel's part of a partition; False: as objects by ``publish``."""
        if self._changed is not None or self._outboxes is None:
            return False
        found = self._outboxes.publish_from(native)
        if found is None:
            return False
        for segment, _, _, member, number in found.counts:
            self.sizes[segment] += number if member else -number
        self._tallies.note_moves(found.moves)
        return True

    def send_from(self, native: Any) -> None:
        """Send the messages of the kernel's part of a partition to other profiles."""
        if self._outboxes is not None:
            self._outboxes.send_from(native)
            return
        for to, kind, value, arrived_ms in native.take_messages():
            self._output.send_encoded(to, kind, value, arrived_ms=arrived_ms)

    def publish_corrections(self, changes: Sequence[Change], arrived_ms: int | None) -> None:
        """Publish changes that the sizes already include."""
        if self._changed is not None:
            self._changed.update((change.profile_id, change.segment_key) for change in changes)
        self._tallies.note(changes)
        self._output.emit(changes, arrived_ms=arrived_ms)

    def _note_identities(self, result: StepResult, record: Record) -> None:
        self.counts.identities.update(result.counts)
        for each in result.not_merged:
            verb = "split from" if each.reason == "split" else "merged with"
            detail = f"{each.profile_id} is not {verb} {each.identifier}: {each.detail}"
            self._output.dead_letter(record, f"identity_{each.reason}", detail)
        if "gave_up" in result.counts:
            self._output.reject(record, INTERNAL, "forwarded too often: the redirects form a cycle")

    def _note_waiting(self, profile: Profile, *, waits: bool) -> None:
        if waits:
            self._output.wait_started(profile.id)
        else:
            self._output.wait_ended(profile.id, 0 if profile.links is None else len(profile.links.owned))

    def begin_sweep(self) -> None:
        """Record the published changes from now on."""
        self._changed = set()

    def end_sweep(self) -> None:
        """Stop recording the published changes."""
        self._changed = None

    def withdraw(
        self, rows: Sequence[Change], members: Collection[str], *, after: int, at_ms: int, again: bool
    ) -> int:
        """End the published memberships that are not among ``members``; return how many were published.

        Their sequences follow ``after`` and no other change has them: a repetition assigns the same ones. The
        profile itself, which may not exist, does not change. ``again``: also publish the ends that an
        interrupted attempt has already published.
        """
        changed = self._changed or ()
        untrue = [
            row
            for row in rows
            if row.segment_key not in members and (row.profile_id, row.segment_key) not in changed
        ]
        ends = [
            withdrawn(row, sequence=sequence, at_ms=at_ms)
            for sequence, row in enumerate(untrue, after + 1)
            if row.member or again
        ]
        if ends:
            self._output.emit(ends, arrived_ms=None)
        return len(ends)
