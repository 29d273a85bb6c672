"""The links of a profile: its identifiers, and its pending claims and requests."""

from __future__ import annotations

from segops.core.profile import IdentifierOrigin, Links, MergedSource, Profile
from segops.core.values import MAX_MS

#: The number of refused identifiers that a profile remembers, so as not to claim them again for every event.
MAX_REFUSED = 100
_RUNNING = -MAX_MS


def links_of(profile: Profile) -> Links:
    """Return the links, creating them if there are none."""
    if profile.links is None:
        profile.links = Links([profile.id])
    return profile.links


def is_waiting(profile: Profile) -> bool:
    """Return whether the profile has a pending claim."""
    return profile.links is not None and bool(profile.links.pending)


def is_blank(profile: Profile) -> bool:
    """Return whether nothing is stored under the identifier."""
    return profile.first_ms is None and profile.links is None and not profile.lists


def shares_of(profile: Profile) -> list[tuple[Profile, list[str]]]:
    """Return the profile and the sources that it has yet to merge, each with its own identifiers."""
    links = profile.links
    if links is None:
        return [(profile, [profile.id])]
    sources = [(each.profile, each.owned or [each.profile.id]) for each in links.sources]
    of_sources = {identifier for _, owned in sources for identifier in owned}
    mine = [each for each in links.owned if each not in of_sources]
    return [(profile, mine if profile.id in mine else [profile.id, *mine]), *sources]


def profile_clock_ms(profile: Profile, clock_ms: int) -> int:
    """Return the clock of the profile: that of the partition, or the stopped one while the profile waits."""
    links = profile.links
    return clock_ms if links is None or links.clock_ms == _RUNNING else links.clock_ms


def begin_waiting(profile: Profile, identifier: str, *, explicit: bool, clock_ms: int) -> None:
    """Add a pending claim; the first one stops the profile's clock at ``clock_ms``."""
    links = links_of(profile)
    if not links.pending:
        links.clock_ms = clock_ms
    links.pending[identifier] = explicit or links.pending.get(identifier, False)
    if identifier in links.refused:
        links.refused.remove(identifier)


def end_waiting(profile: Profile) -> Links:
    """Restart the profile's clock; remove and return the deferred sources, events and requests."""
    links = links_of(profile)
    deferred = Links([], held=links.held, sources=links.sources, waiting=links.waiting, erasing=links.erasing)
    deferred.split_requests = links.split_requests
    links.held, links.sources, links.waiting, links.erasing, links.clock_ms = [], [], [], [], _RUNNING
    links.split_requests = []
    return deferred


def own(profile: Profile, identifier: str) -> None:
    """Add an identifier to the profile's own, dropping its pending claim, split or refusal."""
    links = links_of(profile)
    if identifier not in links.owned:
        links.owned.append(identifier)
    links.pending.pop(identifier, None)
    links.split_off.pop(identifier, None)
    if identifier in links.refused:
        links.refused.remove(identifier)


def refuse(profile: Profile, identifier: str) -> None:
    """Record that an identifier belongs to another profile, dropping its pending claim."""
    links = links_of(profile)
    links.pending.pop(identifier, None)
    links.origins.pop(identifier, None)
    if identifier not in links.refused and identifier not in links.owned:
        links.refused.append(identifier)
        del links.refused[:-MAX_REFUSED]


def note_origin(profile: Profile, identifier: str, origin: IdentifierOrigin) -> None:
    """Record where an identifier was first seen."""
    if identifier != profile.id:
        links_of(profile).origins.setdefault(identifier, origin)


def origin_of_merge(profile: Profile, source: Profile | None, of: str, at_ms: int) -> IdentifierOrigin:
    """Return the event for which either profile claimed ``of`` at ``at_ms``, if it is known."""
    for each in (profile, source):
        known = None if each is None or each.links is None else each.links.origins.get(of)
        if known is not None and known.at_ms == at_ms:
            return known
    return IdentifierOrigin(at_ms)


def timer_of(profile: Profile) -> int | None:
    """Return when the profile's timer is due; None for no timer, or while a pending claim stops its clock."""
    links = profile.links  # called for every event
    return None if links is not None and links.pending else profile.due_ms


def merge_source(profile: Profile, source: Profile, *, sequence: int, at_ms: int) -> list[str]:
    """Take over the links of a source at once; its state and held events are merged when no claim is pending.

    Return the source's explicit claims that are still pending.
    """
    links, brought = links_of(profile), links_of(source)
    _, owned = shares_of(source)[0]
    source.links = None
    links.sources += [MergedSource(at_ms, source, owned), *brought.sources]
    links.merged |= brought.merged | {source.id: sequence}
    links.held = sorted([*links.held, *brought.held], key=lambda held: (held.clock_ms, held.event.time_ms))
    links.origins = brought.origins | links.origins
    links.split_off = brought.split_off | links.split_off
    for identifier in brought.owned:
        own(profile, identifier)
    for identifier, explicit in brought.pending.items():
        if identifier not in links.owned:
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=at_ms)
    for identifier in brought.refused:
        if identifier not in links.pending:
            refuse(profile, identifier)
    return [each for each, explicit in brought.pending.items() if explicit and each in links.pending]
