"""Two profiles that are one go their own ways again: what was handed over goes back.

The loser is restored as it was handed over, with the identifiers that led to it then. What came since stays
with the other one, and so does what that one has counted: nothing of a merged profile can be told apart.
"""

from __future__ import annotations

from segops.core.engine import Engine
from segops.core.links import end_waiting, links_of, refuse
from segops.core.merge import become
from segops.core.messages import Restore
from segops.core.profile import Links, Profile, SplitRequest
from segops.core.step import Step

_SPLIT_FROM = -1


def is_split_off(profile: Profile, parting: SplitRequest) -> bool:
    """Whether that profile is part of this one, by that hand-over."""
    links, loser = profile.links, parting.loser
    if links is None or loser == profile.id or loser not in links.owned:
        return False
    if parting.state is None:
        return loser not in links.absorbed
    return links.absorbed.get(loser) == parting.sequence


def stays_apart(profile: Profile, other: str) -> bool:
    """Whether the two were split: only what is said explicitly joins them again."""
    return profile.links is not None and other in profile.links.parted


def without_what_came_since(parting: SplitRequest) -> list[str]:
    """Take off the state what was held: whoever took it in has applied it. What it had claimed is returned.

    The answers to that went to the other one, so both ask again, unasked: the redirects tell whose it is.
    """
    if parting.state is None or parting.state.links is None:
        return []
    links = parting.state.links
    links.joined = end_waiting(parting.state).joined
    links.pending = dict.fromkeys(links.pending, False)
    return list(links.pending)


def contested(profile: Profile, claimed: list[str]) -> list[str]:
    """Give up what else the loser had claimed, where it is not known whose it is; what to claim again."""
    owned = links_of(profile).owned
    found = [each for each in claimed if each in owned and each != profile.id]
    for each in found:
        owned.remove(each)
    return found


def split_off(step: Step, parting: SplitRequest) -> None:
    """Send the loser's state back to it, and leave its identifiers to it."""
    profile, state = step.profile, parting.state
    links = links_of(profile)
    for each in _brought(links, parting):
        if each in links.owned:
            links.owned.remove(each)
        refuse(profile, each)
        links.parted.setdefault(each, _SPLIT_FROM)
    links.parted[parting.loser] = parting.sequence
    step.send(Restore(parting.loser, profile.id, parting.sequence, state))


def _brought(links: Links, parting: SplitRequest) -> list[str]:
    """The identifiers that go back with a profile: not those that have been split off since."""
    state = parting.state
    if state is None or state.links is None:
        return [parting.loser]
    theirs = state.links
    gone = [each for each in theirs.owned if each in links.parted and each not in links.owned]
    theirs.owned = [each for each in theirs.owned if each not in gone]
    theirs.refused += gone
    theirs.parted |= {each: _SPLIT_FROM for each in gone}
    return list(dict.fromkeys([parting.loser, *theirs.owned]))


def restore(profile: Profile, message: Restore, engine: Engine) -> dict[str, bool]:
    """Make of a redirect the profile that it was, in place; what it had claimed and is to claim again.

    Its sequence rises, so that its next hand-over is another one.
    """
    was = engine.new_profile(profile.id) if message.state is None else message.state
    was.applied, was.sequence = profile.applied, message.sequence + 1
    become(profile, was)
    links = links_of(profile)
    asked, links.pending = links.pending, {}
    asked.pop(message.by, None)
    refuse(profile, message.by)
    links.parted[message.by] = _SPLIT_FROM
    return asked
