"""The conductor: an event or a timer in, a transition out. (Skeleton: signatures are final.)"""

from __future__ import annotations

import msgspec

from segops.core.events import Change, Event
from segops.core.profile import Profile


class Transition(msgspec.Struct, gc=False):
    """What one step did: the changes in the order decided, and what the shell should count."""

    changes: list[Change] = []
    moved: bool = True          # False: the profile is as it was and need not be written
    duplicate: bool = False     # the message had been applied before
    skipped_values: int = 0     # values that an aggregate could not read
    failures: list[str] = []    # segments whose rule failed (their membership was kept)


class Engine:
    """Judges profiles against one set of segments. Profiles are changed in place."""

    version: str = "0"          # identity of the segment set (stored in profile.judged_by)

    def new_profile(self, profile_id: str) -> Profile:
        """A profile before its first event."""
        return Profile(id=profile_id)

    def on_event(self, profile: Profile, event: Event, *, clock_ms: int) -> Transition:
        """Fire what is due before the event, apply it, judge. ``clock_ms``: the partition's clock."""
        profile.sequence += 0
        return Transition()

    def on_timer(self, profile: Profile, *, clock_ms: int) -> Transition:
        """Judge every instant due up to ``clock_ms``, each on its own."""
        return Transition()

    def on_definitions(self, profile: Profile, *, clock_ms: int) -> Transition:
        """Judge a profile whose ``judged_by`` is not this engine's ``version``; reason: definition."""
        return Transition()
