"""The engine: applies events, timers and new definitions to a profile, and returns the membership changes.

Time (``SPEC.md#time``): an event of time t is evaluated at the greatest of t, the partition's clock and the
profile's latest event time. Before it is applied, every instant due up to the greater of t and the clock is
evaluated on its own. A profile's ``due_ms`` is the earliest instant at which one of its memberships changes
without another event. It is found by evaluating whole rules, so no timer fires without a change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from xxhash import xxh3_64_intdigest

from segops.core.activity import DAY_MS, note_day
from segops.core.evaluation import (
    Evaluation,
    change_of,
    publish_again,
    publish_indicators,
    withdraw_indicators,
)
from segops.core.events import Event
from segops.core.features import UNREADABLE
from segops.core.index import IndexedFeature
from segops.core.memberships import record_change
from segops.core.merge import forget_messages, merge, note_of
from segops.core.names import names_known, note_names
from segops.core.profile import Member, Profile
from segops.core.rescoring import SCORE, give_reason
from segops.core.rules.execution import FIRST, IDENTIFIERS, LATEST, LISTS, LOCATION
from segops.core.segments import Segment, SegmentSet
from segops.core.skips import skipped, skipped_traits
from segops.core.step import StepResult
from segops.core.values import lookup


class Engine:
    """Evaluates profiles against one set of segments, changing the profiles in place."""

    def __init__(self, segments: SegmentSet) -> None:
        self.segments = segments
        self.version = segments.version
        self._note_names = self._note_watched_names if segments.by_part[IDENTIFIERS] else note_names
        self._evaluate = self._evaluate_all if segments.indicators else self._evaluate_segments

    def new_profile(self, profile_id: str) -> Profile:
        """Return a profile without events; it is evaluated from its first event on."""
        return Profile(profile_id, evaluated_by=self.version)

    def open(self, profile: Profile) -> Profile:
        """Convert a stored profile to the current form of its features; return it.

        This serves profiles that an earlier version of segops stored for the same segments.
        ``on_definitions`` converts those that were last evaluated by other segments.
        """
        if (
            profile.evaluated_by == self.version
            and not profile.features.keys() <= self.segments.features.keys()
        ):
            self.segments.convert_features(profile)
        return profile

    def on_event(self, profile: Profile, event: Event, *, clock_ms: int) -> StepResult:
        """Fire timers due before the event, apply it, and evaluate the segments that it can change."""
        message = message_hash(event.message_id)
        if message in profile.seen:
            return StepResult(moved=False, duplicates=1)
        event_id = event.message_id if event.named else None
        evaluation = Evaluation(profile, "event", max(event.time_ms, clock_ms, profile.latest_ms), event_id)
        self._pass_time(evaluation, max(event.time_ms, clock_ms))
        _remember(evaluation, message, event.time_ms)
        touched = self._apply(evaluation, event)
        if touched:
            self._evaluate(evaluation, sorted(touched))
            _set_due(profile)
        return evaluation.result

    def on_timer(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Evaluate every instant due up to ``clock_ms``, each on its own, in order."""
        evaluation = Evaluation(profile, "time", clock_ms)
        self._pass_time(evaluation, clock_ms)
        return evaluation.result

    def on_definitions(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Evaluate a profile that was last evaluated by other segments."""
        evaluation = Evaluation(profile, "definition", max(clock_ms, profile.latest_ms))
        self.segments.convert_features(profile)
        self._close_removed(evaluation)
        rescored = self._rescored_for(profile)
        self._evaluate(evaluation, self._changed_for(profile, evaluation.now_ms))
        if rescored:
            give_reason(profile, (evaluation.result.changes, evaluation.result.values), rescored, SCORE)
        profile.evaluated_by = self.version
        _set_due(profile)
        return evaluation.result

    def _changed_for(self, profile: Profile, now_ms: int) -> Sequence[int]:
        """Return the segments recompiled since the profile's last evaluation, and those due."""
        changed = self.segments.changed_since.get(profile.evaluated_by)
        if changed is None:
            return range(len(self.segments.index_of))
        due = {key for key, at in profile.flips.items() if at <= now_ms}
        index_of = self.segments.index_of
        return sorted(index_of[key] for key in changed | due if key in index_of)

    def _rescored_for(self, profile: Profile) -> frozenset[str]:
        """Return the keys of which only the models of scores changed since the profile's last evaluation."""
        version = profile.evaluated_by
        changed = self.segments.changed_since.get(version, frozenset())
        return changed - self.segments.edited_since.get(version, changed)

    def on_merge(self, profile: Profile, sources: Sequence[Profile], *, clock_ms: int) -> StepResult:
        """Merge sources into a profile, and evaluate it by all segments at once.

        Each source is in the state that ``on_merge_into`` and ``redirect`` left, with its memberships; it
        must not be used afterwards. The memberships of all count as the survivor's, each from its earliest
        start.
        """
        now_ms = max(clock_ms, *(each.latest_ms for each in (profile, *sources)))
        evaluation = Evaluation(profile, "merge", now_ms)
        self._pass_time(evaluation, now_ms)
        was = set(profile.members)
        for source in sources:
            self.segments.convert_features(source)
            merge(profile, source, self.segments.features, now_ms)
        if profile.first_ms is not None:
            self._evaluate_merged(evaluation, was)
        return evaluation.result

    def _evaluate_merged(self, evaluation: Evaluation, was: set[str]) -> None:
        """Evaluate from the merged memberships; publish the differences from the profile's own, ``was``."""
        profile = evaluation.profile
        apart = Evaluation(profile, evaluation.reason, evaluation.now_ms)
        profile.members = {key: m for key, m in profile.members.items() if key in self.segments.by_key}
        sequence = profile.sequence
        self._evaluate_segments(apart, range(len(self.segments.segments)))
        profile.sequence, evaluation.result.failures = sequence, apart.result.failures
        for segment in self.segments.segments:
            member, flips_at = segment.key in profile.members, profile.flips.get(segment.key)
            if member is not (segment.key in was):
                change = change_of(evaluation, segment.key, segment.version, member=member, flips_at=flips_at)
                evaluation.result.add_change(change)
        publish_indicators(evaluation, self.segments.indicators)
        _set_due(profile)

    def on_merge_into(self, profile: Profile, *, into: str, clock_ms: int) -> StepResult:
        """Publish exits from all memberships of a profile that merges into another.

        The profile keeps its memberships: they travel to the survivor. The published values of its indicators
        are withdrawn: the survivor publishes its own.
        """
        evaluation = Evaluation(profile, "merge", max(clock_ms, profile.latest_ms))
        self._pass_time(evaluation, evaluation.now_ms)
        evaluation.merged_into = into
        return self._leave(evaluation)

    def on_restore(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Evaluate a profile that was merged and is split off again; publish entries to all its memberships.

        The time in between is not evaluated. A membership that still holds keeps its original start.
        """
        evaluation = Evaluation(profile, "split", max(clock_ms, profile.latest_ms))
        self.segments.convert_features(profile)
        if profile.first_ms is not None:
            self._evaluate_merged(evaluation, set())
        profile.evaluated_by = self.version
        return evaluation.result

    def on_changed(self, profile: Profile, of: Iterable[str], *, reason: str, clock_ms: int) -> StepResult:
        """Evaluate the segments that read these parts of the profile, after a change without an event."""
        evaluation = Evaluation(profile, reason, max(clock_ms, profile.latest_ms))
        indexes = frozenset[int]().union(*(self.segments.by_part[part] for part in of))
        if indexes and profile.first_ms is not None:
            self._pass_time(evaluation, clock_ms)
            self._evaluate(evaluation, sorted(indexes))
            _set_due(profile)
        return evaluation.result

    def on_erase(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Publish exits from all memberships of a profile that is being erased, without its traits."""
        evaluation = Evaluation(profile, "erasure", max(clock_ms, profile.latest_ms))
        self._pass_time(evaluation, evaluation.now_ms)
        profile.traits = {}
        return self._leave(evaluation)

    @staticmethod
    def _leave(evaluation: Evaluation) -> StepResult:
        profile = evaluation.profile
        for key in sorted(profile.members):
            version = profile.members[key].version
            evaluation.result.add_change(change_of(evaluation, key, version, member=False, flips_at=None))
        withdraw_indicators(evaluation, [*profile.published])
        return evaluation.result

    def on_release(self, profile: Profile, was: Collection[str], *, clock_ms: int) -> StepResult:
        """Publish how a profile released from quarantine differs from its published memberships ``was``.

        All its indicators are published again: which values the topic has of it is unknown.
        """
        evaluation = Evaluation(profile, "quarantine", clock_ms)
        for key in sorted(profile.members.keys() ^ set(was)):
            known, segment = profile.members.get(key), self.segments.by_key.get(key)
            version = known.version if known is not None else 1 if segment is None else segment.version
            flips_at = profile.flips.get(key)
            evaluation.result.add_change(
                change_of(evaluation, key, version, member=known is not None, flips_at=flips_at)
            )
        publish_again(evaluation, self.segments.indicators)
        return evaluation.result

    def _close_removed(self, evaluation: Evaluation) -> None:
        by_key, remembered = self.segments.by_key, self.segments.remembered
        profile = evaluation.profile
        profile.past = {key: past for key, past in profile.past.items() if key in remembered}
        profile.flips = {key: at for key, at in profile.flips.items() if key in self.segments.index_of}
        for key in sorted(profile.members.keys() - by_key.keys()):
            version = profile.members.pop(key).version
            evaluation.result.add_change(change_of(evaluation, key, version, member=False, flips_at=None))
        withdraw_indicators(evaluation, profile.published.keys() - self.segments.index_of.keys())

    def _pass_time(self, evaluation: Evaluation, until_ms: int) -> None:
        profile = evaluation.profile
        if profile.due_ms is None or profile.due_ms > until_ms:
            return
        of_event = evaluation.reason, evaluation.now_ms, evaluation.event_id
        evaluation.reason, evaluation.event_id = "time", None
        while profile.due_ms is not None and profile.due_ms <= until_ms:
            evaluation.now_ms = profile.due_ms
            index_of = self.segments.index_of
            due = (index_of[key] for key, at in profile.flips.items() if at == evaluation.now_ms)
            self._evaluate(evaluation, sorted(due))
            _set_due(profile)
        evaluation.reason, evaluation.now_ms, evaluation.event_id = of_event

    def _apply(self, evaluation: Evaluation, event: Event) -> set[int]:
        """Apply an event to the profile; return the indexes of the segments that it can have changed."""
        touched = self._date(evaluation.profile, event.time_ms)
        self._note_names(evaluation.profile, event, touched)
        if event.traits:
            touched |= self._merge_traits(evaluation, event)
            self._keep_histories(evaluation, event, touched)
        if event.location is not None and event.time_ms >= evaluation.profile.location_ms:
            evaluation.profile.location, evaluation.profile.location_ms = event.location, event.time_ms
            touched |= self.segments.by_part[LOCATION]
        watch = self.segments.watches.get(event.name, self.segments.watch_of_any)
        if watch is not None:
            for feature in watch.matching(event.properties):
                if not feature.where or feature.selects(event, evaluation.now_ms):
                    self._feed(evaluation, feature, event, touched)
        return touched

    def _note_watched_names(self, profile: Profile, event: Event, touched: set[int]) -> None:
        known = names_known(profile)
        note_names(profile, event, touched)
        if event.others or event.previous_id is not None or names_known(profile) != known:
            touched |= self.segments.by_part[IDENTIFIERS]

    def _date(self, profile: Profile, time_ms: int) -> set[int]:
        """Record the event time; the first event also touches segments that contain an empty profile."""
        touched: set[int] = set()
        if profile.first_ms is None:
            touched |= self.segments.blank_members
            if profile.lists:
                touched |= self.segments.by_part[LISTS]
        elif time_ms // DAY_MS != profile.latest_ms // DAY_MS:
            note_day(profile, time_ms)
        if profile.first_ms is None or time_ms < profile.first_ms:
            profile.first_ms = time_ms
            touched |= self.segments.by_part[FIRST]
        if time_ms > profile.latest_ms:
            profile.latest_ms = time_ms
            touched |= self.segments.by_part[LATEST]
        return touched

    def _feed(self, evaluation: Evaluation, feature: IndexedFeature, event: Event, touched: set[int]) -> None:
        value = None
        if feature.extract is not None:
            value = feature.extract(event)
            if value is None or value is UNREADABLE:
                if value is UNREADABLE:
                    evaluation.result.skip(skipped(self.segments.features[feature.id], event))
                return
        features = evaluation.profile.features
        state = feature.add(features.get(feature.id), event.time_ms, value, evaluation.now_ms)
        if state is not None:
            features[feature.id] = state
            if evaluation.counted is not None:
                evaluation.counted.note(feature.id, state, value)
            by_size = feature.by_size
            if by_size is None:
                touched |= feature.segments
            else:
                try:
                    touched |= by_size[len(state.times)]
                except IndexError:  # the profile holds more entries, from definitions with a larger capacity
                    touched |= feature.segments

    def _merge_traits(self, evaluation: Evaluation, event: Event) -> set[int]:
        touched: set[int] = set()
        profile, readings = evaluation.profile, self.segments.trait_readings
        for name, value in (event.traits or {}).items():
            if event.time_ms < profile.trait_times.get(name, event.time_ms):
                continue
            profile.trait_times[name] = event.time_ms
            if value is None:
                profile.traits.pop(name, None)
            else:
                profile.traits[name] = value
            touched |= self.segments.by_trait.get(name, _NONE)
            if name in readings:
                for skip in skipped_traits(name, value, readings[name]):
                    evaluation.result.skip(skip)
        return touched

    def _keep_histories(self, evaluation: Evaluation, event: Event, touched: set[int]) -> None:
        features = evaluation.profile.features
        for name in event.traits or ():
            for path, feature in self.segments.histories.get(name, ()):
                value = lookup(event.traits or {}, path)
                state = feature.add(features.get(feature.id), event.time_ms, value, evaluation.now_ms)
                if state is not None:
                    features[feature.id] = state
                    touched |= feature.segments

    def _evaluate_all(self, evaluation: Evaluation, indexes: Iterable[int]) -> None:
        """Evaluate segments in order, then indicators."""
        number, listed = len(self.segments.segments), list(indexes)
        self._evaluate_segments(evaluation, (index for index in listed if index < number))
        indicators = self.segments.indicators
        publish_indicators(evaluation, (indicators[index - number] for index in listed if index >= number))

    def _evaluate_segments(self, evaluation: Evaluation, indexes: Iterable[int]) -> None:
        """Evaluate segments in order, and find when each flips next."""
        profile, now_ms, segments = evaluation.profile, evaluation.now_ms, self.segments.segments
        members, flips = profile.members, profile.flips
        for index in indexes:
            segment = segments[index]
            key, rule = segment.key, segment.rule
            was = key in members
            try:
                member = rule.holds(profile, now_ms)
                flips_at = rule.next_flip(profile, now_ms, member)
            except Exception:  # a rule that fails leaves its membership unchanged, and is counted
                evaluation.result.add_failure(key)
                flips.pop(key, None)
                continue
            if flips_at is None:
                flips.pop(key, None)
            else:
                flips[key] = flips_at
            if member is not was:
                self._flip(evaluation, segment, member=member, flips_at=flips_at)

    @staticmethod
    def _flip(evaluation: Evaluation, segment: Segment, *, member: bool, flips_at: int | None) -> None:
        members = evaluation.profile.members
        if segment.remembers:
            record_change(evaluation.profile, segment.key, evaluation.now_ms)
        if member:
            reason = evaluation.reason if evaluation.event_id is None else None
            members[segment.key] = Member(evaluation.now_ms, segment.version, evaluation.event_id, reason)
        else:
            del members[segment.key]
        evaluation.result.add_change(
            change_of(evaluation, segment.key, segment.version, member=member, flips_at=flips_at)
        )


_NONE: frozenset[int] = frozenset()


def message_hash(message_id: str) -> int:
    """Return the 64-bit hash by which a profile remembers a message."""
    return xxh3_64_intdigest(message_id.encode())


def _remember(evaluation: Evaluation, message: int, time_ms: int) -> None:
    evaluation.profile.seen[message] = evaluation.now_ms
    evaluation.counted = note_of(evaluation.profile, message, time_ms)
    forget_messages(evaluation.profile, evaluation.now_ms)


def _set_due(profile: Profile) -> None:
    profile.due_ms = min(profile.flips.values(), default=None)
