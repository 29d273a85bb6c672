"""Memberships that depend on earlier memberships: with a policy, or with hysteresis.

They are decided from the memberships recorded in the profile, and their future is simulated change by change.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from segops.core.profile import Past, Profile
from segops.core.rules.execution import Changes, Holds, Rule, Verdicts, combined, compile_rule
from segops.core.rules.model import Node, side
from segops.core.rules.policy import Policy

_NO_POLICY = Policy()
_NOTHING = Past()
_ONCE = Past(entries=1)


class Membership:
    """The membership of one segment; has the interface of a ``Rule``."""

    __slots__ = ("_cool_down_ms", "_inside", "_key", "_max_entries", "_min_stay_ms", "_outside")

    def __init__(self, key: str, policy: Policy, outside: Rule, inside: Rule) -> None:
        self._key = key
        self._min_stay_ms = policy.min_stay_ms or 0
        self._cool_down_ms = policy.cool_down_ms or 0
        self._max_entries = policy.max_entries
        self._outside = outside
        self._inside = inside

    def holds(self, profile: Profile, now_ms: int) -> bool:
        """Return whether the profile is a member from ``now_ms`` on, given its recorded memberships."""
        member = profile.members.get(self._key)
        if member is not None:
            return now_ms < member.since_ms + self._min_stay_ms or self._inside.holds(profile, now_ms)
        past = past_of(profile, self._key)
        if self._used_up(past.entries):
            return False
        if past.left_ms is not None and now_ms < past.left_ms + self._cool_down_ms:
            return False
        return self._outside.holds(profile, now_ms)

    def next_flip(self, profile: Profile, now_ms: int, member: bool) -> int | None:
        """Return the earliest instant after ``now_ms`` at which the membership changes without another event.

        ``member`` is the verdict at ``now_ms``, which the profile does not record yet.
        """
        recorded = profile.members.get(self._key)
        past = past_of(profile, self._key)
        if member:
            since_ms = now_ms if recorded is None else recorded.since_ms
            return self._leaves(profile, now_ms, since_ms)
        left_ms = past.left_ms if recorded is None else now_ms
        return self._enters(profile, now_ms, Past(past.entries, left_ms))

    def _leaves(self, profile: Profile, now_ms: int, since_ms: int) -> int | None:
        return _flip_from(self._inside, profile, now_ms, since_ms + self._min_stay_ms, member=True)

    def _enters(self, profile: Profile, now_ms: int, past: Past) -> int | None:
        if self._used_up(past.entries):
            return None
        free_ms = now_ms if past.left_ms is None else past.left_ms + self._cool_down_ms
        return _flip_from(self._outside, profile, now_ms, free_ms, member=False)

    def _used_up(self, entries: int) -> bool:
        return self._max_entries is not None and entries >= self._max_entries

    @property
    def referred(self) -> Rule:
        """The rule that ``in_segment`` reads: the membership now or at a future instant, and its changes."""
        return _combined_rule(self._member_at, self._changes, (self._outside, self._inside))

    def _member_at(self, profile: Profile, at_ms: int) -> bool:
        return next(self._changes(profile, at_ms))[1]

    def _changes(self, profile: Profile, now_ms: int) -> Verdicts:
        """Yield the membership at ``now_ms`` and its changes without another event."""
        member, flip_ms = self._key in profile.members, profile.flips.get(self._key)
        entries = past_of(profile, self._key).entries
        if flip_ms is None or flip_ms > now_ms:
            yield now_ms, member
        while flip_ms is not None:
            at_ms, member = flip_ms, not member
            entries += member
            if at_ms > now_ms:
                yield at_ms, member
            if member:
                flip_ms = self._leaves(profile, at_ms, at_ms)
            else:
                flip_ms = self._enters(profile, at_ms, Past(entries, at_ms))
            if at_ms <= now_ms and (flip_ms is None or flip_ms > now_ms):
                yield now_ms, member


class PausedMembership:
    """The frozen membership of a paused segment: only a merge, a split or an erasure changes it.

    It depends on the same features as the ``rule``, so that the profile keeps them up to date.
    """

    __slots__ = ("_key", "_rule")

    def __init__(self, key: str, rule: Rule | Membership) -> None:
        self._key = key
        self._rule = rule.referred if isinstance(rule, Membership) else rule

    def holds(self, profile: Profile, _now_ms: int) -> bool:
        """Return whether the profile is a member."""
        return self._key in profile.members

    def next_flip(self, _profile: Profile, _now_ms: int, _member: bool) -> None:
        """Return None: time does not change the membership."""

    @property
    def referred(self) -> Rule:
        """The rule that ``in_segment`` reads: the frozen membership."""

        def changes(profile: Profile, now_ms: int) -> Verdicts:
            yield now_ms, self.holds(profile, now_ms)

        frozen = _combined_rule(self.holds, changes, (self._rule,))
        return msgspec.structs.replace(frozen, edges=())


def _combined_rule(holds: Holds, changes: Changes, rules: tuple[Rule, ...]) -> Rule:
    """Return a rule that depends on everything these rules depend on."""
    return Rule(
        holds,
        None,
        changes,
        tuple(use for rule in rules for use in rule.features),
        frozenset().union(*(rule.traits for rule in rules)),
        frozenset().union(*(rule.reads for rule in rules)),
    )


def _flip_from(rule: Rule, profile: Profile, now_ms: int, free_ms: int, *, member: bool) -> int | None:
    """Return when the verdict is first not ``member``: after ``now_ms``, and not before ``free_ms``."""
    if free_ms <= now_ms:
        return rule.next_flip(profile, now_ms, member)
    return free_ms if rule.holds(profile, free_ms) != member else rule.next_flip(profile, free_ms, member)


def compile_membership(
    key: str, node: Node, policy: Policy | None, others: Mapping[str, Rule]
) -> Rule | Membership:
    """Compile a segment: to a plain rule if its membership depends on the rule alone.

    ``others`` maps the segments that it may refer to, to what ``in_segment`` reads of them.
    """
    inside_node, outside_node = side(node, inside=True), side(node, inside=False)
    outside = compile_rule(key, outside_node, others)
    if inside_node is node:
        return outside if policy is None else Membership(key, policy, outside, outside)
    return Membership(key, policy or _NO_POLICY, outside, compile_rule(f"{key}_inside", inside_node, others))


def compile_part(node: Node, own: Rule, others: Mapping[str, Rule]) -> Rule:
    """Compile a node of a segment's rule; with hysteresis it reads that segment's membership, ``own``."""
    outside = compile_rule("part", side(node, inside=False), others)
    inside_node = side(node, inside=True)
    if inside_node is node:
        return outside
    inside = compile_rule("part_inside", inside_node, others)

    def holds(profile: Profile, now_ms: int) -> bool:
        return (inside if own.holds(profile, now_ms) else outside).holds(profile, now_ms)

    rules = (outside, inside, own)
    changes = combined([rule.changes for rule in rules], lambda verdicts: verdicts[1 if verdicts[2] else 0])
    return _combined_rule(holds, changes, rules)


def past_of(profile: Profile, key: str) -> Past:
    """Return the earlier memberships of a segment; one that began before recording counts as the first."""
    recorded = profile.past.get(key)
    if recorded is not None:
        return recorded
    return _ONCE if key in profile.members else _NOTHING


def record_change(profile: Profile, key: str, now_ms: int) -> None:
    """Record the end of a current membership, or the beginning of a new one; call it before the change."""
    past = past_of(profile, key)
    if key in profile.members:
        profile.past[key] = Past(past.entries, now_ms)
    else:
        profile.past[key] = Past(past.entries + 1, past.left_ms)
