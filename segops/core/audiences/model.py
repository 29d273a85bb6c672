"""An audience as people describe it, and what is recorded of it from its first draft to its retirement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec

#: The keys of definitions that belong to audiences begin with it; no segment's key has a dot.
PREFIX: Final = "audience."
#: The ends of the keys of the definitions that measure the lift of an audience: who entered it, who entered
#: its hold-out, and who of both reached its goal. No audience's key has a dot.
SENT: Final = ".sent"
HELD_OUT: Final = ".held-out"
GOAL: Final = ".goal"
Channel = Literal["email", "sms", "push", "ads", "webhook"]
CHANNELS: Final[tuple[str, ...]] = get_args(Channel)
Existing = Literal["only_new", "send"]
EXISTING: Final[tuple[str, ...]] = get_args(Existing)
Telling = Literal["quiet", "normal"]
TELLING: Final[tuple[str, ...]] = get_args(Telling)
#: The reasons of membership changes that can be told without triggering flows.
QUIETABLE: Final = ("backfill", "definition", "merge", "score", "split", "time")
State = Literal["draft", "waiting", "active", "held", "paused", "retired"]
#: ``breaker``: the delivery itself, which holds what exceeds its limits.
Origin = Literal["person", "ai", "breaker"]
#: How long a plan can be submitted and approved, in ms.
PLAN_VALID_MS: Final = 86_400_000
#: The share by which the reach may differ from that of the plan until the approval.
MAX_MOVED: Final = 0.05


class HoldOut(msgspec.Struct, frozen=True):
    """The share of the members that is never reached, in hundredths of a percent, drawn by ``salt``."""

    salt: str
    share: int


class Rate(msgspec.Struct, frozen=True):
    """At most ``at_most`` in any span of ``per_ms``."""

    at_most: int
    per_ms: int


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much may leave before a person is asked. ``share``: of all profiles, in hundredths of a percent."""

    members: int | None = None
    share: int | None = None
    entries: Rate | None = None
    exits: Rate | None = None


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """A destination by its name, and the options that it reads."""

    to: str
    options: Mapping[str, Any] = {}


class Audience(msgspec.Struct, frozen=True, omit_defaults=True):
    """Members of a segment who can be reached through a channel, and what is sent to which destinations.

    ``suppress``: keys of segments, and traits as ``trait.PATH``, that keep people out. ``frequency``: entries
    sent per person and channel. ``reasons``: reason of a membership change -> how it is sent. ``name``,
    ``description``, ``goal``, a ``did`` node, and ``alert``, both as written, decide nothing of that.
    ``written``: the audience as people wrote it.
    """

    key: str
    segment: str
    channel: Channel
    purpose: str = "marketing"
    suppress: tuple[str, ...] = ()
    hold_out: HoldOut | None = None
    frequency: Rate | None = None
    existing: Existing = "only_new"
    reasons: Mapping[str, Telling] = {}
    limits: Limits = Limits()
    deliver: tuple[Delivery, ...] = ()
    properties: tuple[str, ...] = ()
    goal: Any = None
    alert: Any = None
    name: str = ""
    description: str = ""
    written: Mapping[str, Any] = {}

    @property
    def definition_key(self) -> str:
        """The key of the definition that it compiles to."""
        return PREFIX + self.key

    @property
    def measuring_keys(self) -> tuple[str, str, str]:
        """The keys of the definitions that measure its lift: sent, hold-out, goal."""
        own = self.definition_key
        return own + SENT, own + HELD_OUT, own + GOAL


class Step(msgspec.Struct, frozen=True):
    """A step of the funnel: how many profiles are left after it."""

    name: str
    left: int


class Reach(msgspec.Struct, frozen=True):
    """The funnel from the segment to the members, measured over all ``profiles`` between two instants.

    ``unreadable``: further profiles that cannot be read. ``failed``: those for which the rule fails.
    ``incomplete``: what profiles do not store yet.
    """

    steps: tuple[Step, ...]
    profiles: int
    from_ms: int
    to_ms: int
    unreadable: int = 0
    failed: int = 0
    incomplete: tuple[str, ...] = ()

    @property
    def members(self) -> int:
        """The profiles that are left after all steps."""
        return self.steps[-1].left

    def moved(self, later: Reach) -> bool:
        """Return whether the members of ``later`` differ by more than ``MAX_MOVED``.

        >>> reach = [Reach((Step("segment", members),), 500, 0, 0) for members in (100, 105, 94)]
        >>> reach[0].moved(reach[1]), reach[0].moved(reach[2])
        (False, True)
        """
        return abs(later.members - self.members) > MAX_MOVED * self.members


class Moves(msgspec.Struct, frozen=True):
    """How many profiles enter and leave by an edit, beside those that stay."""

    entering: int
    leaving: int


class Act(msgspec.Struct, frozen=True):
    """Who did something, and when.

    ``origin``: a person, or an AI. ``verified``: the actor's token was. ``client``: the program and machine.
    """

    actor: str
    origin: Origin
    verified: bool
    client: str
    at_ms: int


class ReachPlan(msgspec.Struct, frozen=True):
    """A measured reach, and of what: ``editions``, everything that decides who is in, by name -> its hash.

    ``approved``: the members at the latest approval; None if there was none. ``moves``: who enters and leaves
    by the edits since; None if that is unknown.
    """

    id: str
    by: Act
    editions: Mapping[str, str]
    reach: Reach
    approved: int | None = None
    moves: Moves | None = None

    @property
    def expires_ms(self) -> int:
        """The instant from which it can neither be submitted nor approved."""
        return self.by.at_ms + PLAN_VALID_MS


class Signed(msgspec.Struct, frozen=True):
    """The bytes of an audit entry, and their signature; "" where no key is set."""

    entry: msgspec.Raw
    signature: str = ""


class Release(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a held audience goes on: what was published up to ``at_ms`` is sent at once, at a rate, or not.

    ``rate``: at most so many of them; None: all at once. ``discard``: they are not told.
    """

    at_ms: int
    rate: Rate | None = None
    discard: bool = False


class AudienceRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An audience as published. ``version`` counts the records of it, ``since_ms`` is when ``state`` began.

    ``authors``: who edited it since the last approval; ``by_ai``: one of them was an AI. ``submitted``: who
    asked for approval. ``plan``: the latest plan. ``approval``: the signed entry of the approval.
    ``approved``: the definitions that were approved, by key. ``note``: why it is held or was rejected.
    ``activated_ms``: when it was approved first. ``released``: how it went on after the latest hold.
    ``measured_ms``: when the definitions that measure its lift were published last.
    ``latest``: the audit entry of this record, with the same state, whose number is ``version``.
    """

    audience: Audience
    state: State
    since_ms: int
    version: int = 0
    authors: tuple[str, ...] = ()
    by_ai: bool = False
    submitted: Act | None = None
    plan: ReachPlan | None = None
    approval: Signed | None = None
    approved: Mapping[str, msgspec.Raw] = {}
    note: str = ""
    latest: Signed | None = None
    activated_ms: int | None = None
    released: Release | None = None
    measured_ms: int | None = None
