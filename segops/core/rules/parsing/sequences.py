"""The parser of ``sequence`` nodes: steps, deadlines, and comparisons with earlier steps."""

from __future__ import annotations

from functools import partial
from typing import Any

from segops.core.features.sequence import Sequence, SequenceStep
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.parsing.events import path_of_event
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.parsing.times import read_time_of_day

MAX_STEPS = 16


def read_sequence(node: Reader) -> model.SequenceNode:
    """Parse a ``sequence`` node."""

    def strict() -> bool:
        return "strict" in node and node.at("strict").boolean()

    within_ms, in_order, steps = node.gather(
        partial(_within, node), strict, partial(_steps, node.at("sequence"))
    )
    return model.SequenceNode(Sequence(steps, within_ms, in_order))


def _within(form: Reader) -> int | None:
    return form.at("within").positive_duration() if "within" in form else None


def _steps(sequence: Reader) -> tuple[SequenceStep, ...]:
    forms = sequence.items(f"a list of 1 to {MAX_STEPS} steps", MAX_STEPS)
    steps: list[SequenceStep] = sequence.gather(
        *(partial(_step, form, forms[:i]) for i, form in enumerate(forms))
    )
    last_did = max((number for number, step in enumerate(steps) if not step.absent), default=-1)
    closing = zip(forms[last_did + 1 :], steps[last_did + 1 :], strict=True)
    sequence.gather(
        partial(_check_first, forms[0], steps[0]),
        *(partial(_check_closing, form, step) for form, step in closing),
    )
    return tuple(steps)


def _check_first(form: Reader, step: SequenceStep) -> None:
    if step.absent or step.within_ms is not None:
        form.fail("expected the first step to be a did without within")


def _check_closing(form: Reader, step: SequenceStep) -> None:
    if step.within_ms is None:
        form.fail("missing within: a did_not at the end needs a deadline")


def _step(form: Reader, earlier: list[Reader]) -> SequenceStep:
    heads = [head for head in ("did", "did_not") if isinstance(form.raw, dict) and head in form]
    if len(heads) != 1:
        form.fail("expected a map with either did or did_not")
    (head,) = heads
    _, names, (where, same_as), times, within_ms = form.gather(
        lambda: form.only(head, "where", "time_of_day", "within"),
        form.at(head).names,
        lambda: _where(form.at("where"), earlier) if "where" in form else ((), ()),
        lambda: (read_time_of_day(form.at("time_of_day")),) if "time_of_day" in form else (),
        partial(_within, form),
    )
    return SequenceStep(names, (*where, *times), within_ms, head == "did_not", same_as)


_Condition = tuple[model.Path, Predicate | int]


def _where(where: Reader, earlier: list[Reader]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Read the predicates of a step, and the properties that must equal those of an earlier step."""
    if not isinstance(where.raw, dict):
        where.fail("expected a map of properties to predicates")
    names = sorted(where.raw, key=str)
    found: list[_Condition] = where.gather(*(partial(_condition, where, name, earlier) for name in names))
    predicates = tuple(each for each in found if not isinstance(each[1], int))
    return predicates, tuple(each for each in found if isinstance(each[1], int))


def _condition(where: Reader, name: Any, earlier: list[Reader]) -> _Condition:
    condition = where.at(name)
    path = path_of_event(condition, name)
    if isinstance(condition.raw, dict) and "same_as" in condition:
        return path, _same_as(condition, earlier)
    predicate = condition.condition()
    if predicate.timed:
        condition.fail("a step is decided when its event arrives; use fixed dates (before, after)")
    return path, predicate


def _same_as(condition: Reader, earlier: list[Reader]) -> int:
    """Read the number of an earlier step; return its index, from 0."""
    number = condition.at("same_as")
    dids = [at for at, step in enumerate(earlier, 1) if isinstance(step.raw, dict) and "did" in step]
    if set(condition.raw) != {"same_as"} or type(number.raw) is not int or number.raw not in dids:
        number.fail("expected only the number of an earlier did step, from 1")
    return int(number.raw) - 1
