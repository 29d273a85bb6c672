"""What a processor publishes and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from segops.core.events import Change
from segops.core.messages import Message
from segops.core.step import Erased
from segops.schemas.records import Headers, Record


class Letter(NamedTuple):
    """What is published of bytes that cannot be read: ``found_in`` a ``profile``, or a ``handover`` of it.

    ``offset`` is where its partition of profile events was; ``of`` names the bytes.
    """

    profile_id: str
    found_in: str
    data: bytes
    of: str
    reason: str
    offset: int


class Output(Protocol):
    """Where the processors of one partition publish: no other effect of theirs leaves the process."""

    def forward(self, key: bytes, value: bytes | None, *, headers: Headers, timestamp: int) -> None:
        """Append a record to the partition of profile events that ``key`` belongs to."""

    def broadcast(self, tick: bytes) -> None:
        """Append a tick to every partition of profile events."""

    def emit(self, changes: Sequence[Change], *, arrived_ms: int | None) -> None:
        """Publish these, in this order. ``arrived_ms``: Kafka's timestamp of the cause, if a record."""

    def reject(self, record: Record, reason: str, detail: str) -> None:
        """Put a record into the dead letters, and log it: it should not have failed."""

    def dead_letter(self, record: Record, reason: str, detail: str) -> None:
        """Put a copy of a record into the dead letters, with what is to be said about it."""

    def send(self, messages: Sequence[Message], *, arrived_ms: int) -> None:
        """Send these to other profiles, in this order."""

    def erased(self, erased: Sequence[Erased], segments: Collection[str]) -> None:
        """Take away what is kept of these in ``segments``, and give receipts."""

    def set_aside(self, letter: Letter) -> None:
        """Publish bytes that cannot be read."""

    def released(self, profile_id: str) -> None:
        """Delete what was published of a profile that was set aside."""

    def began(self, profile_id: str) -> None:
        """A profile waits for others from now on."""

    def ended(self, profile_id: str, identifiers: int) -> None:
        """A profile waits no more, and has so many identifiers."""


@dataclass
class ResolveCounts:
    """What happened in the resolve step since the counts were taken last."""

    records: int = 0
    clamped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)


@dataclass
class Counts:
    """What happened since the counts were taken last."""

    records: int = 0
    duplicates: int = 0
    late: int = 0
    #: Paths of values that rules could not read, and what was found there.
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    timers: int = 0
    broken: list[str] = field(default_factory=list)
    lateness_ms: list[int] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    #: See ``segops.core.step.StepResult``.
    identities: Counter[str] = field(default_factory=Counter)
