"""The input of a check (evidence and reference) and its output (findings)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from segops.core.events import Change
from segops.core.segments import Definition
from segops.schemas.changes import decode_change

from .evidence import Evidence, StoreFound
from .handovers import Handovers
from .reference import PartitionAccount, Replayer

#: Dead letters whose reason has this prefix are notes on records that were applied.
NOTE = "identity_"


class Finding(NamedTuple):
    """A violated invariant. ``kind`` is lost, duplicated or wrong."""

    check: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.check} {self.kind}: {self.text}"


@dataclass
class Facts:
    """The evidence and the reference computed from it, each read or computed once."""

    evidence: Evidence
    _accounts: dict[int, PartitionAccount] = field(default_factory=dict)

    def account(self, partition: int) -> PartitionAccount:
        """Return the reference's account of a partition up to its committed offset."""
        if partition not in self._accounts:
            self._compute(partition)
        return self._accounts[partition]

    def _compute(self, partition: int) -> None:
        evidence = self.evidence
        if evidence.circumstances.adopts:
            self._accounts = dict(enumerate(accounts_of(evidence, evidence.definitions)))
        else:
            self._accounts[partition] = account_of(evidence, partition)

    @cached_property
    def changes(self) -> dict[str, list[Change]]:
        """The distinct changes of each profile in order of first publication."""
        found: dict[str, list[Change]] = defaultdict(list)
        known: set[str] = set()
        for record in self.evidence.all_of(self.evidence.settings.topics.membership_changes):
            change = decode_change(record.value)
            if change.change_id not in known:
                known.add(change.change_id)
                found[change.profile_id].append(change)
        return found

    @cached_property
    def letters(self) -> list[tuple[str, str]]:
        """The reason and origin of each dead letter."""
        records = self.evidence.all_of(self.evidence.settings.topics.dead_letters)
        headers = (dict(record.headers) for record in records)
        return [(each["segops-reason"].decode(), each["segops-origin"].decode()) for each in headers]

    @cached_property
    def changelog(self) -> dict[int, dict[str, bytes]]:
        """By partition, the states that a full replay of the changelog yields."""
        return {partition: self.changelog_until(partition, 1 << 60) for partition in self.evidence.partitions}

    def changelog_until(self, partition: int, last: int) -> dict[str, bytes]:
        """Return the states that replaying the changelog up to and including offset ``last`` yields."""
        states: dict[str, bytes] = {}
        for record in self.evidence.log(self.evidence.settings.worker.changelog, partition):
            if record.offset > last or record.key is None or record.key.startswith(b"\0"):
                continue
            if record.value is None:
                states.pop(record.key.decode(), None)
            else:
                states[record.key.decode()] = record.value
        return states

    def newest_store(self, partition: int) -> StoreFound | None:
        """Return the readable store with the highest changelog offset, normally the partition owner's."""
        found = [s for s in self.evidence.stores if s.partition == partition and not s.problem]
        return max(found, key=lambda store: store.changelog_offset, default=None)


def account_of(evidence: Evidence, partition: int, **options: int) -> PartitionAccount:
    """Compute the reference's account of a partition up to its committed offset."""
    return _replayer(evidence, evidence.definitions, **options).run(_log_of(evidence, partition))


def accounts_of(
    evidence: Evidence,
    definitions: list[Definition],
    note_at: Sequence[Mapping[int, int]] | None = None,
) -> list[PartitionAccount]:
    """Compute the accounts of all partitions as if these definitions had been in force from the start.

    ``note_at``: of each partition, as of ``Replayer.steps``. The partitions are replayed together, since
    they hand profiles over by these definitions, too.
    """
    handovers = Handovers()
    replayers = [_replayer(evidence, definitions) for _ in evidence.partitions]
    left = [
        replayer.steps(_log_of(evidence, number), note_at[number] if note_at else {}, handovers)
        for number, replayer in enumerate(replayers)
    ]
    while left:
        before = [replayer.offset for replayer in replayers]
        left = [steps for steps in left if next(steps, left) is None]
        if left and before == [replayer.offset for replayer in replayers]:
            handovers.all_sent = True  # the others never come, which the check of messages reports
    return [replayer.account for replayer in replayers]


def _replayer(evidence: Evidence, definitions: list[Definition], **options: int) -> Replayer:
    by_events = evidence.settings.engine.clock == "event"
    return Replayer(definitions, evidence.settings.topics.partitions, by_events=by_events, **options)


def _log_of(evidence: Evidence, partition: int) -> Iterator[Any]:
    """Yield the profile events of a partition up to its committed offset."""
    topic = evidence.settings.topics.profile_events
    until = evidence.committed.get((topic, partition), (0, ""))[0]
    return (record for record in evidence.log(topic, partition) if record.offset < until)


Check = Callable[[Facts], Iterator[Finding]]
