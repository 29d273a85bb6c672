"""Listings: a version of a static list names the profile, from now on and through merges."""

from __future__ import annotations

from segops.core.engine import Engine
from segops.core.links import is_waiting
from segops.core.messages import Listing
from segops.core.rules.execution import LISTS
from segops.core.static_lists import note_listing
from segops.core.step import Step


def take_listing(engine: Engine, step: Step, listing: Listing) -> None:
    """Store a listing; it is no event. Where no event was seen yet, it waits for the first one.

    An upload is in force after all its listings have arrived. One that arrives late is evaluated at once, or,
    while the profile waits, when it catches up.
    """
    profile, key, version = step.profile, listing.key, listing.version
    in_force = engine.segments.lists.get(key, 0)
    if not note_listing(profile, key, version, min(listing.base, in_force or listing.base)):
        step.result.moved = False
    elif version == in_force and not is_waiting(profile):
        step.result.add(engine.on_changed(profile, (LISTS,), reason="definition", clock_ms=step.clock_ms))
