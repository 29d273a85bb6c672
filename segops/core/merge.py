"""The merge of two profiles: as if one profile had seen every event of both, in the order of their times."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from segops.core.activity import merged_former_day
from segops.core.features import Counted, Feature
from segops.core.features.merging import merge_state
from segops.core.identifiers import is_user
from segops.core.memberships import past_of
from segops.core.profile import Past, Profile
from segops.core.static_lists import merge_lists
from segops.core.values import MAX_MS

#: A profile remembers at least this many messages, and each at least this long (``SPEC.md#events``).
REMEMBERED = 1_000
REMEMBERED_MS = 86_400_000


def merge(survivor: Profile, source: Profile, features: Mapping[int, Feature], now_ms: int) -> None:
    """Merge a source into the survivor, memberships included; flips and links stay the survivor's own.

    The source must not be used afterwards. ``now_ms`` is the instant of the merge, not before the latest
    event of either. Of values with the same time the survivor's wins. A message that both have seen counts
    once; but between two known users, accumulators (``Tally``, ``Total``) count it twice.
    """
    _merge_features(survivor, source, features, now_ms)
    _merge_traits(survivor, source)
    _merge_seen(survivor, source, now_ms)
    _merge_memberships(survivor, source)
    merge_lists(survivor, source)
    survivor.former_day = merged_former_day(survivor, source)
    known = [ms for ms in (survivor.first_ms, source.first_ms) if ms is not None]
    survivor.first_ms = min(known, default=None)
    survivor.latest_ms = max(survivor.latest_ms, source.latest_ms)
    if source.location_ms > survivor.location_ms:
        survivor.location, survivor.location_ms = source.location, source.location_ms
    for name, time in _NAMES:
        _merge_name(survivor, source, name, time)


#: The customer's latest names, each with the time of its event.
_NAMES = (("user_id", "user_ms"), ("anonymous_id", "anonymous_ms"), ("email", "email_ms"))


def _merge_name(survivor: Profile, source: Profile, name: str, time: str) -> None:
    mine_ms, theirs_ms = getattr(survivor, time), getattr(source, time)
    never = mine_ms == -MAX_MS and getattr(survivor, name) is None
    if theirs_ms > mine_ms or never:
        setattr(survivor, name, getattr(source, name))
        setattr(survivor, time, theirs_ms)


def _merge_features(survivor: Profile, source: Profile, features: Mapping[int, Feature], now_ms: int) -> None:
    common = survivor.seen.keys() & source.seen.keys()
    notes = source.counted or survivor.counted
    messages = [message for message in common if message in notes]
    shared = [notes[message] for message in messages]
    applied_ms = [max(survivor.seen[message], source.seen[message]) for message in messages]
    for key in features.keys() & source.features.keys():
        state = merge_state(
            features[key],
            survivor.features.get(key),
            source.features[key],
            shared=shared,
            now_ms=now_ms,
            applied_ms=applied_ms,
        )
        if state is not None:
            survivor.features[key] = state
        if key in source.complete_since:
            since = survivor.complete_since
            since[key] = max(source.complete_since[key], since.get(key, source.complete_since[key]))


def _merge_traits(survivor: Profile, source: Profile) -> None:
    for name, time_ms in source.trait_times.items():
        if time_ms <= survivor.trait_times.get(name, -MAX_MS):
            continue
        survivor.trait_times[name] = time_ms
        if name in source.traits:
            survivor.traits[name] = source.traits[name]
        else:
            survivor.traits.pop(name, None)


def _merge_seen(survivor: Profile, source: Profile, now_ms: int) -> None:
    both = {**source.seen, **survivor.seen}
    survivor.seen = dict(sorted(both.items(), key=lambda item: item[1]))
    survivor.counted = {**source.counted, **survivor.counted} if may_lose(survivor) else {}
    forget_messages(survivor, now_ms)


def _merge_memberships(survivor: Profile, source: Profile) -> None:
    """Add up the entries; of two current memberships the earlier one continues."""
    keys = dict.fromkeys((*survivor.past, *source.past))  # in an order that each process finds
    both = ((key, past_of(survivor, key), past_of(source, key)) for key in keys)
    survivor.past = {key: _merged_past(mine, theirs) for key, mine, theirs in both}
    for key, theirs in source.members.items():
        mine = survivor.members.setdefault(key, theirs)
        mine.since_ms = min(mine.since_ms, theirs.since_ms)


def _merged_past(mine: Past, theirs: Past) -> Past:
    left = [ms for ms in (mine.left_ms, theirs.left_ms) if ms is not None]
    return Past(mine.entries + theirs.entries, max(left, default=None))


def may_lose(profile: Profile) -> bool:
    """Return whether the profile may be merged implicitly, so that it records what each message added."""
    return not is_user(profile.id)


def forget_messages(profile: Profile, now_ms: int) -> None:
    """Drop messages beyond ``REMEMBERED`` that are older than ``REMEMBERED_MS``."""
    seen = profile.seen
    while len(seen) > REMEMBERED:
        oldest = next(iter(seen))
        if seen[oldest] > now_ms - REMEMBERED_MS:
            return
        del seen[oldest]
        profile.counted.pop(oldest, None)


def note_of(profile: Profile, message: int, time_ms: int) -> Counted | None:
    """Return the record of what a message adds; None for a profile that needs none."""
    if not may_lose(profile):
        return None
    return profile.counted.setdefault(message, Counted(time_ms))


def redirect(profile: Profile, into: str) -> Profile:
    """Turn a profile into a redirect, in place; return its former state, to be handed over.

    The redirect keeps the sequence number, so that its published changes continue without gaps.
    """
    was = msgspec.structs.replace(profile)
    become(
        profile,
        Profile(profile.id, profile.sequence, profile.applied, profile.evaluated_by, merged_into=into),
    )
    return was


def become(profile: Profile, other: Profile) -> None:
    """Overwrite every field of a profile with another's."""
    for name in Profile.__struct_fields__:
        setattr(profile, name, getattr(other, name))
