"""A simulated network of partitions: logs, delays, crashes and duplicates, all drawn from one seed.

Each partition is an append-only log that is read in order, with a store and a clock that only records of the
log advance. Messages between two partitions keep their order; the delay of each link and the partition that
runs next are random. A partition that crashes returns to its last checkpoint and resends profiles after
it. Any message may also be duplicated, much later.
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
    """Return the message as a consumer reads it back from a topic."""
    return _decoder.decode(_encoder.encode(message))


class Partition:
    """One partition: its log, its position, its store and its checkpoint. A number in the log is a tick."""

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
    """The partitions, the messages in flight between them, and every published change."""

    def __init__(
        self,
        segments: SegmentSet,
        *,
        partitions: int,
        seed: int,
        fault_rate: float = 0.0,
        rules: Rules | None = None,
    ) -> None:
        self.identity = Identity(Engine(segments), rules)
        self.random = random.Random(seed)
        self.partitions = [Partition() for _ in range(partitions)]
        self.in_flight: dict[tuple[int, int], deque[Message | int]] = {}
        self.fault_rate = fault_rate
        self.duplicates: list[tuple[tuple[int, int], Message]] = []
        self.published: dict[tuple[str, int], Change] = {}
        self.counts: Counter[str] = Counter()
        self.hops = 0

    def partition_of(self, identifier: str) -> int:
        return crc32(identifier.encode()) % len(self.partitions)

    def send(self, source: int, message: Message) -> None:
        link = source, self.partition_of(message.to)
        self.in_flight.setdefault(link, deque()).append(message)
        self.hops = max(self.hops, message.hops)
        if self.random.random() < self.fault_rate:
            self.duplicates.append((link, message))

    def post(self, event: Event) -> None:
        """Send an input event to the partition of its first identifier."""
        self.send(-1, Forward(self.identity.rules.identifiers_of(event)[0], event))

    def tick(self, clock_ms: int) -> None:
        """Send a tick to every partition; each reads it after a delay of its own."""
        for partition in range(len(self.partitions)):
            self.in_flight.setdefault((-2, partition), deque()).append(clock_ms)

    def run(self, events: Iterable[Event] = (), *, steps: int = 10**6) -> None:
        """Post the events, a few at a time, and run until no message is in flight."""
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
                self._inject_fault()
            elif self.duplicates:
                self._duplicate()
            else:
                return
        raise AssertionError(f"messages are still in flight after {steps} steps")

    def _deliveries(self) -> Iterable[Callable[[], None]]:
        for (_, partition), queue in self.in_flight.items():
            if queue:
                yield lambda partition=partition, queue=queue: self.partitions[partition].log.append(
                    queue.popleft()
                )  # type: ignore[misc]

    def _readers(self) -> Iterable[Callable[[], None]]:
        for number, partition in enumerate(self.partitions):
            if partition.position < len(partition.log):
                yield lambda number=number: self._read(number)  # type: ignore[misc]

    def _inject_fault(self) -> None:
        partition = self.random.choice(self.partitions)
        if self.random.random() < 0.1:
            partition.checkpoint()
        elif self.random.random() < self.fault_rate:
            partition.crash()
        elif self.duplicates and self.random.random() < self.fault_rate:
            self._duplicate()

    def _duplicate(self) -> None:
        """Duplicate a message, behind all messages sent on its link since."""
        link, message = self.duplicates.pop(self.random.randrange(len(self.duplicates)))
        self.in_flight[link].append(message)

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
        # The handler may modify its message; a copy keeps the sender's, which may be sent duplicates, intact.
        result = self.identity.on_message(profile, copied(record), clock_ms=partition.clock_ms)
        self._publish(result.changes)
        self.counts.update(result.counts)
        assert not result.failures
        for message in result.messages:
            self.send(number, copied(message))

    def _publish(self, changes: list[Change]) -> None:
        for change in changes:
            known = self.published.setdefault((change.profile_id, change.sequence), change)
            assert known == change

    def stored(self, identifier: str) -> Profile | None:
        return self.partitions[self.partition_of(identifier)].store.get(identifier)

    def root(self, identifier: str) -> str:
        """Follow redirects to a profile and return its id. Raises AssertionError for a cycle."""
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
    def profiles(self) -> dict[str, Profile]:
        return {key: profile for partition in self.partitions for key, profile in partition.store.items()}
