"""One step of one profile: its result and, for the identity protocol, its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from segops.core.events import Change, IndicatorValue
from segops.core.messages import Claim, Forget, Handover, MergeRequest, Message, Refused, Restore
from segops.core.profile import Profile
from segops.core.skips import Skip


class NotMerged(msgspec.Struct, frozen=True):
    """An identifier that an event or request named and that is not merged with (or split off) the profile."""

    reason: str  #: ``conflict``, ``limit``, ``size`` or ``split``
    profile_id: str
    identifier: str
    detail: str


class Erased(msgspec.Struct, frozen=True):
    """The erasure of what was stored under an identifier. ``others``: further identifiers to erase.

    ``found`` says what was erased: ``profile``, or ``nobody`` if there was none; under the further
    identifiers ``redirect``, or ``nothing``.
    """

    request: str
    identifier: str
    found: str
    others: tuple[str, ...] = ()


_Item = TypeVar("_Item")
_NO_COUNTS: Final[Mapping[str, int]] = MappingProxyType({})


class StepResult(msgspec.Struct, gc=False):
    """The effects of one step: what to publish, to send and to count.

    Most steps have no effects, and creating lists would cost more than the rest of the result. So the
    defaults are shared and immutable, and the methods create a list when there is something to add.

    ``counts``: merged, relayed, limit, conflict, overflow, unheld, gave_up, stale, returned, split, erased.
    ``not_merged`` reports each identifier once, as long as the profile remembers it.
    """

    #: In the order of their sequence numbers.
    changes: Sequence[Change] = ()
    #: False: the profile is unchanged and need not be written.
    moved: bool = True
    #: Messages skipped because they had been applied before.
    duplicates: int = 0
    #: Values that rules could not read.
    skipped: Sequence[Skip] = ()
    #: Segments whose rule failed, and indicators whose figure did; they are unchanged.
    failures: Sequence[str] = ()
    #: To other profiles.
    messages: Sequence[Message] = ()
    counts: Mapping[str, int] = _NO_COUNTS
    not_merged: Sequence[NotMerged] = ()
    erased: Sequence[Erased] = ()
    #: New values of indicators, in order.
    values: Sequence[IndicatorValue] = ()
    #: For an erasure: the segments that the profile may have been in.
    segments: frozenset[str] = frozenset()
    #: Whether the profile waits for answers now; None: unchanged.
    waiting: bool | None = None

    def add_change(self, change: Change) -> None:
        """Append a membership change."""
        self.changes = _with(self.changes, (change,))

    def add_value(self, value: IndicatorValue) -> None:
        """Append a new value of an indicator."""
        self.values = _with(self.values, (value,))

    def add_failure(self, segment_key: str) -> None:
        """Append a segment or indicator that failed."""
        self.failures = _with(self.failures, (segment_key,))

    def skip(self, skip: Skip) -> None:
        """Append a skipped value, once per step."""
        if skip not in self.skipped:
            self.skipped = _with(self.skipped, (skip,))

    def send(self, message: Message) -> None:
        """Append a message."""
        self.messages = _with(self.messages, (message,))

    def send_all(self, messages: Iterable[Message]) -> None:
        """Append messages."""
        self.messages = _with(self.messages, messages)

    def add_not_merged(self, not_merged: NotMerged) -> None:
        """Append an identifier that is not merged."""
        self.not_merged = _with(self.not_merged, (not_merged,))

    def add_erased(self, erased: Erased, segments: Iterable[str]) -> None:
        """Append an erasure, and the segments that the profile may have been in."""
        self.erased = _with(self.erased, (erased,))
        self.segments = self.segments.union(segments)

    def count(self, name: str, number: int = 1) -> None:
        """Increment a count (see the class)."""
        if number:
            self.counts = {**self.counts, name: self.counts.get(name, 0) + number}

    def add(self, other: StepResult) -> None:
        """Append the result of a step of the engine, which sets these fields only."""
        if other.changes:
            self.changes = _with(self.changes, other.changes)
        if other.values:
            self.values = _with(self.values, other.values)
        if other.skipped:
            self.skipped = _with(self.skipped, other.skipped)
        if other.failures:
            self.failures = _with(self.failures, other.failures)
        self.duplicates += other.duplicates


def _with(known: Sequence[_Item], more: Iterable[_Item]) -> Sequence[_Item]:
    if isinstance(known, list):
        known += more
        return known
    return [*known, *more]


class Step(msgspec.Struct, gc=False):
    """One step: the profile, the clock, the instant of its cause, and its result.

    ``full``: the profile has no room for the state that is handed over.
    """

    profile: Profile
    clock_ms: int
    at_ms: int
    result: StepResult
    full: bool = False

    def send(self, message: Claim | MergeRequest | Handover | Refused | Forget | Restore) -> None:
        """Send a message dated with the instant of this step's cause."""
        message.at_ms = self.at_ms
        self.result.send(message)
