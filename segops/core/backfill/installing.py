"""The installation of a fold into its profile."""

from __future__ import annotations

from collections.abc import Mapping

from segops.core.backfill.folding import Folded
from segops.core.features import Counted, Feature, State
from segops.core.features.carrying import united
from segops.core.features.states import Values
from segops.core.merge import note_of
from segops.core.profile import Profile
from segops.core.values import lookup


def install(profile: Profile, folded: Folded, features: Mapping[int, Feature]) -> None:
    """Put the states of ``features`` into the profile, in place; call ``Engine.on_definitions`` next.

    ``features`` are those of the fold. One that the profile holds already, since its capacity was raised, is
    united with the folded state, as the profile may know events from before the retained history. Any other
    state of these features is replaced. Of a trait history without rows, the current value of the trait and
    its time are the beginning.

    ``profile.counted`` then says of each message in ``profile.seen`` what it added to these features, so that
    a later merge counts a message that both profiles have seen once. ``profile.complete_since`` says since
    when the states that were cut are complete.
    """
    for key, feature in features.items():
        known = profile.features.get(key) if feature.is_limited else None
        state = folded.states.get(key) or _current(profile, feature)
        if known is not None:
            state = known if state is None else united(feature, known, state)
        if state is None:
            profile.features.pop(key, None)
        else:
            profile.features[key] = state
    known_since = {key: ms for key, ms in profile.complete_since.items() if key not in features}
    profile.complete_since = known_since | folded.complete_since_ms
    _note(profile, folded.notes, features)


def _current(profile: Profile, feature: Feature) -> State | None:
    """Return the history of a trait from its current value on; None for any other feature."""
    if feature.kind != "history" or feature.path is None:
        return None
    time_ms = profile.trait_times.get(feature.path[0])
    return None if time_ms is None else Values([time_ms], [lookup(profile.traits, feature.path)])


def _note(profile: Profile, notes: Mapping[int, Counted], features: Mapping[int, Feature]) -> None:
    for note in profile.counted.values():
        note.drop(features)
    for message, added in notes.items():
        known = note_of(profile, message, added.time_ms)
        if known is not None:
            known.tallies += added.tallies
            known.totals |= added.totals
