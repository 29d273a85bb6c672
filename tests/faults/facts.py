"""What a check is given: the evidence and the reference's account of it; and what it finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from segops.core.events import Change
from segops.schemas.changes import decode_change

from .evidence import Evidence, StoreFound
from .reference import Replayer, Told

#: How the reason of a dead letter begins that only says something about a record that was applied.
NOTE = "identity_"


class Finding(NamedTuple):
    """Something that must not be. ``kind``: lost, duplicated or wrong."""

    check: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.check} {self.kind}: {self.text}"


@dataclass
class Facts:
    """The evidence, and what the reference makes of it."""

    seen: Evidence
    _told: dict[int, Told] = field(default_factory=dict)

    def told(self, partition: int) -> Told:
        """The reference's account of a partition, up to what is committed of it."""
        if partition not in self._told:
            self._told[partition] = tell(self.seen, partition)
        return self._told[partition]

    @cached_property
    def changes(self) -> dict[str, list[Change]]:
        """The changes of each profile, each once, in the order of their first appearance."""
        found: dict[str, list[Change]] = defaultdict(list)
        known: set[str] = set()
        for record in self.seen.all_of(self.seen.settings.topics.membership_changes):
            change = decode_change(record.value)
            if change.change_id not in known:
                known.add(change.change_id)
                found[change.profile_id].append(change)
        return found

    @cached_property
    def letters(self) -> list[tuple[str, str]]:
        """The dead letters: why, and the record."""
        records = self.seen.all_of(self.seen.settings.topics.dead_letters)
        headers = (dict(record.headers) for record in records)
        return [(each["segops-reason"].decode(), each["segops-origin"].decode()) for each in headers]

    @cached_property
    def changelog(self) -> dict[int, dict[str, bytes]]:
        """What a store must hold that read each partition's changelog from the beginning."""
        return {partition: self.changelog_until(partition, 1 << 60) for partition in self.seen.partitions}

    def changelog_until(self, partition: int, last: int) -> dict[str, bytes]:
        """The same, up to and with offset ``last``."""
        states: dict[str, bytes] = {}
        for record in self.seen.log(self.seen.settings.worker.changelog, partition):
            if record.offset > last or record.key is None or record.key.startswith(b"\0"):
                continue
            if record.value is None:
                states.pop(record.key.decode(), None)
            else:
                states[record.key.decode()] = record.value
        return states

    def newest_store(self, partition: int) -> StoreFound | None:
        """The store that is furthest in the changelog: its owner's, unless somebody failed."""
        found = [s for s in self.seen.stores if s.partition == partition and not s.problem]
        return max(found, key=lambda store: store.changelog_offset, default=None)


def tell(seen: Evidence, partition: int, **how: int) -> Told:
    """The reference's account of a partition, up to what is committed of it."""
    topics = seen.settings.topics
    until = seen.committed.get((topics.profile_events, partition), (0, ""))[0]
    by_events = seen.settings.engine.clock == "event"
    replayer = Replayer(seen.definitions, topics.partitions, by_events=by_events, **how)
    return replayer.run(r for r in seen.log(topics.profile_events, partition) if r.offset < until)


Check = Callable[[Facts], Iterator[Finding]]
