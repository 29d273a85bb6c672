"""What profiles say to each other across partitions. ``to`` is the identifier whose partition it goes to.

Between two partitions messages keep their order; each may come more than once. ``at_ms`` is the instant
of the event by which the identifier was met: whatever the clocks of the partitions, profiles are one from
then on.
"""

from __future__ import annotations

import msgspec

from segops.core.events import Event
from segops.core.profile import Erasing, Profile
from segops.core.values import MAX_MS

_NEVER = -MAX_MS


class Forward(msgspec.Struct, array_like=True, gc=False, tag="forward"):
    """An event that came to a redirect."""

    to: str
    event: Event
    hops: int = 0


class Claim(msgspec.Struct, array_like=True, gc=False, tag="claim"):
    """Profile ``by`` met the identifier ``of``. ``explicit``: it was said that the two are one person."""

    to: str
    of: str
    by: str
    explicit: bool = False
    at_ms: int = _NEVER
    hops: int = 0


class MergeRequest(msgspec.Struct, array_like=True, gc=False, tag="join"):
    """The answer of an owner that comes first in the order: the claimant is to go over to ``into``."""

    to: str
    of: str
    into: str
    explicit: bool = False
    at_ms: int = _NEVER
    hops: int = 0


class Handover(msgspec.Struct, array_like=True, gc=False, tag="handover"):
    """``loser`` is a redirect from now on; ``state`` is all that it was, None if there was nothing.

    ``of`` is the claimed identifier that is answered. Hand-overs are told apart by the loser and its
    ``sequence``: one that comes again is known by them, and one is undone by them.
    """

    to: str
    of: str
    loser: str
    sequence: int = 0
    state: Profile | None = None
    at_ms: int = _NEVER
    hops: int = 0


class Refused(msgspec.Struct, array_like=True, gc=False, tag="refused"):
    """``of`` belongs to ``owner``, another known user."""

    to: str
    of: str
    owner: str
    at_ms: int = _NEVER
    hops: int = 0


class Erase(msgspec.Struct, array_like=True, gc=False, tag="erase"):
    """Forget the person of this identifier."""

    to: str
    what: Erasing
    at_ms: int = _NEVER
    hops: int = 0


class Forget(msgspec.Struct, array_like=True, gc=False, tag="forget"):
    """``of`` is erased: the redirect at ``to`` goes, unless its sequence is beyond ``sequence`` by now."""

    to: str
    of: str
    what: Erasing
    sequence: int = MAX_MS
    at_ms: int = _NEVER
    hops: int = 0


class Split(msgspec.Struct, array_like=True, gc=False, tag="split"):
    """``loser`` is to be a profile of its own again, as it was handed over with ``sequence``.

    It is sent to the loser, and finds the profile that it is part of by redirects.
    """

    to: str
    loser: str
    sequence: int = 0
    state: Profile | None = None
    at_ms: int = _NEVER
    hops: int = 0


class Restore(msgspec.Struct, array_like=True, gc=False, tag="restore"):
    """What ``by`` had been handed over goes back: the redirect at ``to`` is a profile again."""

    to: str
    by: str
    sequence: int = 0
    state: Profile | None = None
    at_ms: int = _NEVER
    hops: int = 0


class Release(msgspec.Struct, array_like=True, gc=False, tag="release"):
    """The end of a quarantine: the profile at ``to`` is ``state`` from now on; None: it begins from nothing.

    ``of`` names the bytes that were set aside. By what was published of it, ``sequence`` is the last,
    and ``members`` are the segments that it is in.
    """

    to: str
    of: str
    sequence: int = 0
    members: tuple[str, ...] = ()
    state: Profile | None = None


Message = Forward | Claim | MergeRequest | Handover | Refused | Erase | Forget | Split | Restore
