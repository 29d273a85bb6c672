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
    state of these features is replaced. A trait history begins with the current value of the trait if it is
    older than all rows.

    ``profile.counted`` then says of each message in ``profile.seen`` what it added to these features, so that
    a later merge counts a message that both profiles have seen once. ``profile.complete_since`` says since
    when the states that were cut are complete.
    """
    for key, feature in features.items():
        known = profile.features.get(key) if feature.is_limited else None
        state = _begun(profile, feature, folded.states.get(key))
        if known is not None:
            state = known if state is None else united(feature, known, state)
        if state is None:
            profile.features.pop(key, None)
        else:
            profile.features[key] = state
    known_since = {key: ms for key, ms in profile.complete_since.items() if key not in features}
    profile.complete_since = known_since | folded.complete_since_ms
    _note(profile, folded.notes, features)


def _begun(profile: Profile, feature: Feature, state: State | None) -> State | None:
    """Return the history of a trait with its current value in front if that is older; else the state."""
    if feature.kind != "history" or feature.path is None:
        return state
    time_ms = profile.trait_times.get(feature.path[0])
    if time_ms is None or (isinstance(state, Values) and state.times[0] <= time_ms):
        return state
    later = state if isinstance(state, Values) else Values([], [])
    return Values([time_ms, *later.times], [lookup(profile.traits, feature.path), *later.values])


def _note(profile: Profile, notes: Mapping[int, Counted], features: Mapping[int, Feature]) -> None:
    for note in profile.counted.values():
        note.drop(features)
    for message, added in notes.items():
        known = note_of(profile, message, added.time_ms)
        if known is not None:
            known.tallies += added.tallies
            known.totals |= added.totals
