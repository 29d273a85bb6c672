"""Messages between profiles. ``to`` is the identifier that a message is addressed to and partitioned by.

Messages between two partitions keep their order; each may be delivered more than once. ``at_ms`` is the
instant of the event that named the identifier: the profiles are one from then on, whatever the clocks of
their partitions.
"""

from __future__ import annotations

import msgspec

from segops.core.events import Event
from segops.core.profile import Erasing, Profile
from segops.core.values import MAX_MS

_NEVER = -MAX_MS


class Forward(msgspec.Struct, array_like=True, gc=False, tag="forward"):
    """An event relayed by a redirect."""

    to: str
    event: Event
    hops: int = 0


class Claim(msgspec.Struct, array_like=True, gc=False, tag="claim"):
    """Profile ``by`` claims the identifier ``of``. ``explicit``: an alias says that the two are one."""

    to: str
    of: str
    by: str
    explicit: bool = False
    at_ms: int = _NEVER
    hops: int = 0


class MergeRequest(msgspec.Struct, array_like=True, gc=False, tag="join"):
    """An owner that ranks first asks the claimant to merge into it."""

    to: str
    of: str
    into: str
    explicit: bool = False
    at_ms: int = _NEVER
    hops: int = 0


class Handover(msgspec.Struct, array_like=True, gc=False, tag="handover"):
    """The profile ``source`` hands over its ``state`` (None: it had none); it is a redirect now.

    The hand-over answers the claim of ``of``. The source and its ``sequence`` identify a hand-over, for
    redeliveries and for splits.
    """

    to: str
    of: str
    source: str
    sequence: int = 0
    state: Profile | None = None
    at_ms: int = _NEVER
    hops: int = 0


class Refused(msgspec.Struct, array_like=True, gc=False, tag="refused"):
    """The owner refuses a claim of ``of``: it is another known user, or was split from the claimant."""

    to: str
    of: str
    owner: str
    at_ms: int = _NEVER
    hops: int = 0


class Erase(msgspec.Struct, array_like=True, gc=False, tag="erase"):
    """A request to erase the customer of this identifier."""

    to: str
    what: Erasing
    at_ms: int = _NEVER
    hops: int = 0


class Forget(msgspec.Struct, array_like=True, gc=False, tag="forget"):
    """Profile ``of`` is erased: delete the redirect at ``to``, unless its sequence exceeds ``sequence``."""

    to: str
    of: str
    what: Erasing
    sequence: int = MAX_MS
    at_ms: int = _NEVER
    hops: int = 0


class Split(msgspec.Struct, array_like=True, gc=False, tag="split"):
    """A request to split off ``source``, the source of the hand-over with ``sequence``.

    It is sent to the source, whose redirects relay it to the survivor.
    """

    to: str
    source: str
    sequence: int = 0
    state: Profile | None = None
    at_ms: int = _NEVER
    hops: int = 0


class Restore(msgspec.Struct, array_like=True, gc=False, tag="restore"):
    """Survivor ``by`` returns the state of a hand-over: the redirect at ``to`` becomes a profile again."""

    to: str
    by: str
    sequence: int = 0
    state: Profile | None = None
    at_ms: int = _NEVER
    hops: int = 0


class Release(msgspec.Struct, array_like=True, gc=False, tag="release"):
    """The end of a quarantine: the profile at ``to`` continues with ``state`` (None: from an empty state).

    ``of`` identifies the quarantined bytes. ``sequence`` is the last published sequence number of the
    profile, and ``members`` are the segments that it is in according to the published changes.
    """

    to: str
    of: str
    sequence: int = 0
    members: tuple[str, ...] = ()
    state: Profile | None = None


class Listing(msgspec.Struct, array_like=True, gc=False, tag="listing"):
    """Version ``version`` of the static list ``key`` names ``to``.

    ``base``: the version that was in force when the upload began (0: none); earlier ones are out of use.
    """

    to: str
    key: str
    version: int
    base: int = 0
    at_ms: int = _NEVER
    hops: int = 0


class Rows(msgspec.Struct, array_like=True, gc=False, tag="rows"):
    """Rows of past events of ``source`` for the backfill of the definitions ``of``, each as it is stored.

    A redirect relays them. ``ahead``: the hand-over of ``source`` to the receiver follows.
    """

    to: str
    of: str
    source: str
    rows: list[bytes]
    ahead: bool = False
    hops: int = 0


Message = Forward | Claim | MergeRequest | Handover | Refused | Erase | Forget | Split | Restore | Listing
