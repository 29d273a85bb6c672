"""The validated tree of a rule; ``SPEC.md#nodes`` defines each node."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from segops.core.features.feature import Money
from segops.core.features.sequence import Sequence
from segops.core.operators import Predicate
from segops.core.paths import Path as Path
from segops.core.refresh import Refresh
from segops.core.rules.customer import Bucket as Bucket
from segops.core.rules.customer import HasIdentifier as HasIdentifier
from segops.core.rules.customer import ListInForce as ListInForce
from segops.core.rules.customer import Located as Located
from segops.core.rules.customer import Near as Near
from segops.core.rules.customer import OnList as OnList
from segops.core.rules.customer import Visited as Visited
from segops.core.rules.figures import Compare as Compare
from segops.core.rules.figures import Distance as Distance
from segops.core.rules.figures import PublishedFigure as PublishedFigure
from segops.core.rules.figures import Ratio as Ratio
from segops.core.rules.figures import ScoreFigure
from segops.core.scoring import scorer_of
from segops.core.scoring.base import Scorer
from segops.core.scoring.rfm import Digits, Rfm
from segops.core.scoring.scored import Scored
from segops.core.windows import Calendar, Window


class Selection(msgspec.Struct, frozen=True):
    """The events that a leaf reads: those of ``names`` whose properties satisfy every ``where``."""

    names: tuple[str, ...]
    where: tuple[tuple[Path, Predicate], ...] = ()


class All(msgspec.Struct, frozen=True, tag="all"):
    """Every child is true."""

    of: tuple[Node, ...]


class Any(msgspec.Struct, frozen=True, tag="any"):
    """At least one child is true."""

    of: tuple[Node, ...]


class Not(msgspec.Struct, frozen=True, tag="not"):
    """The child is false."""

    of: Node


class AtLeast(msgspec.Struct, frozen=True, tag="at_least"):
    """``k`` or more children are true."""

    k: int
    of: tuple[Node, ...]


class Did(msgspec.Struct, frozen=True, tag="did"):
    """The number of selected events in the window satisfies ``count`` (``did_not``: it is 0)."""

    select: Selection
    window: Window
    count: Predicate


class Aggregate(msgspec.Struct, frozen=True, tag="aggregate", omit_defaults=True):
    """``function`` of the property at ``path`` over the selected events in the window satisfies ``test``.

    ``convert`` is the conversion of the property, ``money`` its currency.
    """

    function: str
    path: Path
    select: Selection
    window: Window
    test: Predicate
    convert: str | None = None
    money: Money | None = None


class Occurrence(msgspec.Struct, frozen=True, tag="occurrence"):
    """The age of the first or last selected event: ``older_than`` and ``newer_than`` in milliseconds."""

    which: str
    select: Selection
    older_than_ms: int | None
    newer_than_ms: int | None


class Trait(msgspec.Struct, frozen=True, tag="trait"):
    """The trait at ``path`` satisfies ``test``."""

    path: Path
    test: Predicate


class KnownFor(msgspec.Struct, frozen=True, tag="known_for"):
    """The profile's earliest event is at least ``length_ms`` old."""

    length_ms: int


class HasBeen(msgspec.Struct, frozen=True, tag="has_been"):
    """The trait at ``path`` has satisfied ``test`` continuously for at least ``length_ms``."""

    path: Path
    test: Predicate
    length_ms: int


class Changed(msgspec.Struct, frozen=True, tag="changed"):
    """In the window, the trait at ``path`` changed from a value of ``before`` to one of ``after``.

    None accepts every value, missing included.
    """

    path: Path
    before: Predicate | None
    after: Predicate | None
    window: Window


class SequenceNode(msgspec.Struct, frozen=True, tag="sequence"):
    """Events match the ``did`` steps in order, and none matches a ``did_not`` (``SPEC.md#sequence``)."""

    sequence: Sequence


class ActivePeriods(msgspec.Struct, frozen=True, tag="active_periods"):
    """The number of the calendar's periods with a selected event in the window satisfies ``count``."""

    select: Selection
    calendar: Calendar
    window: Window
    count: Predicate


class Sessions(msgspec.Struct, frozen=True, tag="sessions"):
    """The number of sessions of selected events that begin in the window satisfies ``count``."""

    select: Selection
    gap_ms: int
    window: Window
    count: Predicate


class SessionFigure(msgspec.Struct, frozen=True, tag="session"):
    """A figure of the ``current`` or the ``last`` session satisfies ``test``.

    ``figure``: duration (in milliseconds), events, or the first or last value of the property at ``path``.
    """

    figure: str
    path: Path | None
    select: Selection
    gap_ms: int
    which: str
    test: Predicate


class Regularly(msgspec.Struct, frozen=True, tag="regularly"):
    """There was a selected event in ``k`` or more of the latest ``periods``, counted back from now."""

    select: Selection
    period_ms: int
    k: int
    periods: int


class LifecycleNode(msgspec.Struct, frozen=True, tag="lifecycle"):
    """The profile's stage by its selected events is one of ``stages`` (``SPEC.md#lifecycle``)."""

    select: Selection
    period_ms: int
    stages: tuple[str, ...]


class RfmNode(msgspec.Struct, frozen=True, tag="rfm"):
    """The profile's RFM tier is one of ``tiers``, or (``tiers`` empty) its digits satisfy all ``tests``."""

    rfm: Rfm
    tiers: tuple[str, ...]
    tests: tuple[tuple[str, Predicate], ...] = ()

    @property
    def scorer(self) -> Scorer:
        """The scoring model."""
        return self.rfm

    @property
    def predicates(self) -> tuple[Predicate, ...]:
        """The predicates of the score."""
        return tuple(test for _, test in self.tests)

    def holds(self, score: Digits | None, now_ms: int) -> bool:
        """Return whether a score satisfies the node."""
        return score is not None and self.fits(score, now_ms)

    def fits(self, digits: Digits, now_ms: int = 0) -> bool:
        """Return whether digits satisfy the node."""
        if self.tiers:
            return self.rfm.tier(digits) in self.tiers
        return all(test.holds(getattr(digits, name), now_ms) for name, test in self.tests)


class ScoreNode(msgspec.Struct, frozen=True, tag="score", omit_defaults=True):
    """The score ``name`` satisfies ``test``. ``model``: what it is computed from; None: no model has it.

    ``of``: the value whose affinity it is.
    """

    name: str
    test: Predicate
    model: Scored | None = None
    of: str | None = None

    @property
    def untested(self) -> ScoreFigure:
        """The score without the test."""
        return ScoreFigure(self.name, self.model, self.of)

    @property
    def scorer(self) -> Scorer:
        """The scoring model of a score without ``model``."""
        return scorer_of(self.name)

    @property
    def predicates(self) -> tuple[Predicate, ...]:
        """The predicates of the score."""
        return (self.test,)

    def holds(self, score: object, now_ms: int) -> bool:
        """Return whether a score satisfies the node."""
        return self.test.holds(score, now_ms)


class Hysteresis(msgspec.Struct, frozen=True, tag="hysteresis"):
    """For a non-member of the segment: ``enter``. For a member: the value exists and not ``exit``."""

    enter: ScoreNode | RfmNode
    exit: ScoreNode | RfmNode


class Frozen(msgspec.Struct, frozen=True, tag="frozen"):
    """``of``, a leaf about events, held at the latest refresh over those that had arrived before it."""

    of: Node
    refresh: Refresh


class InSegment(msgspec.Struct, frozen=True, tag="in_segment"):
    """The profile is a member of ``key`` now."""

    key: str


Node = (
    All
    | Any
    | Not
    | AtLeast
    | Did
    | Aggregate
    | Occurrence
    | Trait
    | HasBeen
    | Changed
    | HasIdentifier
    | OnList
    | Near
    | Located
    | Visited
    | Bucket
    | SequenceNode
    | RfmNode
    | ScoreNode
    | Hysteresis
    | KnownFor
    | InSegment
    | ActivePeriods
    | Sessions
    | SessionFigure
    | Regularly
    | LifecycleNode
    | Compare
    | Ratio
    | Frozen
    | Distance
    | PublishedFigure
)


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below a node."""
    match node:
        case All(of=of) | Any(of=of) | AtLeast(of=of):
            return of
        case Not(of=child):
            return (child,)
        case Hysteresis(enter=enter, exit=exit):
            return enter, exit
    return ()


def below(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it, depth first."""
    yield node
    for child in children(node):
        yield from below(child)


def thawed(node: Node) -> Node:
    """Return the leaf in a frozen node; any other node as it is."""
    return node.of if isinstance(node, Frozen) else node


def side(node: Node, *, inside: bool) -> Node:
    """Return the rule without hysteresis, for members (``inside``) or non-members of its segment.

    A rule without hysteresis is returned as the same object. A rule that holds outside also holds inside,
    since hysteresis is not allowed under ``not``.
    """
    match node:
        case Hysteresis(enter=enter, exit=exit):
            return All((_has_value(exit), Not(exit))) if inside else enter
        case All(of=of) | Any(of=of) | AtLeast(of=of):
            below = tuple(side(child, inside=inside) for child in of)
            changed = any(new is not old for new, old in zip(below, of, strict=True))
            return msgspec.structs.replace(node, of=below) if changed else node
    return node


def _has_value(node: ScoreNode | RfmNode) -> Node:
    if isinstance(node, ScoreNode):
        return ScoreNode(node.name, Predicate((("exists", True),)), node.model, node.of)
    return RfmNode(node.rfm, (), (("recency", Predicate((("gte", 1),))),))


def identity(node: Node) -> str:
    """Return the hash of a rule's canonical form: equal for rules that differ only in layout.

    The order of the children of ``all``, ``any`` and ``at_least`` does not count.

    >>> a, b = KnownFor(5), InSegment("vip")
    >>> identity(All((a, b))) == identity(All((b, a))), identity(All((a, b))) == identity(Any((a, b)))
    (True, False)
    """
    return hashlib.sha256(canonical(node)).hexdigest()


def canonical(node: Node) -> bytes:
    """Return the canonical JSON of a rule."""
    return msgspec.json.encode(_sorted(msgspec.to_builtins(node)), order="sorted")


def _sorted(form: dict[str, object]) -> dict[str, object]:
    below = form.get("of")
    if isinstance(below, dict):
        return {**form, "of": _sorted(below)}
    if isinstance(below, (list, tuple)):
        return {**form, "of": sorted((_sorted(child) for child in below), key=msgspec.json.encode)}
    return form
