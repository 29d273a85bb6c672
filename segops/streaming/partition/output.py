"""The outputs and counts of a processor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from segops.core.events import Change, IndicatorValue
from segops.core.messages import Message, Rows
from segops.core.step import Erased
from segops.schemas.records import Headers, Record
from segops.schemas.scans import Answer
from segops.schemas.sizes import Published, RecordKey
from segops.schemas.ticks import TICK_HEADERS


class QuarantineRecord(NamedTuple):
    """Unreadable bytes to publish: ``found_in`` a stored ``profile``, or in a ``handover`` of one.

    ``offset`` is the partition's offset in profile events at that moment; ``of`` is the digest of the bytes.
    """

    profile_id: str
    found_in: str
    data: bytes
    of: str
    reason: str
    offset: int


class Output(Protocol):
    """The only way in which the processors of one partition affect anything outside the process."""

    def forward(self, key: bytes, value: bytes | None, *, headers: Headers, timestamp: int) -> None:
        """Append a record to the partition of profile events for ``key``."""

    def broadcast(self, value: bytes, *, headers: Headers = TICK_HEADERS) -> None:
        """Append a record without a key, by default a tick, to every partition of profile events."""

    def answer(self, answer: Answer) -> None:
        """Publish the answer of this partition to a scan."""

    def move(self, rows: Rows) -> None:
        """Send rows of past events to another profile. Nothing waits for them."""

    def emit(self, changes: Sequence[Change], *, arrived_ms: int | None) -> None:
        """Publish changes in order. ``arrived_ms``: the Kafka timestamp of the record that caused them."""

    def publish_values(self, values: Sequence[IndicatorValue]) -> None:
        """Publish new values of indicators in order."""

    def delete_values(self, keys: Sequence[bytes]) -> None:
        """Delete rows of this partition of the indicators topic."""

    def reject(self, record: Record, reason: str, detail: str) -> None:
        """Send a record to the dead-letter topic and log it: it should not have failed."""

    def dead_letter(self, record: Record, reason: str, detail: str) -> None:
        """Send a copy of a record to the dead-letter topic, with a detail for people."""

    def send(self, messages: Sequence[Message], *, arrived_ms: int) -> None:
        """Send messages to other profiles, in order."""

    def send_encoded(self, to: str, kind: str, value: bytes, *, arrived_ms: int) -> None:
        """Send a message of this type (``name_of``) that is encoded already."""

    def erased(self, erased: Sequence[Erased], segments: Collection[str], *, offset: int) -> None:
        """Delete the rows of profiles that the record at ``offset`` erased, and publish receipts."""

    def delete_rows(self, keys: Sequence[bytes]) -> None:
        """Delete rows of this partition of the state topic."""

    def publish_figures(self, record: Published) -> None:
        """Publish a size, a trend or the population."""

    def delete_size(self, key: RecordKey) -> None:
        """Delete the published size of a segment that is over."""

    def quarantine(self, record: QuarantineRecord) -> None:
        """Publish unreadable bytes to the quarantine topic."""

    def released(self, profile_id: str) -> None:
        """Delete the quarantine record of a released profile."""

    def wait_started(self, profile_id: str) -> None:
        """Note that a profile starts to wait for others."""

    def wait_ended(self, profile_id: str, identifiers: int) -> None:
        """Note that a profile no longer waits, and how many identifiers it has."""


class Encoded(NamedTuple):
    """What the kernel has published: changes by (segment, action, reason, member), and moves by profile.

    A move is a minute of the clock (ms), a segment, a reason, and whether the profile entered it.
    """

    counts: Sequence[tuple[str, str, str, bool, int]]
    moves: Sequence[tuple[str, tuple[int, str, str, bool]]]


@runtime_checkable
class OutboxOutput(Output, Protocol):
    """An output with outboxes, which take records from the kernel in order with those from Python."""

    @property
    def forward_outboxes(self) -> Sequence[Any]:
        """The outboxes of the partitions of profile events."""

    def send_from(self, native: Any) -> None:
        """Send the messages of the kernel's part of a partition to other profiles, in order."""

    def publish_from(self, native: Any) -> Encoded | None:
        """Publish the changes of the kernel's part of a partition; None: they must be emitted as objects."""


@dataclass
class ResolveCounts:
    """Counts of the resolve step since they were last taken."""

    records: int = 0
    clamped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)


@dataclass
class Counts:
    """Counts of the segment step since they were last taken."""

    records: int = 0
    duplicates: int = 0
    late: int = 0
    #: (path, type found) of values that rules could not read.
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    timers: int = 0
    broken: list[str] = field(default_factory=list)
    lateness_ms: list[int] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    #: See ``segops.core.step.StepResult``.
    identities: Counter[str] = field(default_factory=Counter)
    #: Records and timers that the kernel left to Python, by reason.
    left_to_python: Counter[str] = field(default_factory=Counter)
