"""One step of the identity protocol: what it is taken on, and what comes of it."""

from __future__ import annotations

import msgspec

from segops.core.engine import Transition
from segops.core.events import Change
from segops.core.messages import Claim, Forget, Handover, Join, Message, Refused, Restore
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


class Outcome(msgspec.Struct, gc=False):
    """What one step did. ``counts``: joined, relayed, limit, conflict, overflow, unheld, duplicate, gave_up,
    stale, returned, split.

    ``moved``: whether the profile changed. ``unjoined`` names each identifier once, as long as the profile
    remembers it.
    """

    changes: list[Change] = []
    messages: list[Message] = []
    counts: dict[str, int] = {}
    skipped: list[Skip] = []
    failures: list[str] = []
    moved: bool = True
    unjoined: list[Unjoined] = []
    erased: list[Erased] = []
    #: Where something was erased: the segments in which it can have been.
    segments: set[str] = set()

    def add(self, transition: Transition) -> None:
        """Take in what the engine did."""
        self.changes += transition.changes
        self.skipped += transition.skipped
        self.failures += transition.failures
        if transition.duplicate:
            self.count("duplicate")

    def count(self, what: str, number: int = 1) -> None:
        """Count something that happened."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number


class Turn(msgspec.Struct, gc=False):
    """One step: the profile, the clock it is taken at, the instant of its cause, and what comes of it.

    ``full``: there is no room in the profile for what is handed over.
    """

    profile: Profile
    clock_ms: int
    at_ms: int
    outcome: Outcome
    full: bool = False

    def send(self, message: Claim | Join | Handover | Refused | Forget | Restore) -> None:
        message.at_ms = self.at_ms
        self.outcome.messages.append(message)
