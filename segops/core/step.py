"""One step of one profile: its result, and for the identity protocol its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from segops.core.events import Change
from segops.core.messages import Claim, Forget, Handover, MergeRequest, Message, Refused, Restore
from segops.core.profile import Profile
from segops.core.skips import Skip


class Unjoined(msgspec.Struct, frozen=True):
    """An identifier that an event carried and that does not become one with the profile."""

    reason: str  #: ``conflict``, ``limit``, ``size`` or ``split``
    profile_id: str
    identifier: str
    detail: str


class Erased(msgspec.Struct, frozen=True):
    """What was stored under an identifier is gone, by ``request``. ``others``: where more of it is to go.

    ``found``: what it was: ``profile`` or, where there was none, ``nobody``; below it ``redirect`` or
    ``nothing``.
    """

    request: str
    identifier: str
    found: str
    others: tuple[str, ...] = ()


_Item = TypeVar("_Item")
_NO_COUNTS: Final[Mapping[str, int]] = MappingProxyType({})


class StepResult(msgspec.Struct, gc=False):
    """The effects of one step: what to publish, to send and to count.

    Most steps have none, and a list takes longer to make than the rest of the result: so the defaults are
    shared and immutable, and the methods make a list where there is something to add.

    ``counts``: joined, relayed, limit, conflict, overflow, unheld, gave_up, stale, returned, split, erased.
    ``unjoined`` names each identifier once, as long as the profile remembers it.
    """

    #: In the order decided.
    changes: Sequence[Change] = ()
    #: False: the profile is as it was and need not be written.
    moved: bool = True
    #: Messages that had been applied before.
    duplicates: int = 0
    #: Values that rules could not read.
    skipped: Sequence[Skip] = ()
    #: Segments whose rule failed: their membership was kept.
    failures: Sequence[str] = ()
    #: To other profiles.
    messages: Sequence[Message] = ()
    counts: Mapping[str, int] = _NO_COUNTS
    unjoined: Sequence[Unjoined] = ()
    erased: Sequence[Erased] = ()
    #: Where something was erased: the segments in which it can have been.
    segments: frozenset[str] = frozenset()
    #: Whether the profile waits for answers now; None: as before.
    waiting: bool | None = None

    def add_change(self, change: Change) -> None:
        """Append a change."""
        self.changes = _with(self.changes, (change,))

    def add_failure(self, segment_key: str) -> None:
        """Append a segment whose rule failed."""
        self.failures = _with(self.failures, (segment_key,))

    def skip(self, skip: Skip) -> None:
        """Note a value that was passed over, once for the step."""
        if skip not in self.skipped:
            self.skipped = _with(self.skipped, (skip,))

    def send(self, message: Message) -> None:
        """Append a message."""
        self.messages = _with(self.messages, (message,))

    def send_all(self, messages: Iterable[Message]) -> None:
        """Append messages."""
        self.messages = _with(self.messages, messages)

    def add_unjoined(self, unjoined: Unjoined) -> None:
        """Append an identifier that does not become one with the profile."""
        self.unjoined = _with(self.unjoined, (unjoined,))

    def add_erased(self, erased: Erased, segments: Iterable[str]) -> None:
        """Append an erasure, and where its memberships can have been."""
        self.erased = _with(self.erased, (erased,))
        self.segments = self.segments.union(segments)

    def count(self, what: str, number: int = 1) -> None:
        """Count something that happened."""
        if number:
            self.counts = {**self.counts, what: self.counts.get(what, 0) + number}

    def add(self, other: StepResult) -> None:
        """Append the effects of an engine's step, which has no other than these."""
        if other.changes:
            self.changes = _with(self.changes, other.changes)
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
    """One step: the profile, the clock it is taken at, the instant of its cause, and its result.

    ``full``: there is no room in the profile for what is handed over.
    """

    profile: Profile
    clock_ms: int
    at_ms: int
    result: StepResult
    full: bool = False

    def send(self, message: Claim | MergeRequest | Handover | Refused | Forget | Restore) -> None:
        """Send a message that is dated by the cause of this step."""
        message.at_ms = self.at_ms
        self.result.send(message)
