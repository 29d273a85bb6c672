"""Merging of profiles: a source hands itself over; the survivor takes it in, and merges it once settled."""

from __future__ import annotations

from collections import deque

from segops.core.engine import Engine
from segops.core.links import (
    begin_waiting,
    end_waiting,
    is_blank,
    links_of,
    merge_source,
    note_origin,
    origin_of_merge,
    own,
    profile_clock_ms,
    refuse,
)
from segops.core.merge import redirect
from segops.core.messages import Claim, Erase, Handover, Split
from segops.core.profile import Links, MergedSource, Profile
from segops.core.rules.execution import IDENTIFIERS, LISTS
from segops.core.step import Step
from segops.core.values import MAX_MS

Deferred = Claim | Erase | Split


def hand_over(engine: Engine, step: Step, into: str, of: str) -> None:
    """Become a redirect to ``into``: close the memberships; send ``into`` the state and deferred requests."""
    profile = step.profile
    if is_blank(profile):
        profile.merged_into = into
        step.send(Handover(into, of, profile.id, profile.sequence))
        return
    at_ms = profile_clock_ms(profile, step.clock_ms)
    step.result.add(engine.on_merge_into(profile, into=into, clock_ms=at_ms))
    state = redirect(profile, into)
    step.send(Handover(into, of, profile.id, state.sequence, state))
    if state.links is not None:
        step.result.send_all(_deferred(state.links, into))
        state.links.waiting, state.links.erasing, state.links.split_requests = [], [], []


def was_split_off(profile: Profile, handover: Handover) -> bool:
    """Return whether this hand-over has been undone already: this is a redelivery."""
    return links_of(profile).split_off.get(handover.source, -1) >= handover.sequence


def brings_state(profile: Profile, handover: Handover) -> bool:
    """Return whether the hand-over carries a state that the profile has not taken in yet."""
    taken_in = links_of(profile).merged.get(handover.source, -1)
    return handover.state is not None and taken_in < handover.sequence


def take_in(step: Step, handover: Handover) -> None:
    """Own the source's identifiers at once; its state and held events wait for ``catch_up``."""
    profile, state = step.profile, handover.state
    links = links_of(profile)
    asked = handover.of in links.pending
    note_origin(profile, handover.source, origin_of_merge(profile, state, handover.of, handover.at_ms))
    if state is not None and brings_state(profile, handover):
        for claimed in merge_source(profile, state, sequence=handover.sequence, at_ms=step.at_ms):
            # Claim again as the survivor: an owner decides by the claimant's rank whether the claim waits.
            step.send(Claim(claimed, claimed, profile.id, explicit=True))
        step.result.count("merged")
    own(profile, handover.source)
    if asked:
        own(profile, handover.of)
    elif handover.of in links.pending:  # the source merged for an identifier that was split off since
        refuse(profile, handover.of)


def claim_again(step: Step, identifiers: dict[str, bool]) -> None:
    """Claim identifiers (-> whether explicitly) whose ownership a split left open."""
    profile = step.profile
    at_ms = profile_clock_ms(profile, step.clock_ms)
    for identifier, explicit in identifiers.items():
        begin_waiting(profile, identifier, explicit=explicit, clock_ms=at_ms)
        step.send(Claim(identifier, identifier, profile.id, explicit))


def catch_up(engine: Engine, step: Step) -> list[Deferred]:
    """Merge the sources and apply the held events in the order of time; return the deferred requests."""
    profile = step.profile
    at_ms, deferred = profile_clock_ms(profile, step.clock_ms), end_waiting(profile)
    sources = deque(sorted(deferred.sources, key=lambda each: each.at_ms))
    for held in deferred.held:
        at_ms = max(at_ms, held.clock_ms)
        until_ms = max(at_ms, held.event.time_ms)
        at_ms = _merge_until(engine, step, sources, at_ms=at_ms, until_ms=until_ms)
        step.result.add(engine.on_event(profile, held.event, clock_ms=at_ms))
    _merge_until(engine, step, sources, at_ms=at_ms, until_ms=MAX_MS)
    step.result.add(engine.on_timer(profile, clock_ms=step.clock_ms))
    changed = (IDENTIFIERS, LISTS)
    step.result.add(engine.on_changed(profile, changed, reason="merge", clock_ms=step.clock_ms))
    return _deferred(deferred, profile.id)


def _merge_until(
    engine: Engine, step: Step, sources: deque[MergedSource], *, at_ms: int, until_ms: int
) -> int:
    """Merge the sources whose merge dates from ``until_ms`` or before; return the clock after it."""
    due = []
    while sources and sources[0].at_ms <= until_ms:
        at_ms = max(at_ms, sources[0].at_ms)
        due.append(sources.popleft().profile)
    if due:
        step.result.add(engine.on_merge(step.profile, due, clock_ms=at_ms))
    return at_ms


def _deferred(links: Links, to: str) -> list[Deferred]:
    return [
        *(Claim(to, each.of, each.by, explicit=True, at_ms=each.at_ms) for each in links.waiting),
        *(Erase(to, what) for what in links.erasing),
        *(Split(to, each.source, each.sequence, each.state) for each in links.split_requests),
    ]
