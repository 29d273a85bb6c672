"""Whether some nodes can be true, and others false, at one instant: nodes over the same value are compared.

The answer is conservative: a reported conflict is certain, but not every conflict is found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import NamedTuple

import msgspec

from segops.core.features import ANY_NAME
from segops.core.features.periods import DORMANT
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.analysis.satisfiability import ANY_KIND, Requirement, possible
from segops.core.rules.counts import boundaries
from segops.core.rules.execution.leaves import exact_test
from segops.core.rules.figures import (
    AggregateFigure,
    CountFigure,
    DistanceFigure,
    Figure,
    Number,
    RatioFigure,
    TierFigure,
    TraitFigure,
)
from segops.core.scoring.models import AFFINITY
from segops.core.scoring.rfm import Rfm
from segops.core.windows import ALWAYS, Between, Fixed, SinceLast, Window, Within


class Literal(NamedTuple):
    """A node, its path in the rule, and whether it must be true or false."""

    node: model.Node
    path: str = ""
    holds: bool = True


Literals = Sequence[Literal]
#: Nodes over days, sessions and periods.
_RHYTHM = frozenset[type](
    {model.ActivePeriods, model.Sessions, model.SessionFigure, model.Regularly, model.LifecycleNode}
)
NOTHING = Predicate(())


def conflict(literals: Literals) -> Literals:
    """Return literals that can never be satisfied together; empty if no conflict is found.

    >>> old, young = Literal(model.KnownFor(60), "a"), Literal(model.KnownFor(30), "b", holds=False)
    >>> [literal.path for literal in conflict([old, young])]
    ['a', 'b']
    """
    kinds = {type(literal.node) for literal in literals}
    searches = (search for search, of in _SEARCHES.items() if not of or not kinds.isdisjoint(of))
    return next((found for search in searches for found in search(literals)), ())


def _opposites(literals: Literals) -> Iterator[Literals]:
    if len({literal.holds for literal in literals}) < 2:
        return
    known: dict[tuple[bytes, bool], Literal] = {}
    for literal in literals:
        form = model.canonical(literal.node)
        known.setdefault((form, literal.holds), literal)
        if (other := known.get((form, not literal.holds))) is not None:
            yield other, literal


def _groups(literals: Literals, key_of: Callable[[Literal], Hashable]) -> Iterable[list[Literal]]:
    groups: dict[Hashable, list[Literal]] = defaultdict(list)
    for literal in literals:
        if (key := key_of(literal)) is not None:
            groups[key].append(literal)
    return groups.values()


# -- predicates of one value ---------------------------------------------------------------------------


class _Tested(NamedTuple):
    """The value that a node tests, its predicate, and the kinds that the value can have."""

    what: model.Node
    test: Predicate
    kinds: tuple[str, ...]


def _may_be_unanchored(literal: Literal) -> bool:
    """Whether the literal holds whatever the node tests, if there is no anchor."""
    window = getattr(literal.node, "window", None)
    return isinstance(window, SinceLast) and not literal.holds


def _tested(literal: Literal) -> _Tested | None:
    if _may_be_unanchored(literal):
        return None
    match literal.node:
        case model.Frozen(of=inner, refresh=refresh):
            found = _tested(literal._replace(node=inner))
            return None if found is None else found._replace(what=model.Frozen(found.what, refresh))
        case model.Trait(path=path, test=test):
            return _Tested(model.Trait(path, NOTHING), test, ANY_KIND)
        case model.HasBeen(path=path, test=test) if literal.holds:
            return _Tested(model.Trait(path, NOTHING), test, ANY_KIND)
        case model.ScoreNode(test=test) as node:
            kinds = _kinds_of_score(node)
            return _Tested(msgspec.structs.replace(node, test=NOTHING), test, kinds)
        case model.Did(count=test) as node:
            return _Tested(msgspec.structs.replace(node, count=NOTHING), test, ("whole",))
        case model.Aggregate(function=function, test=test) as node:
            what = msgspec.structs.replace(node, test=NOTHING)
            return _Tested(what, _exact(function, test), KINDS[function])
    return _compared(literal.node) or _rhythm(literal.node)


def _kinds_of_score(node: model.ScoreNode) -> tuple[str, ...]:
    if node.name == "next_order_at":
        return ANY_KIND
    is_text = node.of is None and node.name.startswith(AFFINITY)
    return ("missing", "string" if is_text else "number")


def _compared(node: model.Node) -> _Tested | None:
    match node:
        case model.Compare(left=left, operator=operator, right=Number(number=number)):
            value = model.Compare(left, "eq", Number(Decimal(0)))
            return _Tested(value, Predicate(((operator, Fraction(number)),)), _figure_kinds(left))
        case model.Distance(test=test):
            metres = msgspec.structs.replace(node, test=NOTHING)
            return _Tested(metres, exact_test("avg", test), ("missing", "number"))
        case model.Ratio(test=test):
            quotient = msgspec.structs.replace(node, test=NOTHING)
            return _Tested(quotient, exact_test("avg", test), ("missing", "number"))
    return None


def _rhythm(node: model.Node) -> _Tested | None:
    match node:
        case model.ActivePeriods(count=test) | model.Sessions(count=test):
            return _Tested(msgspec.structs.replace(node, count=NOTHING), test, ("whole",))
        case model.SessionFigure(path=path, test=test):
            kinds = ANY_KIND if path else ("missing", "whole")
            return _Tested(msgspec.structs.replace(node, test=NOTHING), test, kinds)
        case model.Regularly(k=k):
            return _Tested(msgspec.structs.replace(node, k=0), Predicate((("gte", k),)), ("whole",))
        case model.LifecycleNode(stages=stages):
            wanted = Predicate((("in", stages),))
            return _Tested(msgspec.structs.replace(node, stages=()), wanted, ("missing", "string"))
    return None


def _figure_kinds(figure: Figure) -> tuple[str, ...]:
    """Return the kinds that the value of a figure can have."""
    match figure:
        case CountFigure():
            return ("whole",)
        case AggregateFigure(function=function):
            return KINDS[function]
        case TraitFigure():
            return ANY_KIND
        case DistanceFigure() | RatioFigure():
            return ("missing", "number")
        case TierFigure():
            return ("missing", "string")
    return ("missing", "whole")


def _about(what: model.Node) -> Hashable:
    """Return a key that is equal for nodes over the same value: cheaper than the canonical form."""
    match what:
        case model.Trait(path=path):
            return path
        case model.Did(select=select):
            return select.names
        case model.Aggregate(function=function, path=path, select=select):
            return function, path, select.names
        case _ if type(what) in _RHYTHM:
            return type(what), what.select.names  # type: ignore[union-attr]
    return None


def _exact(function: str, test: Predicate) -> Predicate:
    """Convert the thresholds of a sum or mean to the exact decimals as written."""
    return exact_test("avg", test) if function in ("sum", "avg") else test


#: Function of an aggregate -> the kinds that its value can have.
KINDS: dict[str, tuple[str, ...]] = {
    "sum": ("number",),
    "distinct": ("whole",),
    **dict.fromkeys(("avg", "min", "max"), ("missing", "number")),
    **dict.fromkeys(("latest", "earliest", "most_frequent"), ANY_KIND),
}


def _values(literals: Literals) -> Iterator[Literals]:
    tests = [(literal, tested) for literal in literals if (tested := _tested(literal)) is not None]
    alike = Counter(_about(tested.what) for _, tested in tests)
    groups: dict[Hashable, list[tuple[Literal, _Tested]]] = defaultdict(list)
    for literal, tested in tests:
        about = _about(tested.what)
        groups[about if alike[about] == 1 else model.canonical(tested.what)].append((literal, tested))
    for group in groups.values():
        found = [(tested, literal.holds) for literal, tested in group]
        if not possible([Requirement(tested.test, holds) for tested, holds in found], found[0][0].kinds):
            yield [literal for literal, _ in group]


# -- numbers of events ----------------------------------------------------------------------------------


class _Number(NamedTuple):
    """Bounds on the number of selected events in a window: ``least`` to ``most`` (None: unbounded)."""

    of: Literal
    select: model.Selection
    window: Window
    least: int
    most: int | None = None


def _numbers(literals: Literals) -> Iterator[Literals]:
    found = [literal for literal in literals if not _may_be_unanchored(literal)]
    known = [number for literal in found for number in _numbers_of(literal)]
    for few, many in product(known, known):
        if few.most is not None and many.least > few.most and _covers(few, many):
            yield (few.of,) if few.of is many.of else (many.of, few.of)


def _numbers_of(literal: Literal) -> Iterator[_Number]:
    node, holds = literal.node, literal.holds
    match node:
        case model.Did(select=select, window=window, count=count):
            yield from _counted(literal, select, window, count)
        case model.Aggregate(function="distinct", select=select, window=window, test=test):
            # At least as many events as distinct values; there is no upper bound.
            yield from (n._replace(most=None) for n in _counted(literal, select, window, test))
        case model.Aggregate(function=function, select=select, window=window, test=test):
            if test.holds(0 if function == "sum" else None, 0) is not holds:
                yield _Number(literal, select, window, 1)
        case model.Occurrence() if holds:
            yield from _aged(literal, node)
        case model.SequenceNode(sequence=sequence) if holds:
            steps = [model.Selection(step.names, step.where) for step in sequence.steps if not step.absent]
            yield from (_Number(literal, select, ALWAYS, 1) for select in steps)
        case model.RfmNode() if holds:
            yield _Number(literal, model.Selection(*node.rfm.selection), ALWAYS, 1)
    yield from _numbers_of_rhythm(literal)


def _numbers_of_rhythm(literal: Literal) -> Iterator[_Number]:
    node, holds = literal.node, literal.holds
    match node:
        case (
            model.ActivePeriods(select=select, window=window, count=count)
            | model.Sessions(select=select, window=window, count=count)
        ):
            # At least as many events; there is no upper bound.
            yield from (n._replace(most=None) for n in _counted(literal, select, window, count))
        case model.Regularly(select=select, period_ms=period_ms, k=k, periods=periods) if holds:
            yield _Number(literal, select, Within(period_ms * periods), k)
        case model.LifecycleNode(select=select, period_ms=period_ms, stages=stages) if holds:
            yield _Number(literal, select, ALWAYS, 1)
            if stages == (DORMANT,):
                yield _Number(literal, select, Within(period_ms), 0, 0)
            elif DORMANT not in stages:
                yield _Number(literal, select, Within(period_ms), 1)


def _counted(literal: Literal, select: model.Selection, window: Window, test: Predicate) -> Iterator[_Number]:
    steps = (0, *boundaries(test))
    fitting = [at for at, count in enumerate(steps) if test.holds(count, 0) is literal.holds]
    if fitting:
        after = steps[fitting[-1] + 1 :]
        yield _Number(literal, select, window, steps[fitting[0]], after[0] - 1 if after else None)


def _aged(literal: Literal, node: model.Occurrence) -> Iterator[_Number]:
    yield _Number(literal, node.select, ALWAYS, 1)
    if node.newer_than_ms is not None:
        yield _Number(literal, node.select, Within(node.newer_than_ms), 1)
    if node.older_than_ms and node.which == "last":
        yield _Number(literal, node.select, Within(node.older_than_ms), 0, 0)


def _covers(wide: _Number, narrow: _Number) -> bool:
    """Whether every event in ``narrow`` is also in ``wide``."""
    return (
        (ANY_NAME in wide.select.names or set(narrow.select.names) <= set(wide.select.names))
        and _conditions(wide.select) <= _conditions(narrow.select)
        and _window_covers(wide.window, narrow.window)
    )


def _conditions(select: model.Selection) -> set[bytes]:
    return {msgspec.json.encode(condition, order="sorted") for condition in select.where}


def _window_covers(wide: Window, narrow: Window) -> bool:
    if wide in (ALWAYS, narrow):
        return True
    if isinstance(wide, Fixed) and isinstance(narrow, Fixed):
        begins = wide.since_ms is None or (narrow.since_ms is not None and wide.since_ms <= narrow.since_ms)
        ends = wide.until_ms is None or (narrow.until_ms is not None and narrow.until_ms <= wide.until_ms)
        return begins and ends
    outer, inner = _ages(wide), _ages(narrow)
    return outer is not None and inner is not None and outer[0] <= inner[0] and inner[1] <= outer[1]


def _ages(window: Window) -> tuple[int, int] | None:
    """Return the ages of the events in a window: from the first on, below the second."""
    match window:
        case Within(length_ms=length):
            return 0, length
        case Between(from_ms=from_ms, to_ms=to_ms):
            return to_ms, from_ms
    return None


# -- other properties of a profile -----------------------------------------------------------------------


def _known_for(literals: Literals) -> Iterator[Literals]:
    known = [
        (literal, literal.node.length_ms) for literal in literals if isinstance(literal.node, model.KnownFor)
    ]
    for young, below_ms in known:
        if young.holds:
            continue
        if below_ms == 0:
            yield (young,)
        yield from ((old, young) for old, age_ms in known if old.holds and age_ms >= below_ms)


def _buckets(literals: Literals) -> Iterator[Literals]:
    def salt(literal: Literal) -> str | None:
        return literal.node.salt if isinstance(literal.node, model.Bucket) else None

    for group in _groups(literals, salt):
        buckets = [
            (literal.node, literal.holds) for literal in group if isinstance(literal.node, model.Bucket)
        ]
        shares = {0, *(end for bucket, _ in buckets for end in (bucket.low, bucket.high) if end < 10_000)}
        if not any(all((b.low <= share < b.high) is holds for b, holds in buckets) for share in shares):
            yield group


def _digits(literals: Literals) -> Iterator[Literals]:
    def grid(literal: Literal) -> Rfm | None:
        return literal.node.rfm if isinstance(literal.node, model.RfmNode) else None

    for group in _groups(literals, grid):
        nodes = [
            (literal.node, literal.holds) for literal in group if isinstance(literal.node, model.RfmNode)
        ]
        if any(holds for _, holds in nodes) and not any(
            all(node.holds(digits, 0) is holds for node, holds in nodes) for digits in nodes[0][0].rfm.cells()
        ):
            yield group


#: Search -> the node types that it compares; empty: all.
_SEARCHES: dict[Callable[[Literals], Iterator[Literals]], frozenset[type]] = {
    _opposites: frozenset(),
    _values: frozenset({model.Trait, model.HasBeen, model.ScoreNode, model.Did, model.Aggregate})
    | frozenset({model.Compare, model.Ratio, model.Frozen, model.Distance})
    | _RHYTHM,
    _numbers: frozenset({model.Did, model.Aggregate, model.Occurrence, model.SequenceNode, model.RfmNode})
    | _RHYTHM,
    _known_for: frozenset({model.KnownFor}),
    _buckets: frozenset({model.Bucket}),
    _digits: frozenset({model.RfmNode}),
}
