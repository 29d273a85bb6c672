"""The links of a profile: the identifiers that lead to it, and what it waits for."""

from __future__ import annotations

from segops.core.profile import IdentifierOrigin, Links, MergedSource, Profile
from segops.core.values import MAX_MS

#: Identifiers of others that a profile remembers, so as not to claim them again with every event.
MAX_REFUSED = 100
_MOVES = -MAX_MS


def links_of(profile: Profile) -> Links:
    """The links, begun if there were none."""
    if profile.links is None:
        profile.links = Links([profile.id])
    return profile.links


def is_waiting(profile: Profile) -> bool:
    """Whether a claim of the profile is not answered yet."""
    return profile.links is not None and bool(profile.links.pending)


def is_blank(profile: Profile) -> bool:
    """Whether nothing is stored under the identifier."""
    return profile.first_ms is None and profile.links is None


def standing_ms(profile: Profile, clock_ms: int) -> int:
    """The clock of the profile: it stands still while the profile waits."""
    links = profile.links
    return clock_ms if links is None or links.clock_ms == _MOVES else links.clock_ms


def begin_waiting(profile: Profile, identifier: str, *, explicit: bool, clock_ms: int) -> None:
    """Await the answer to a claim."""
    links = links_of(profile)
    if not links.pending:
        links.clock_ms = clock_ms
    links.pending[identifier] = explicit or links.pending.get(identifier, False)
    if identifier in links.refused:
        links.refused.remove(identifier)


def end_waiting(profile: Profile) -> Links:
    """Let time go on; what had been put off."""
    links = links_of(profile)
    put_off = Links([], held=links.held, joined=links.joined, waiting=links.waiting, erasing=links.erasing)
    put_off.parting = links.parting
    links.held, links.joined, links.waiting, links.erasing, links.clock_ms = [], [], [], [], _MOVES
    links.parting = []
    return put_off


def own(profile: Profile, identifier: str) -> None:
    """Count an identifier among the profile's own: nothing is to be asked of it any more."""
    links = links_of(profile)
    if identifier not in links.owned:
        links.owned.append(identifier)
    links.pending.pop(identifier, None)
    links.parted.pop(identifier, None)
    if identifier in links.refused:
        links.refused.remove(identifier)


def refuse(profile: Profile, identifier: str) -> None:
    """Remember that an identifier belongs to somebody else."""
    links = links_of(profile)
    links.pending.pop(identifier, None)
    links.origins.pop(identifier, None)
    if identifier not in links.refused and identifier not in links.owned:
        links.refused.append(identifier)
        del links.refused[:-MAX_REFUSED]


def note_origin(profile: Profile, identifier: str, origin: IdentifierOrigin) -> None:
    """Remember where an identifier was met, unless that is known."""
    if identifier != profile.id:
        links_of(profile).origins.setdefault(identifier, origin)


def origin_of_joining(profile: Profile, loser: Profile | None, of: str, at_ms: int) -> IdentifierOrigin:
    """Where two profiles met: the event by which either of them claimed ``of`` at that instant."""
    for each in (profile, loser):
        known = None if each is None or each.links is None else each.links.origins.get(of)
        if known is not None and known.at_ms == at_ms:
            return known
    return IdentifierOrigin(at_ms)


def timer_of(profile: Profile) -> int | None:
    """When time may change a membership of the profile; None while it waits: its time stands still."""
    links = profile.links  # called for every event
    return None if links is not None and links.pending else profile.due_ms


def merge_source(profile: Profile, loser: Profile, *, sequence: int, at_ms: int) -> list[str]:
    """Take in a profile handed over: its links now, its events once nothing is awaited any more.

    Returns what the loser had claimed explicitly and is still to be answered.
    """
    links, brought = links_of(profile), links_of(loser)
    loser.links = None
    links.joined += [MergedSource(at_ms, loser), *brought.joined]
    links.absorbed |= brought.absorbed | {loser.id: sequence}
    links.held = sorted([*links.held, *brought.held], key=lambda held: (held.clock_ms, held.event.time_ms))
    links.origins = brought.origins | links.origins
    links.parted = brought.parted | links.parted
    for identifier in brought.owned:
        own(profile, identifier)
    for identifier, explicit in brought.pending.items():
        if identifier not in links.owned:
            begin_waiting(profile, identifier, explicit=explicit, clock_ms=at_ms)
    for identifier in brought.refused:
        if identifier not in links.pending:
            refuse(profile, identifier)
    return [each for each, explicit in brought.pending.items() if explicit and each in links.pending]
