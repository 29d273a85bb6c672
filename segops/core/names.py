"""The names of a customer: which identifiers a profile has, of which types."""

from __future__ import annotations

from typing import Final

from segops.core.events import Event
from segops.core.profile import Profile

#: The types of the names that changes carry: the latest event decides. Of other types a profile has what
#: leads to it.
NAMES: Final = ("user_id", "anonymous_id", "email")


def note_names(profile: Profile, event: Event, _touched: set[int]) -> None:
    """Record the names that an event carries, or removes, if no later event did."""
    time_ms = event.time_ms
    if event.user_id is not None and time_ms >= profile.user_ms:
        profile.user_id, profile.user_ms = event.user_id, time_ms
    if event.anonymous_id is not None and time_ms >= profile.anonymous_ms:
        profile.anonymous_id, profile.anonymous_ms = event.anonymous_id, time_ms
    if (event.email is not None or event.email_removed) and time_ms >= profile.email_ms:
        profile.email, profile.email_ms = event.email, time_ms


def names_known(profile: Profile) -> tuple[bool, bool, bool]:
    """Return which of the ``NAMES`` the profile has, in their order."""
    return profile.user_id is not None, profile.anonymous_id is not None, profile.email is not None


def has_identifier(profile: Profile, kind: str) -> bool:
    """Return whether the profile has an identifier of a type.

    >>> profile = Profile("device_id:7", user_id="u")
    >>> [has_identifier(profile, kind) for kind in ("user_id", "email", "device_id")]
    [True, False, True]
    """
    if kind in NAMES:
        return getattr(profile, kind) is not None
    owned = (profile.id,) if profile.links is None else profile.links.owned
    return any(each.startswith(f"{kind}:") for each in owned)
