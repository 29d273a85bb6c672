"""Erasure of a customer: the profile first, then the redirects to it.

The stored value becomes a tombstone without content at once; the store deletes the tombstone when it is
durable. Until then it keeps the last applied offset, so that redelivered records do not bring data back, and
the sequence number, after which later changes of the identifier continue.
"""

from __future__ import annotations

from segops.core.engine import Engine
from segops.core.links import is_blank, profile_clock_ms
from segops.core.merge import become
from segops.core.messages import Forget
from segops.core.profile import Erasing, Profile
from segops.core.step import Erased, Step
from segops.core.values import MAX_MS

#: The due time of a tombstone: due at any clock.
_ANY_TIME = 0


def is_erased(profile: Profile) -> bool:
    """Return whether the profile is the tombstone of an erasure, without later events."""
    return profile.due_ms == _ANY_TIME and profile.merged_into is None and is_blank(profile)


def erase(engine: Engine, step: Step, request: Erasing) -> None:
    """End the memberships of a profile without pending claims; erase it and its other identifiers."""
    profile, links = step.profile, step.profile.links
    others = () if links is None else tuple(each for each in links.owned if each != profile.id)
    if is_blank(profile):
        _report(step, engine, request, Erased(request.request, profile.id, "nobody"))
        step.result.moved = False
        return
    step.result.add(engine.on_erase(profile, clock_ms=profile_clock_ms(profile, step.clock_ms)))
    for each in others:
        known = links.merged.get(each, MAX_MS) if links is not None else MAX_MS
        step.send(Forget(each, profile.id, request, known))
    _wipe(profile)
    _report(step, engine, request, Erased(request.request, profile.id, "profile", others))


def forget(engine: Engine, step: Step, message: Forget) -> None:
    """Erase a redirect to an erased profile, unless it was created since."""
    profile, found = step.profile, "nothing"
    if profile.merged_into is not None and profile.sequence <= message.sequence:
        _wipe(profile)
        found = "redirect"
    else:
        step.result.moved = False
    _report(step, engine, message.what, Erased(message.what.request, profile.id, found))


def _wipe(profile: Profile) -> None:
    become(profile, Profile(profile.id, profile.sequence, profile.applied, profile.evaluated_by, _ANY_TIME))


def _report(step: Step, engine: Engine, request: Erasing, erased: Erased) -> None:
    step.result.add_erased(erased, (*engine.segments.by_key, *request.segments))
    step.result.count("erased", int(erased.found in ("profile", "redirect")))
