"""The stream as the trainer sees it: the profiles of a sample of customers, and decisions taken on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from xxhash import xxh3_64_intdigest

from segops.core.events import Event
from segops.core.identifiers import aliases_of
from segops.core.profile import Profile
from segops.core.training.decisions import Decisions, Task
from segops.core.training.drift import Drift
from segops.core.training.inputs import Inputs
from segops.core.training.quality import Quality
from segops.replay import Replay
from segops.schemas.identifying import DEFAULT, IdentityLimits


class Observer:
    """Applies events to profiles as a worker does, and takes decisions on them.

    At most ``most_profiles`` are followed: beyond, every second one is dropped, by the hash of its id, and
    from then on only such are followed. A profile that shares an identifier with one that is followed is
    followed, too, since what it does follows the other's decisions; none are taken on it.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        inputs: Inputs,
        *,
        most_profiles: int,
        most_decisions: int,
        wall_ms: int,
        limits: IdentityLimits = DEFAULT,
    ) -> None:
        self.inputs = inputs
        self.replay = Replay(inputs.segments, wall_ms=wall_ms, limits=limits)
        self.decisions = [Decisions(each, self, most=most_decisions) for each in tasks]
        self.drift = {each.task.name: Drift() for each in self.decisions}
        #: What the models in force were worth, of each day that ended: taken by the caller.
        self.days: list[tuple[str, Quality]] = []
        #: Model -> its calibration error on the latest known day; the caller drops that of a former version.
        self.live_ece: dict[str, float] = {}
        self.first_ms: int | None = None
        self.counts: Counter[str] = Counter()
        self.level = 0
        self._most = most_profiles
        self._rules = limits.rules

    @property
    def clock_ms(self) -> int:
        """The greatest event time so far; 0 before the first."""
        return self.replay.clock_ms or 0

    def event(self, profile_id: str, event: Event) -> None:
        """Apply an event, after the decisions that are taken, and those that are known, before it."""
        self._pass_time(max(event.time_ms, self.clock_ms))
        self._apply(profile_id, event)

    def finish(self) -> None:
        """Take and settle the decisions before the clock: at the end of a file."""
        self._pass_time(self.clock_ms)

    def _pass_time(self, to_ms: int) -> None:
        for of in self.decisions:
            name = of.task.name
            for each in of.pass_time(to_ms):
                worth = self.drift[name].note(each)
                if worth is not None:
                    self.days.append((name, worth))
                    self.live_ece[name] = worth.ece

    def erase(self, identifier: str) -> None:
        """Forget a person: the profile that an identifier leads to, its identifiers, and its decisions."""
        owner, profiles = self.survivor(identifier), self.replay.profiles
        gone = frozenset(each for each in profiles if self.survivor(each) == owner)
        for each in gone:
            del profiles[each]
        for of in self.decisions:
            of.forget(gone | {identifier})

    def _apply(self, profile_id: str, event: Event) -> None:
        replay = self.replay
        if not self._follows(profile_id, event):
            self.counts["skipped"] += 1
            replay.clock_ms = max(event.time_ms, self.clock_ms)
            return
        merged, duplicates = replay.counts["merged"], replay.duplicates
        for _ in replay.apply(profile_id, event):
            pass
        replay.take_skipped()
        self.first_ms = event.time_ms if self.first_ms is None else min(self.first_ms, event.time_ms)
        if replay.counts["merged"] != merged:
            self._merge(profile_id, event)
        if replay.duplicates != duplicates:
            self.counts["duplicate"] += 1
            return
        self.counts["applied"] += 1
        owner = replay.survivor_of(profile_id)
        now_ms = max(self.clock_ms, replay.profiles[owner].latest_ms)
        for of in self.decisions:
            of.after_event(owner, event.name, (event.time_ms, now_ms), event.message_id)
        if len(replay.profiles) > self._most:
            self._thin()

    # -- the profiles, for decisions -------------------------------------------------------------------------

    def latest_ms(self, profile: str) -> int | None:
        """Return the time of a profile's latest event; None if it is gone, or was merged into another."""
        found = self.replay.profiles.get(profile)
        return (
            None
            if found is None or found.merged_into is not None or found.first_ms is None
            else found.latest_ms
        )

    def vector(self, profile: str, now_ms: int) -> Sequence[float] | None:
        """Return the features of a profile that is in the sample."""
        found = self.replay.profiles.get(profile)
        if found is None or found.first_ms is None or not self._sampled(profile):
            return None
        return self.inputs.vector(found, now_ms)

    def survivor(self, profile: str) -> str:
        """Return the id of the profile that a profile was merged into, at any distance, or its own."""
        return self.replay.survivor_of(profile) if profile in self.replay.profiles else profile

    # -- the sample ------------------------------------------------------------------------------------------

    def _follows(self, profile_id: str, event: Event) -> bool:
        return (
            self.level == 0
            or profile_id in self.replay.profiles
            or any(map(self._sampled, self._ids(profile_id, event)))
        )

    def _sampled(self, profile_id: str) -> bool:
        return not xxh3_64_intdigest(profile_id.encode()) & ((1 << self.level) - 1)

    def _thin(self) -> None:
        """Follow half as many profiles: those sampled, and those that share an identifier with one."""
        profiles = self.replay.profiles
        while len(profiles) > self._most:
            self.level += 1
            follow = {self.survivor(each) for each in profiles if self._sampled(each)}
            gone = frozenset(each for each in profiles if self.survivor(each) not in follow)
            for each in gone:
                del profiles[each]
            self.counts["profile"] += len(gone)
            for of in self.decisions:
                of.forget(gone)

    def _ids(self, profile_id: str, event: Event) -> list[str]:
        """Return the profile of an event, and the identifiers that it names."""
        return [profile_id, *self._rules.identifiers_of(event), *aliases_of(event)]

    def _merge(self, profile_id: str, event: Event) -> None:
        """Hand what was noted of merged profiles to their survivors, also of those between."""
        profiles = self.replay.profiles
        for each in self._ids(profile_id, event):
            at = profiles.get(each)
            while at is not None and at.merged_into is not None:
                for of in self.decisions:
                    of.merged(at.id, self.survivor(at.id))
                at = profiles.get(at.merged_into)

    def restore(self, profiles: Iterable[Profile], clock_ms: int) -> None:
        """Go on with stored profiles."""
        self.replay.profiles = {each.id: each for each in profiles}
        self.replay.clock_ms = clock_ms or None
