"""Rules in the form that the kernel reads (``src/rule.rs``): nodes and their leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from segops.core.areas import contains_any
from segops.core.features import Feature
from segops.core.geo import distance_m
from segops.core.operators import Predicate
from segops.core.refresh import Refresh
from segops.core.rules import model
from segops.core.rules.counts import boundaries
from segops.core.rules.execution import feature_of
from segops.core.scoring import SCORERS
from segops.core.scoring.figure_scores import WeightedScore
from segops.core.scoring.order_scores import OrderScore, numbers_in
from segops.core.scoring.recency import RecencyDays
from segops.core.scoring.rfm import MEASURES
from segops.core.values import kind
from segops.core.windows import Between, Calendar, SinceLast, Within, reach_ms
from segops.kernel import figure_rows, figure_scores, rhythm
from segops.kernel.figure_rows import LOOK_AHEAD_MS, aggregate_row, whole_days
from segops.kernel.floats import agree
from segops.kernel.order_scores import formula
from segops.kernel.predicates import (
    DATES,
    Asked,
    LeftToPythonError,
    LocationTest,
    OtherFloatsError,
    condition,
    decimal_text,
    exact_predicate,
    literal,
    plain_path,
    predicate,
)
from segops.kernel.reducers import reducer_name


class Leaves:
    """The export of one rule. ``unfolds``: a leaf changes with time as often as it has entries.

    ``is_far``: a leaf may change beyond the time in which Python searches without counting steps. Of a rule
    that has both, the kernel searches that time only, and asks about what is beyond.
    ``freezes``: a leaf is read at refreshes, which Python counts as steps.
    ``recurs``: a window is the period of a calendar, which ends in a year of four digits.
    ``dates``: the paths of traits that are read as dates.
    """

    def __init__(
        self, numbers: Mapping[int, int], inlined: Callable[[str], model.Node | int], asked: Asked
    ) -> None:
        self.unfolds = self.is_far = self.recurs = self.freezes = False
        self.dates: dict[tuple[str, ...], None] = {}
        self._numbers = numbers
        self._refresh: Refresh | None = None
        self._inlined = inlined
        self._asked = asked

    def node(self, node: model.Node) -> list[Any]:
        """Return a node. Raises LeftToPythonError."""
        make = NODES.get(type(node))
        if make is None:
            raise LeftToPythonError(node)
        return make(self, node)

    def feature(self, node: model.Node) -> tuple[int, str, Any]:
        """Return the number of a leaf's feature, its reducer, and its window."""
        feature = feature_of(node)
        if feature is None:
            raise LeftToPythonError(node)
        return self.known(feature)

    def known(self, feature: Feature) -> tuple[int, str, Any]:
        """Return the number of a feature, its reducer, and its window: a length, [a calendar], or [from, to].

        Raises LeftToPythonError.
        """
        name = reducer_name(feature)
        if name == "python":
            raise LeftToPythonError(feature)
        number = self._number(feature)
        if isinstance(feature.window, SinceLast):
            return number, name, feature.window.same is not None
        if isinstance(feature.window, Calendar):
            self.recurs = True
            return number, name, [self._asked.calendar(feature.window)]
        if not isinstance(feature.window, Within | Between):
            return number, name, None
        length = reach_ms(feature.window)
        if length > LOOK_AHEAD_MS:
            raise LeftToPythonError(feature)
        ages = (
            [feature.window.from_ms, feature.window.to_ms] if isinstance(feature.window, Between) else length
        )
        return number, name, ages

    def _number(self, feature: Feature) -> int:
        """Return the number of a feature of this leaf; in a frozen one, that of the frozen feature."""
        if self._refresh is not None:
            feature = msgspec.structs.replace(feature, refresh=self._refresh)
        return self._numbers[feature.id]

    def count(self, node: model.Node, test: Predicate) -> list[Any]:
        """Return a leaf that counts events or distinct values."""
        number, name, window = self.feature(node)
        if name.startswith("since_"):
            return ["since", number, window, name.removeprefix("since_"), predicate(test)]
        if name.startswith("scan_"):
            figure = aggregate_row(number, name, window, name.removeprefix("scan_"))
            return self.tested(figure, "count", predicate(test))
        if name == "slide_sum":
            self.unfolds = True
            return ["sum", number, "count", window, exact_predicate(test)]
        falling = boundaries(test)[::-1] if isinstance(window, int) else []
        return ["count", number, window, predicate(test), falling]

    def aggregate(self, node: model.Aggregate) -> list[Any]:
        """Return a leaf that reads values."""
        if node.function == "distinct":
            return self.count(node, node.test)
        number, name, window = self.feature(node)
        if name.startswith("since_"):
            self.is_far |= node.test.timed
            is_sum = node.function in ("sum", "avg")
            test = exact_predicate(node.test) if is_sum else condition(node.test, self._asked)
            return ["since", number, window, node.function, test]
        if name.startswith("scan_"):
            figure = aggregate_row(number, name, window, node.function)
            if node.function in ("sum", "avg"):
                return self.tested(figure, "exact", exact_predicate(node.test))
            return self.tested_value(figure, node.test)
        self.unfolds |= isinstance(window, int)
        if node.function in ("sum", "avg"):
            return ["sum", number, node.function, window, exact_predicate(node.test)]
        self.is_far |= node.test.timed
        return ["picked", number, node.function, window, condition(node.test, self._asked)]

    def tested_value(self, figure: list[Any], test: Predicate) -> list[Any]:
        """Return a leaf with a test of the value of one event; a date in it may be far away."""
        self.is_far |= test.timed
        return self.tested(figure, "value", condition(test, self._asked))

    def tested(self, figure: list[Any], kind_of: str, test: Any) -> list[Any]:
        """Return a leaf with a test of a figure, which changes with time as often as it has entries."""
        self.unfolds = True
        return ["tested", figure, kind_of, test]

    def occurrence(self, node: model.Occurrence) -> list[Any]:
        """Return a leaf about the age of an event."""
        ages = (node.older_than_ms, node.newer_than_ms)
        self.is_far |= max(age or 0 for age in ages) > LOOK_AHEAD_MS
        return ["age", self.feature(node)[0], *ages]

    def trait(self, node: model.Trait) -> list[Any]:
        """Return a leaf about a trait; a date in it may be far away."""
        test = condition(node.test, self._asked, dates=True)
        if isinstance(test, list) and any(name in DATES for name, _ in node.test.ops):
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
        days = whole_days(literal(each) for each in operands if kind(each) == "number")
        return ["recency", predicate(node.test), days]

    def _of_model(self, node: model.ScoreNode) -> list[Any]:
        """Return a leaf about a score of a model; one without a model that is ready is missing."""
        scorer = None if node.model is None else node.model.formula
        if self._refresh is not None:
            raise LeftToPythonError(node)
        if scorer is None:
            return ["all" if node.test.holds(None, 0) else "any", []]
        numbers = [*map(literal, numbers_in([node.test]))]
        try:
            if isinstance(scorer, OrderScore):
                found = self._order_score(node, scorer, numbers)
            elif isinstance(scorer, WeightedScore):
                found = ["figure_score", predicate(node.test), numbers, *self._figures(scorer)]
            else:
                raise LeftToPythonError(node)
        except ValueError:
            raise LeftToPythonError(node) from None
        if not agree():
            raise OtherFloatsError(node)
        return found

    def _order_score(self, node: model.ScoreNode, scorer: OrderScore, numbers: list[Any]) -> list[Any]:
        number, *_ = self.known(scorer.feature)
        test = predicate(node.test, dates=scorer.is_date)
        self.is_far |= scorer.moves or node.test.timed
        return ["order_score", number, test, numbers, *formula(scorer)]

    def _figures(self, scorer: WeightedScore) -> list[Any]:
        """Return the model of a score of figures, which changes with time as often as they do."""
        self.unfolds = True

        def window_of(feature: Feature) -> tuple[int, int | None]:
            number, _, length = self.known(feature)
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
        self.is_far |= max((rfm.purchases.period_ms, *rfm.recency_ms)) > LOOK_AHEAD_MS
        tiers = [(tier[0] in node.tiers, tier[1:]) for tier in rfm.tiers] if node.tiers else []
        tests = [] if node.tiers else [(MEASURES.index(name), predicate(test)) for name, test in node.tests]
        row = [self._number(feature), rfm.purchases.period_ms, rfm.recency_ms, rfm.frequency]
        return ["rfm", *row, [decimal_text(each) for each in rfm.monetary], tiers, tests]

    def sequence(self, node: model.SequenceNode) -> list[Any]:
        """Return a leaf about a sequence."""
        number, *_ = self.feature(node)
        lengths = (node.sequence.within_ms, *(step.within_ms for step in node.sequence.steps))
        self.unfolds = True
        self.is_far |= max(length or 0 for length in lengths) > LOOK_AHEAD_MS
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
        self.is_far |= (node.within_ms or 0) > LOOK_AHEAD_MS
        return ["place", self._asked.test(LocationTest(fits)), node.within_ms]

    def has_been(self, node: model.HasBeen) -> list[Any]:
        """Return a leaf about how long a trait has satisfied a condition."""
        self.is_far |= node.test.timed or node.length_ms > LOOK_AHEAD_MS
        number, *_ = self.feature(node)
        return ["has_been", number, condition(node.test, self._asked), node.length_ms]

    def known_for(self, node: model.KnownFor) -> list[Any]:
        """Return a leaf about the age of the profile."""
        self.is_far |= node.length_ms > LOOK_AHEAD_MS
        return ["known_for", node.length_ms]

    def frozen(self, node: model.Frozen) -> list[Any]:
        """Return a leaf that is read at refreshes."""
        self._refresh, self.unfolds, self.freezes = node.refresh, True, True
        inner = self.node(node.of)
        self._refresh = None
        return ["frozen", self._asked.refresh(node.refresh), inner]

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
    model.Compare: figure_rows.compared,
    model.Ratio: figure_rows.ratio,
    model.ActivePeriods: lambda of, node: of.count(node, node.count),
    model.Sessions: rhythm.sessions,
    model.SessionFigure: rhythm.session,
    model.Regularly: rhythm.regularly,
    model.LifecycleNode: rhythm.lifecycle,
    model.KnownFor: Leaves.known_for,
    model.Bucket: lambda _, node: ["bucket", node.salt, node.low, node.high],
    model.HasIdentifier: lambda _, node: ["has_identifier", list(node.types)],
    model.Frozen: Leaves.frozen,
    model.InSegment: Leaves.in_segment,
}
