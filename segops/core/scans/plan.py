"""Plan: the changes that publishing an edit of the definitions would make, and those that follow by time."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from segops.core.backfill import in_force_at_once, waiting
from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.links import is_waiting, profile_clock_ms
from segops.core.profile import Profile
from segops.core.rules.execution import features_of
from segops.core.scans.flapping import Flapping, FollowedSample
from segops.core.scans.forecast import DAY_MS, changes_by_time, is_due
from segops.core.scans.needs import lacking
from segops.core.scans.references import with_references
from segops.core.scans.sampling import sampling_hash
from segops.core.segments import Definition, SegmentSet, references

ENTERING: Final = "entering"
LEAVING: Final = "leaving"
STAYING: Final = "staying"


class PlannedProfile(msgspec.Struct, array_like=True, gc=False):
    """A profile of a sample. ``order``: its hash, by which samples are chosen."""

    order: int
    profile_id: str


_order = attrgetter("order")


class SegmentPlan(msgspec.Struct, gc=False):
    """One segment: its ``members`` now, and of these the ``leaving`` ones; others that are ``entering``.

    ``entering_later``, ``leaving_later``: the changes by time alone in the 24 hours after that. ``failed``:
    the profiles for which the rule fails, whose membership stays. ``lacking``: the features that this segment
    or one that it refers to reads, and that profiles do not hold, or not in full. ``waits``: for the history
    of these, so that its other numbers are those of what happens at once. ``complete_since_ms``: its windows
    reach back further, but events are complete from then on (0: they are complete). ``samples``: profiles
    that are ``entering``, ``leaving`` or ``staying``, those with the smallest hashes.
    """

    members: int = 0
    entering: int = 0
    leaving: int = 0
    entering_later: int = 0
    leaving_later: int = 0
    failed: int = 0
    lacking: list[str] = []
    waits: bool = False
    complete_since_ms: int = 0
    samples: dict[str, list[PlannedProfile]] = {}

    @property
    def then(self) -> int:
        """The members after the edit."""
        return self.members + self.entering - self.leaving

    @property
    def moved(self) -> int:
        """The number of changes that publishing makes."""
        return self.entering + self.leaving

    def merged(self, other: SegmentPlan, wanted: int) -> SegmentPlan:
        """Return the plan over the profiles of both, with at most ``wanted`` samples of each kind."""
        kinds = sorted(self.samples.keys() | other.samples.keys())
        both = {kind: [*self.samples.get(kind, ()), *other.samples.get(kind, ())] for kind in kinds}
        return SegmentPlan(
            self.members + other.members,
            self.entering + other.entering,
            self.leaving + other.leaving,
            self.entering_later + other.entering_later,
            self.leaving_later + other.leaving_later,
            self.failed + other.failed,
            sorted({*self.lacking, *other.lacking}),
            self.waits or other.waits,
            max(self.complete_since_ms, other.complete_since_ms),
            {kind: sorted(each, key=_order)[:wanted] for kind, each in both.items()},
        )


class Plan(msgspec.Struct):
    """The plan of an edit, for each segment that it can move.

    ``wanted``: the most samples of each kind. ``cut``: the profiles that would change by time at more than
    ``MAX_INSTANTS`` instants, of which only the first are counted. ``flapping``: if a sample is followed.
    """

    segments: dict[str, SegmentPlan]
    wanted: int = 0
    cut: int = 0
    flapping: Flapping | None = None

    def merged(self, other: Plan) -> Plan:
        """Return the plan over the profiles of both."""
        keys = sorted(self.segments.keys() | other.segments.keys())
        mine, theirs = self.segments, other.segments
        return Plan(
            {key: mine.get(key, _EMPTY).merged(theirs.get(key, _EMPTY), self.wanted) for key in keys},
            self.wanted,
            self.cut + other.cut,
            self.flapping and other.flapping and self.flapping.merged(other.flapping),
        )


_EMPTY: Final = SegmentPlan()


class Edit(NamedTuple):
    """The definitions in force at once after an edit, as far as they matter for its effect.

    ``segments``: those that the edit can move, and all that these refer to. ``moving``: the keys of the
    segments that it can move, removed ones included -> the labels of the features that profiles lack. Unless
    their history is there (``filled``), a segment that lacks any waits for it: it keeps its former rule, or
    does not exist yet.
    """

    segments: SegmentSet
    moving: Mapping[str, Sequence[str]]
    filled: bool


def edit_of(
    changed: Iterable[Definition], removed: Collection[str], live: SegmentSet, *, filled: bool = False
) -> Edit:
    """Compile an edit of the ``live`` segments: ``changed`` ones, which may be new, and keys to remove.

    Segments that refer to a changed one move with it. ``filled``: the history that they need is there, so
    that none waits. Raises DefinitionError for a reference to a segment
    that is neither live nor changed, and for a cycle.
    """
    written = {each.key: each for each in changed if not each.is_indicator}
    known = {each.key: each for each in live.definitions if each.key not in removed} | written
    dependants = _with_dependants(written, known)
    after = SegmentSet(with_references(sorted(dependants), known), live)
    waits = waiting(after, live.features)
    segments = after if filled else SegmentSet(in_force_at_once(live, after, waits), live)
    labels = _labels(after, waits, live)
    every = sorted({label for found in labels.values() for label in found})
    for key in segments.changed_since[live.version] - labels.keys():
        labels[key] = []
    for key in set(removed) & live.by_key.keys():  # the former rule of a waiting segment may refer to it
        labels[key] = every if key in segments.by_key else []
    return Edit(segments, labels, filled)


def _labels(after: SegmentSet, waits: Collection[str], live: SegmentSet) -> dict[str, list[str]]:
    """Map the waiting segments to the labels of the features that they, or those they refer to, lack."""
    found: dict[str, list[str]] = {}
    for definition in after.definitions:
        if definition.key in waits:
            own = lacking(features_of(definition.when), live.features)
            others = (label for key in references(definition.when) for label in found.get(key, ()))
            found[definition.key] = sorted({*own, *others})
    return found


def _with_dependants(keys: Iterable[str], known: Mapping[str, Definition]) -> set[str]:
    users: dict[str, list[str]] = {}
    for definition in known.values():
        for key in set(references(definition.when)):
            users.setdefault(key, []).append(definition.key)
    left = list(keys)
    found = set(left)
    while left:
        more = set(users.get(left.pop(), ())) - found
        found |= more
        left += more
    return found


class Planner:
    """Judges copies of profiles by the definitions after an edit, and counts how their memberships change.

    ``samples``: how many profiles of each kind to name. Profiles must have been evaluated by the live
    segments of which the edit was made. ``fill`` puts the features that they lack, as of an instant, into the
    ``features`` of a copy. ``since``: see ``SegmentPlan.complete_since_ms``. ``followed``: the sample that is
    followed from one plan of the edit to the next, if any.
    """

    share: Final = 1.0

    def __init__(
        self,
        edit: Edit,
        *,
        samples: int = 0,
        fill: Callable[[Profile, int], None] | None = None,
        since: Mapping[str, int] = {},
        followed: FollowedSample | None = None,
    ) -> None:
        self._fill = fill
        self._followed = followed
        self._clock_ms = 0
        self._engine = Engine(edit.segments)
        self._counted = frozenset(edit.moving) | edit.segments.by_key.keys()
        self._segments = {
            key: SegmentPlan(lacking=[*labels], waits=bool(labels) and not edit.filled, samples={})
            for key, labels in sorted(edit.moving.items())
        }
        for key in self._segments.keys() & since.keys():
            self._segments[key].complete_since_ms = since[key]
        self._moving = {key for key, each in self._segments.items() if not each.waits}
        self._moving &= edit.segments.by_key.keys()
        self._wanted = samples
        self._cut = 0

    def visit(self, profile: Profile, now_ms: int) -> None:
        """Count the changes of one profile at ``now_ms``, and by time within 24 hours."""
        after = self._copy(profile, now_ms)
        result = self._engine.on_definitions(after, clock_ms=profile_clock_ms(profile, now_ms))
        self._count(profile, result.changes)
        for key in self._segments.keys() & set(result.failures):
            self._segments[key].failed += 1
        if not is_waiting(profile):  # its clock stands still
            self._look_ahead(after, now_ms + DAY_MS)
        if self._followed is not None and self._followed.has(profile.id):
            self._follow(self._followed, profile, now_ms)
        self._clock_ms = now_ms

    def _follow(self, followed: FollowedSample, profile: Profile, now_ms: int) -> None:
        copy = self._copy(profile, now_ms)
        followed.recall(copy, self._moving)
        self._engine.on_definitions(copy, clock_ms=profile_clock_ms(profile, now_ms))
        followed.note(copy, self._moving)

    def _copy(self, profile: Profile, now_ms: int) -> Profile:
        """Return a copy with the memberships that matter; evaluating it leaves the profile as it is."""
        members = {key: each for key, each in profile.members.items() if key in self._counted}
        copy = msgspec.structs.replace(
            profile, members=members, flips=profile.flips.copy(), counted={}, published={}
        )
        if self._fill is not None:
            copy.features = copy.features.copy()
            self._fill(copy, now_ms)
        return copy

    def _count(self, profile: Profile, changes: Sequence[Change]) -> None:
        moves = {change.segment_key: change.member for change in changes}
        for key, enters in moves.items():
            if (segment := self._segments.get(key)) is not None:
                segment.entering += enters
                segment.leaving += not enters
                self._sample(segment, ENTERING if enters else LEAVING, profile.id)
        for key in profile.members:
            if (segment := self._segments.get(key)) is not None:
                segment.members += 1
                if key not in moves:
                    self._sample(segment, STAYING, profile.id)

    def _sample(self, segment: SegmentPlan, kind: str, profile_id: str) -> None:
        if self._wanted:
            found = segment.samples.setdefault(kind, [])
            insort(found, PlannedProfile(sampling_hash(profile_id), profile_id), key=_order)
            del found[self._wanted :]

    def _look_ahead(self, after: Profile, until_ms: int) -> None:
        for change in changes_by_time(self._engine, after, until_ms):
            if (segment := self._segments.get(change.segment_key)) is not None:
                segment.entering_later += change.member
                segment.leaving_later += not change.member
        self._cut += is_due(after, until_ms)

    def result(self) -> Plan:
        """Return the plan over the profiles visited so far, which are all if a sample is followed."""
        followed = self._followed
        flapping = None if followed is None else followed.ended(self._moving, self._clock_ms)
        return Plan(self._segments, self._wanted, self._cut, flapping)


class Limits(NamedTuple):
    """How much of a segment an edit may move unasked.

    ``changes``: the most changes. ``share``: the greatest share (0 to 1) of the larger of the sizes before
    and after; it holds from ``SHARE_FROM`` members on, and not for a new segment, whose share is always 1.
    """

    changes: int = 10_000
    share: float = 0.2


#: The size from which the limit on the share holds: below it, a few profiles are a large share.
SHARE_FROM: Final = 1_000


def beyond(plan: Plan, limits: Limits, new: Collection[str] = ()) -> dict[str, str]:
    """Return the segments that a plan moves more than the limits allow -> by how much.

    What a segment that waits for history will do is unknown, so a large one exceeds the limits. ``new``: the
    segments that the edit adds; their share does not count.

    >>> vip = SegmentPlan(members=2_000, leaving=500)
    >>> beyond(Plan({"vip": vip}), Limits())
    {'vip': '500 changes, 25.0 % of 2,000 members'}
    >>> beyond(Plan({"vip": vip}), Limits(changes=100, share=0.5))
    {'vip': '500 changes'}
    """
    found = {}
    for key, each in plan.segments.items():
        size = max(each.members, each.then)
        measured = size >= SHARE_FROM and key not in new
        if measured and each.moved > limits.share * size:
            found[key] = f"{each.moved:,} changes, {100 * each.moved / size:.1f} % of {size:,} members"
        elif each.moved > limits.changes:
            found[key] = f"{each.moved:,} changes"
        elif measured and each.waits:
            found[key] = f"{size:,} members, and it waits for history: only a plan knows the changes"
    return found
