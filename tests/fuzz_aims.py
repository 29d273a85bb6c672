"""How ``make fuzz`` draws a case for rows of its table: nodes that have them, and events about them."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import chain
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider

from segops.core.segments import SegmentSet

from .core.contradictory_rules import operands
from .core.strategies import (
    AGGREGATES,
    aggregates,
    composite,
    hystereses,
    leaf_kinds,
    rules,
    timed_rules,
    traits,
)
from .core.strategies_figures import indicator_rules
from .core.test_equivalence import make_definition
from .fuzz_coverage import ROWS, Goal, Row, Steps, columns_of, nodes
from .fuzz_streams import maps_of, steps_about

Form = dict[str, Any]
Case = tuple[SegmentSet, Steps, bool]

#: The nodes of a sample, and how many samples are drawn until every row is found.
_SAMPLES, _MOST_SAMPLES = 25, 9
#: How many nodes are drawn until one has the row, and how many of these until one reaches the goal.
_DRAWS, _ATTEMPTS = 25, 4


class EvenProvider(HypothesisProvider):
    """Draws each whole number of a range equally often; Hypothesis prefers some by far."""

    def draw_integer(self, min_value: int | None = None, max_value: int | None = None, **options: Any) -> int:
        if min_value is None or max_value is None or options.get("weights"):
            return super().draw_integer(min_value, max_value, **options)
        assert self._random is not None
        return self._random.randint(min_value, max_value)


AVAILABLE_PROVIDERS["even"] = f"{__name__}.EvenProvider"


def evenly(cases: int) -> settings:
    """Return the settings of a test with ``cases`` cases that are drawn evenly and each on its own."""
    return settings(
        max_examples=cases,
        deadline=None,
        database=None,
        backend="even",
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def _tested(operator: str) -> st.SearchStrategy[Form]:
    tests = operands[operator].map(lambda operand: {operator: operand})
    return st.tuples(traits, tests).map(lambda pair: {"trait": pair[0], "is": pair[1]})


#: Where nodes come from: kinds of leaves, functions of aggregates, operators, and whole rules.
FOCUSES: list[st.SearchStrategy[Form]] = [
    *leaf_kinds(("s0",)),
    indicator_rules,
    *(aggregates((function,)) for function in AGGREGATES),
    *map(_tested, operands),
    hystereses(),
    rules(("s0",)),
]


def rows_of(form: Form) -> set[Row]:
    """Return the rows of a node and of those below it."""
    return {row for node in nodes(form) for row in node.rows}


@cache
def sources() -> dict[Row, list[int]]:
    """Return, for each row, the places in ``FOCUSES`` that draw it most often."""
    found: dict[Row, Counter[int]] = {row: Counter() for row in ROWS}
    for sample in range(_MOST_SAMPLES):
        for place, focus in enumerate(FOCUSES):
            for row in chain.from_iterable(map(rows_of, _sample(focus, sample))):
                found[row][place] += 1
        if all(found.values()):
            break
    return {
        row: [place for place, count in counts.items() if 2 * count >= max(counts.values())]
        for row, counts in found.items()
    }


def _sample(focus: st.SearchStrategy[Form], number: int) -> list[Form]:
    forms: list[Form] = []

    @seed(number)
    @evenly(_SAMPLES)
    @given(focus)
    def sample(form: Form) -> None:
        forms.append(form)

    sample()
    return forms


@composite
def _nodes_with(draw: Any, row: Row) -> Form:
    """Draw a node with the row, or another one if none comes."""
    focus = FOCUSES[draw(st.sampled_from(sources()[row]))]
    form: Form = draw(focus)
    for _ in range(_DRAWS):
        if row in rows_of(form):
            break
        form = draw(focus)
    return form


_SHAPES = st.sampled_from(["alone", "alone", "alone", "not", "all", "any"])


@composite
def _shaped(draw: Any, row: Row) -> Form:
    """Draw a node with the row, alone or in a group."""
    node, shape = draw(_nodes_with(row)), draw(_SHAPES)
    if shape in ("all", "any"):
        return {shape: [node, draw(rules())]}
    has_sides = any("exit" in each for each in maps_of(node))
    return {"not": node} if shape == "not" and not has_sides else node


def _segments(forms: list[Form]) -> SegmentSet:
    return SegmentSet([make_definition(f"s{number}", form) for number, form in enumerate(forms)])


@composite
def aimed_cases(draw: Any, goals: tuple[Goal, ...]) -> Case:
    """Draw a case for one of the goals, and up to two segments with nodes of the others.

    The first of a few segments that reaches its goal is taken, with the events that let it.
    """
    goal, watermark = draw(st.sampled_from(goals)), draw(st.booleans())
    first = draw(timed_rules(()))
    for _ in range(_ATTEMPTS):
        form = draw(_shaped(goal.row))
        forms = [first, form] if ("node", "in_segment") in rows_of(form) else [form]
        steps = steps_about(draw, [node.form for node in nodes(form)])
        if goal.column in columns_of(_segments(forms), steps, watermark).get(goal.row, ()):
            break
    for _ in range(draw(st.integers(0, 2))):
        further = draw(_shaped(draw(st.sampled_from(goals)).row))
        if len(forms) == 2 or ("node", "in_segment") not in rows_of(further):
            forms.append(further)
    return _segments(forms), steps, watermark
