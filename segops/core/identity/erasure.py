"""Forgetting a person: the profile first, then what leads to it.

What is stored becomes a mark without content, at once; whoever keeps the store takes the mark away once it
is durable. Until then the mark keeps the offset applied last, so that nothing that was read before comes
back. What is published of an identifier afterwards must go on behind the sequence of the mark.
"""

from __future__ import annotations

from segops.core.engine import Engine
from segops.core.links import is_blank, standing_ms
from segops.core.merge import become
from segops.core.messages import Forget
from segops.core.profile import Erasing, Profile
from segops.core.step import Erased, Step
from segops.core.values import MAX_MS

#: Due whatever the clock says.
_ANY_TIME = 0


def is_erased(profile: Profile) -> bool:
    """Whether it is the mark of an erasure, and nothing has happened since."""
    return profile.due_ms == _ANY_TIME and profile.merged_into is None and is_blank(profile)


def erase(engine: Engine, step: Step, what: Erasing) -> None:
    """End the memberships of a profile that waits for nothing; forget it and what leads to it."""
    profile, links = step.profile, step.profile.links
    others = () if links is None else tuple(each for each in links.owned if each != profile.id)
    if is_blank(profile):
        _note(step, engine, what, Erased(what.request, profile.id, "nobody"))
        step.result.moved = False
        return
    step.result.add(engine.on_erase(profile, clock_ms=standing_ms(profile, step.clock_ms)))
    for each in others:
        known = links.absorbed.get(each, MAX_MS) if links is not None else MAX_MS
        step.send(Forget(each, profile.id, what, known))
    _wipe(profile)
    _note(step, engine, what, Erased(what.request, profile.id, "profile", others))


def forget(engine: Engine, step: Step, message: Forget) -> None:
    """Take away a redirect to a profile that was erased; not one that came to be since."""
    profile, found = step.profile, "nothing"
    if profile.merged_into is not None and profile.sequence <= message.sequence:
        _wipe(profile)
        found = "redirect"
    else:
        step.result.moved = False
    _note(step, engine, message.what, Erased(message.what.request, profile.id, found))


def _wipe(profile: Profile) -> None:
    become(profile, Profile(profile.id, profile.sequence, profile.applied, profile.evaluated_by, _ANY_TIME))


def _note(step: Step, engine: Engine, what: Erasing, erased: Erased) -> None:
    step.result.add_erased(erased, (*engine.segments.by_key, *what.segments))
    step.result.count("erased", int(erased.found in ("profile", "redirect")))
