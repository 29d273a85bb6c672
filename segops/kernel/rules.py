"""Rules in the form that the kernel reads (``src/rule.rs``): leaves, predicates, and questions about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, floor, isfinite
from typing import Any, Final

from segops.core.areas import contains_any
from segops.core.features import Feature
from segops.core.geo import distance_m
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.counts import boundaries
from segops.core.rules.execution import feature_of
from segops.core.scoring import SCORERS
from segops.core.scoring.figure_scores import WeightedScore
from segops.core.scoring.order_scores import OrderScore, numbers_in
from segops.core.scoring.recency import RecencyDays
from segops.core.scoring.rfm import MEASURES
from segops.core.values import exact, kind
from segops.core.windows import Calendar, SinceLast, Within
from segops.kernel import figure_scores
from segops.kernel.floats import agree
from segops.kernel.order_scores import formula
from segops.kernel.reducers import reducer_name

#: Further ahead, Python ends its search for a flip after so many steps; the kernel counts them otherwise.
_LOOK_AHEAD_MS: Final = 3_653 * 86_400_000
_MAX_DAYS: Final = _LOOK_AHEAD_MS // 86_400_000

_ORDERED: Final = frozenset(("eq", "ne", "lt", "lte", "gt", "gte"))
_SEVERAL: Final = frozenset(("in", "not_in", "between"))
_TEXTS: Final = frozenset(("contains", "starts_with", "ends_with"))
_DATES: Final = frozenset(("before", "after", "in_last", "in_next", "older_than", "newer_than"))


class LeftToPythonError(Exception):
    """A node, a predicate or a feature that the kernel does not evaluate."""


class OtherFloatsError(LeftToPythonError):
    """A score that the kernel would evaluate, if it computed floats as this Python does."""


class LocationTest:
    """A predicate of a location: its latitude and longitude in degrees."""

    timed = False

    def __init__(self, fits: Callable[[tuple[float, float]], bool]) -> None:
        self._fits = fits

    def holds(self, value: Any, _now_ms: int) -> bool:
        """Return whether a location satisfies it."""
        return self._fits((value[0], value[1]))

    def next_edge(self, _value: Any, _now_ms: int) -> int | None:
        """Return None: time alone changes nothing."""


class Asked:
    """What Python is asked about, each once, by number."""

    def __init__(self) -> None:
        #: In order; not united, since 1 and true are equal.
        self.tests: list[Predicate | LocationTest] = []
        self.calendars: dict[Calendar, int] = {}

    def test(self, test: Predicate | LocationTest) -> int:
        """Return the number of a predicate."""
        self.tests.append(test)
        return len(self.tests) - 1

    def calendar(self, calendar: Calendar) -> int:
        """Return the number of a calendar."""
        return self.calendars.setdefault(calendar, len(self.calendars))


def plain_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path that the kernel reads. Raises LeftToPythonError for one outside of the properties."""
    if not path or not path[0]:
        raise LeftToPythonError(path)  # of the context, of a look-up, or the time
    return path


# -- predicates --------------------------------------------------------------------------------------------


def condition(test: Predicate, asked: Asked, *, dates: bool = False) -> list[Any] | int:
    """Return a predicate, or its number if Python is asked about it."""
    try:
        return _predicate(test, dates=dates)
    except LeftToPythonError:
        return asked.test(test)


def _predicate(test: Predicate, *, dates: bool = False) -> list[Any]:
    if test.__class__ is not Predicate:
        raise LeftToPythonError(test)  # of a converted value
    return [[name, _operand(name, operand, dates=dates)] for name, operand in test.ops]


def _operand(name: str, operand: Any, *, dates: bool) -> Any:
    if name in _ORDERED:
        return _literal(operand)
    if name in _SEVERAL:
        return [_literal(each) for each in operand]
    if name in _TEXTS or name == "exists" or (dates and name in _DATES):
        return operand
    raise LeftToPythonError(name)


def _literal(value: Any) -> Any:
    of = kind(value)
    if of in ("string", "boolean"):
        return value
    if of != "number" or not isinstance(value, int | float) or not isfinite(value):
        raise LeftToPythonError(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise LeftToPythonError(value)
    return value


def _exact(test: Predicate) -> list[Any]:
    """Return a predicate of a sum, its numbers as texts of the decimals that were written."""
    found = []
    for name, operand in test.ops:
        if name == "exists":
            found.append([name, operand])
        elif name in _ORDERED:
            found.append([name, _decimal(operand)])
        elif name in _SEVERAL:
            found.append([name, [_decimal(each) for each in operand]])
        else:
            raise LeftToPythonError(name)
    return found


def _decimal(value: Any) -> str:
    if kind(value) != "number":
        raise LeftToPythonError(value)
    return str(exact(value))


# -- nodes -------------------------------------------------------------------------------------------------


class Leaves:
    """The export of one rule. ``unfolds``: a leaf changes with time as often as it has entries.

    ``is_far``: a leaf may change beyond the time in which Python searches without counting steps. Of a rule
    that has both, the kernel searches that time only, and asks about what is beyond.
    ``recurs``: a window is the period of a calendar, which ends in a year of four digits.
    ``dates``: the paths of traits that are read as dates.
    """

    def __init__(
        self, numbers: Mapping[int, int], inlined: Callable[[str], model.Node | int], asked: Asked
    ) -> None:
        self.unfolds = self.is_far = self.recurs = False
        self.dates: dict[tuple[str, ...], None] = {}
        self._numbers = numbers
        self._inlined = inlined
        self._asked = asked

    def node(self, node: model.Node) -> list[Any]:
        """Return a node. Raises LeftToPythonError."""
        make = NODES.get(type(node))
        if make is None:
            raise LeftToPythonError(node)
        return make(self, node)

    def feature(self, node: model.Node) -> tuple[int, str, Any]:
        """Return the number of a leaf's feature, its reducer, and its window: a length, or [a calendar]."""
        return self._feature(feature_of(node))

    def _feature(self, feature: Feature | None) -> tuple[int, str, Any]:
        name = "python" if feature is None else reducer_name(feature)
        if feature is None or name == "python":
            raise LeftToPythonError(feature)
        if isinstance(feature.window, SinceLast):
            return self._numbers[feature.id], name, feature.window.same is not None
        if isinstance(feature.window, Calendar):
            self.recurs = True
            return self._numbers[feature.id], name, [self._asked.calendar(feature.window)]
        length = feature.window.length_ms if isinstance(feature.window, Within) else None
        if length is not None and length > _LOOK_AHEAD_MS:
            raise LeftToPythonError(feature)
        return self._numbers[feature.id], name, length

    def count(self, node: model.Node, test: Predicate) -> list[Any]:
        """Return a leaf that counts events or distinct values."""
        number, name, window = self.feature(node)
        if name.startswith("since_"):
            return ["since", number, window, name.removeprefix("since_"), _predicate(test)]
        if name == "slide_sum":
            self.unfolds = True
            return ["sum", number, "count", window, _exact(test)]
        falling = boundaries(test)[::-1] if isinstance(window, int) else []
        return ["count", number, window, _predicate(test), falling]

    def aggregate(self, node: model.Aggregate) -> list[Any]:
        """Return a leaf that reads values."""
        if node.function == "distinct":
            return self.count(node, node.test)
        number, name, window = self.feature(node)
        if name.startswith("since_"):
            self.is_far |= node.test.timed
            is_sum = node.function in ("sum", "avg")
            test = _exact(node.test) if is_sum else condition(node.test, self._asked)
            return ["since", number, window, node.function, test]
        self.unfolds |= isinstance(window, int)
        if node.function in ("sum", "avg"):
            return ["sum", number, node.function, window, _exact(node.test)]
        self.is_far |= node.test.timed
        return ["picked", number, node.function, window, condition(node.test, self._asked)]

    def occurrence(self, node: model.Occurrence) -> list[Any]:
        """Return a leaf about the age of an event."""
        ages = (node.older_than_ms, node.newer_than_ms)
        self.is_far |= max(age or 0 for age in ages) > _LOOK_AHEAD_MS
        return ["age", self.feature(node)[0], *ages]

    def trait(self, node: model.Trait) -> list[Any]:
        """Return a leaf about a trait; a date in it may be far away."""
        test = condition(node.test, self._asked, dates=True)
        if isinstance(test, list) and any(name in _DATES for name, _ in node.test.ops):
            self.dates[node.path] = None
        self.is_far |= node.test.timed
        return ["trait", plain_path(node.path), test]

    def score(self, node: model.ScoreNode) -> list[Any]:
        """Return a leaf about the days since the latest event, or about a score of a model."""
        if node.name not in SCORERS:
            return self._of_model(node)
        if node.model is not None or node.of is not None or not isinstance(node.scorer, RecencyDays):
            raise LeftToPythonError(node)
        operands = (o for _, of in node.test.ops for o in (of if isinstance(of, tuple) else (of,)))
        numbers = [_literal(each) for each in operands if kind(each) == "number"]
        days = sorted({day for number in numbers for day in (ceil(number), floor(number) + 1)})
        if any(abs(day) > _MAX_DAYS for day in days):
            raise LeftToPythonError(node)
        return ["recency", _predicate(node.test), days]

    def _of_model(self, node: model.ScoreNode) -> list[Any]:
        """Return a leaf about a score of a model; one without a model that is ready is missing."""
        scorer = None if node.model is None else node.model.formula
        if scorer is None:
            return ["all" if node.test.holds(None, 0) else "any", []]
        numbers = [*map(_literal, numbers_in([node.test]))]
        try:
            if isinstance(scorer, OrderScore):
                found = self._order_score(node, scorer, numbers)
            elif isinstance(scorer, WeightedScore):
                found = ["figure_score", _predicate(node.test), numbers, *self._figures(scorer)]
            else:
                raise LeftToPythonError(node)
        except ValueError:
            raise LeftToPythonError(node) from None
        if not agree():
            raise OtherFloatsError(node)
        return found

    def _order_score(self, node: model.ScoreNode, scorer: OrderScore, numbers: list[Any]) -> list[Any]:
        number, *_ = self._feature(scorer.feature)
        test = _predicate(node.test, dates=scorer.is_date)
        self.is_far |= scorer.moves or node.test.timed
        return ["order_score", number, test, numbers, *formula(scorer)]

    def _figures(self, scorer: WeightedScore) -> list[Any]:
        """Return the model of a score of figures, which changes with time as often as they do."""
        self.unfolds = True

        def window_of(feature: Feature) -> tuple[int, int | None]:
            number, _, length = self._feature(feature)
            return number, length

        return figure_scores.model(scorer, window_of)

    def rfm(self, node: model.RfmNode) -> list[Any]:
        """Return a leaf about the digits of RFM."""
        rfm, feature = node.rfm, node.rfm.feature
        if rfm.unmeasured is not None or reducer_name(feature) == "python":
            raise LeftToPythonError(node)
        edges = (*rfm.recency_ms, *rfm.frequency)
        if not all(each.__class__ is int and abs(each) < 1 << 60 for each in edges):
            raise LeftToPythonError(node)
        self.unfolds = True
        self.is_far |= max((rfm.purchases.period_ms, *rfm.recency_ms)) > _LOOK_AHEAD_MS
        tiers = [(tier[0] in node.tiers, tier[1:]) for tier in rfm.tiers] if node.tiers else []
        tests = [] if node.tiers else [(MEASURES.index(name), _predicate(test)) for name, test in node.tests]
        row = [self._numbers[feature.id], rfm.purchases.period_ms, rfm.recency_ms, rfm.frequency]
        return ["rfm", *row, [_decimal(each) for each in rfm.monetary], tiers, tests]

    def sequence(self, node: model.SequenceNode) -> list[Any]:
        """Return a leaf about a sequence."""
        number, *_ = self.feature(node)
        lengths = (node.sequence.within_ms, *(step.within_ms for step in node.sequence.steps))
        self.unfolds = True
        self.is_far |= max(length or 0 for length in lengths) > _LOOK_AHEAD_MS
        return ["sequence", number]

    def near(self, node: model.Near) -> list[Any]:
        """Return a leaf about the distance to the last known location."""
        center, radius_m = (node.lat, node.lon), node.radius_m
        return self._location(node, lambda at: distance_m(at, center) <= radius_m)

    def located(self, node: model.Located) -> list[Any]:
        """Return a leaf about the areas of the last known location."""
        areas = node.areas
        return self._location(node, lambda at: contains_any(areas, at))

    def _location(
        self, node: model.Near | model.Located, fits: Callable[[tuple[float, float]], bool]
    ) -> list[Any]:
        if node.by is not None:
            raise LeftToPythonError(node)  # it reads events
        self.is_far |= (node.within_ms or 0) > _LOOK_AHEAD_MS
        return ["place", self._asked.test(LocationTest(fits)), node.within_ms]

    def has_been(self, node: model.HasBeen) -> list[Any]:
        """Return a leaf about how long a trait has satisfied a condition."""
        self.is_far |= node.test.timed or node.length_ms > _LOOK_AHEAD_MS
        number, *_ = self.feature(node)
        return ["has_been", number, condition(node.test, self._asked), node.length_ms]

    def known_for(self, node: model.KnownFor) -> list[Any]:
        """Return a leaf about the age of the profile."""
        self.is_far |= node.length_ms > _LOOK_AHEAD_MS
        return ["known_for", node.length_ms]

    def in_segment(self, node: model.InSegment) -> list[Any]:
        """Return the rule of the segment, or its recorded membership."""
        found = self._inlined(node.key)
        return ["member", found] if isinstance(found, int) else self.node(found)


#: Node -> its export; a rule with any other node is asked.
NODES: Final[Mapping[type, Callable[[Leaves, Any], list[Any]]]] = {
    model.All: lambda of, node: ["all", [of.node(each) for each in node.of]],
    model.Any: lambda of, node: ["any", [of.node(each) for each in node.of]],
    model.Not: lambda of, node: ["not", of.node(node.of)],
    model.AtLeast: lambda of, node: ["at_least", node.k, [of.node(each) for each in node.of]],
    model.Did: lambda of, node: of.count(node, node.count),
    model.Aggregate: Leaves.aggregate,
    model.Occurrence: Leaves.occurrence,
    model.Trait: Leaves.trait,
    model.HasBeen: Leaves.has_been,
    model.SequenceNode: Leaves.sequence,
    model.RfmNode: Leaves.rfm,
    model.ScoreNode: Leaves.score,
    model.Near: Leaves.near,
    model.Located: Leaves.located,
    model.KnownFor: Leaves.known_for,
    model.Bucket: lambda _, node: ["bucket", node.salt, node.low, node.high],
    model.HasIdentifier: lambda _, node: ["has_identifier", list(node.types)],
    model.InSegment: Leaves.in_segment,
}
