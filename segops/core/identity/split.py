"""Splits: a source becomes a profile of its own again, from the state of its hand-over.

It gets back the identifiers and the state that it handed over. Later events stay with the survivor, and so
does what the survivor has counted: the features of a merged profile cannot be separated.
"""

from __future__ import annotations

from segops.core.engine import Engine
from segops.core.links import end_waiting, links_of, refuse
from segops.core.merge import become
from segops.core.messages import Restore
from segops.core.profile import Links, Profile, SplitRequest
from segops.core.step import Step

_SPLIT_FROM = -1


def can_split_off(profile: Profile, request: SplitRequest) -> bool:
    """Return whether the source is part of this profile, by the hand-over of the request."""
    links, source = profile.links, request.source
    if links is None or source == profile.id or source not in links.owned:
        return False
    if request.state is None:
        return source not in links.merged
    return links.merged.get(source) == request.sequence


def stays_apart(profile: Profile, other: str) -> bool:
    """Return whether the two were split: only an explicit claim merges them again."""
    return profile.links is not None and other in profile.links.split_off


def drop_deferred(request: SplitRequest) -> list[str]:
    """Drop held events and deferred requests from the state to return; return the identifiers it had claimed.

    The survivor has applied the held events and got the answers to the claims. So both profiles claim again,
    implicitly, and the redirects decide.
    """
    if request.state is None or request.state.links is None:
        return []
    links = request.state.links
    links.sources = end_waiting(request.state).sources
    links.pending = dict.fromkeys(links.pending, False)
    return list(links.pending)


def contested(profile: Profile, claimed: list[str]) -> list[str]:
    """Disown the identifiers that the source had claimed, since their owner is open; return them."""
    owned = links_of(profile).owned
    found = [each for each in claimed if each in owned and each != profile.id]
    for each in found:
        owned.remove(each)
    return found


def split_off(step: Step, request: SplitRequest) -> None:
    """Return the source's state and identifiers to it."""
    profile, state = step.profile, request.state
    links = links_of(profile)
    for each in _brought(links, request):
        if each in links.owned:
            links.owned.remove(each)
        refuse(profile, each)
        links.split_off.setdefault(each, _SPLIT_FROM)
    links.split_off[request.source] = request.sequence
    step.send(Restore(request.source, profile.id, request.sequence, state))


def _brought(links: Links, request: SplitRequest) -> list[str]:
    """Return the identifiers that go back with a source, without those that were split off since."""
    state = request.state
    if state is None or state.links is None:
        return [request.source]
    theirs = state.links
    left = [each for each in theirs.owned if each in links.split_off and each not in links.owned]
    theirs.owned = [each for each in theirs.owned if each not in left]
    theirs.refused += left
    theirs.split_off |= {each: _SPLIT_FROM for each in left}
    return list(dict.fromkeys([request.source, *theirs.owned]))


def restore(profile: Profile, message: Restore, engine: Engine) -> dict[str, bool]:
    """Turn a redirect back into its former profile, in place; return its claims (-> explicit) to make again.

    Its sequence number rises, so that its next hand-over differs from the undone one.
    """
    was = engine.new_profile(profile.id) if message.state is None else message.state
    was.applied, was.sequence = profile.applied, message.sequence + 1
    become(profile, was)
    links = links_of(profile)
    asked, links.pending = links.pending, {}
    asked.pop(message.by, None)
    refuse(profile, message.by)
    links.split_off[message.by] = _SPLIT_FROM
    return asked
