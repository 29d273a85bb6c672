"""A simulated network of partitions: logs, delays, crashes and repetitions, all drawn from one seed.

Each lane is a partition as Kafka has it: a log that others append to, read in order, with a store and a
clock that only records of the log move. Between two lanes messages keep their order; how long each link
takes, and which lane works next, is random. A lane may crash: it goes back to its last checkpoint and sends
everything since once more. Any message may also come again, much later.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from zlib import crc32

import msgspec

from segops.core.engine import Engine
from segops.core.events import Change, Event
from segops.core.identifiers import Rules
from segops.core.identity.protocol import Identity
from segops.core.messages import Forward, Message
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.schemas.state import decode_profile, encode_profile

_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Message)


def copied(message: Message) -> Message:
    """What arrives of a message that was written to a topic."""
    return _decoder.decode(_encoder.encode(message))


class Partition:
    """One partition: its log, how far it has read, and what it keeps. A number in the log is a tick."""

    def __init__(self) -> None:
        self.log: list[Message | int] = []
        self.position = 0
        self.clock_ms = -(10**14)
        self.store: dict[str, Profile] = {}
        self.saved: tuple[int, int, dict[str, bytes]] = (0, self.clock_ms, {})

    def checkpoint(self) -> None:
        stored = {key: encode_profile(profile) for key, profile in self.store.items()}
        self.saved = (self.position, self.clock_ms, stored)

    def crash(self) -> None:
        self.position, self.clock_ms, stored = self.saved
        self.store = {key: decode_profile(data) for key, data in stored.items()}


class Network:
    """Lanes, what is under way between them, and all that was published."""

    def __init__(
        self,
        segments: SegmentSet,
        *,
        partitions: int,
        seed: int,
        trouble: float = 0.0,
        rules: Rules | None = None,
    ) -> None:
        self.identity = Identity(Engine(segments), rules)
        self.random = random.Random(seed)
        self.partitions = [Partition() for _ in range(partitions)]
        self.under_way: dict[tuple[int, int], deque[Message | int]] = {}
        self.trouble = trouble
        self.again: list[tuple[tuple[int, int], Message]] = []
        self.published: dict[tuple[str, int], Change] = {}
        self.counts: Counter[str] = Counter()
        self.hops = 0

    def partition_of(self, identifier: str) -> int:
        return crc32(identifier.encode()) % len(self.partitions)

    def send(self, source: int, message: Message) -> None:
        link = source, self.partition_of(message.to)
        self.under_way.setdefault(link, deque()).append(message)
        self.hops = max(self.hops, message.hops)
        if self.random.random() < self.trouble:
            self.again.append((link, message))

    def post(self, event: Event) -> None:
        """An event from outside, to the lane of its first identifier."""
        self.send(-1, Forward(self.identity.rules.identifiers_of(event)[0], event))

    def tick(self, clock_ms: int) -> None:
        """The clock of every lane reaches an instant, each in its own time."""
        for partition in range(len(self.partitions)):
            self.under_way.setdefault((-2, partition), deque()).append(clock_ms)

    def run(self, events: Iterable[Event] = (), *, steps: int = 10**6) -> None:
        """Post the events, a few at a time, and go on until nothing is under way."""
        left = deque(events)
        for _ in range(steps):
            moves = [*self._deliveries(), *self._readers()]
            if left and (not moves or self.random.random() < 0.3):
                event = left.popleft()
                self.post(event)
                if self.random.random() < 0.2:
                    self.tick(event.time_ms)
            elif moves:
                self.random.choice(moves)()
                self._trouble()
            elif self.again:
                self._repeat()
            else:
                return
        raise AssertionError("it does not come to rest")

    def _deliveries(self) -> Iterable[Callable[[], None]]:
        for (_, partition), queue in self.under_way.items():
            if queue:
                yield lambda partition=partition, queue=queue: self.partitions[partition].log.append(
                    queue.popleft()
                )  # type: ignore[misc]

    def _readers(self) -> Iterable[Callable[[], None]]:
        for number, partition in enumerate(self.partitions):
            if partition.position < len(partition.log):
                yield lambda number=number: self._read(number)  # type: ignore[misc]

    def _trouble(self) -> None:
        partition = self.random.choice(self.partitions)
        if self.random.random() < 0.1:
            partition.checkpoint()
        elif self.random.random() < self.trouble:
            partition.crash()
        elif self.again and self.random.random() < self.trouble:
            self._repeat()

    def _repeat(self) -> None:
        """A message comes once more, behind all that was sent on its way since."""
        link, message = self.again.pop(self.random.randrange(len(self.again)))
        self.under_way[link].append(message)

    def _read(self, number: int) -> None:
        partition = self.partitions[number]
        record = partition.log[partition.position]
        partition.position += 1
        if isinstance(record, int):
            partition.clock_ms = max(partition.clock_ms, record)
            for profile in partition.store.values():
                if profile.due_ms is not None and profile.due_ms <= partition.clock_ms:
                    self._publish(self.identity.on_timer(profile, clock_ms=partition.clock_ms).changes)
            return
        profile = partition.store.get(record.to) or self.identity.engine.new_profile(record.to)
        partition.store[record.to] = profile
        # Whoever handles a message owns it: what the sender keeps for a repetition stays as it is.
        outcome = self.identity.on_message(profile, copied(record), clock_ms=partition.clock_ms)
        self._publish(outcome.changes)
        self.counts.update(outcome.counts)
        assert not outcome.failures
        for message in outcome.messages:
            self.send(number, copied(message))

    def _publish(self, changes: list[Change]) -> None:
        for change in changes:
            known = self.published.setdefault((change.profile_id, change.sequence), change)
            assert known == change

    def stored(self, identifier: str) -> Profile | None:
        return self.partitions[self.partition_of(identifier)].store.get(identifier)

    def root(self, identifier: str) -> str:
        """The profile that an identifier leads to. Raises AssertionError for a circle of redirects."""
        seen = [identifier]
        while (profile := self.stored(seen[-1])) is not None and profile.merged_into is not None:
            assert profile.merged_into not in seen, seen
            seen.append(profile.merged_into)
        return seen[-1]

    def profile(self, identifier: str) -> Profile:
        found = self.stored(self.root(identifier))
        assert found is not None
        return found

    @property
    def everything(self) -> dict[str, Profile]:
        return {key: profile for partition in self.partitions for key, profile in partition.store.items()}
