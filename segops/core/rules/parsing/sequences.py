"""A sequence: its steps, their deadlines, and what they compare with earlier ones."""

from __future__ import annotations

from functools import partial
from typing import Any

from segops.core.features.sequence import Sequence, SequenceStep
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.parsing.reader import EMPTY_WINDOW, Reader

MAX_STEPS = 16


def read_sequence(node: Reader) -> model.SequenceNode:
    """A ``sequence`` node."""

    def strict() -> bool:
        return "strict" in node and node.at("strict").boolean()

    within_ms, in_order, steps = node.gather(
        partial(_within, node), strict, partial(_steps, node.at("sequence"))
    )
    return model.SequenceNode(Sequence(steps, within_ms, in_order))


def _within(form: Reader) -> int | None:
    return form.at("within").duration(EMPTY_WINDOW) if "within" in form else None


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
        form.fail("the first step is a did, and has no step before to be within")


def _check_closing(form: Reader, step: SequenceStep) -> None:
    if step.within_ms is None:
        form.fail("a did_not at the end needs a within: the deadline")


def _step(form: Reader, earlier: list[Reader]) -> SequenceStep:
    heads = [head for head in ("did", "did_not") if isinstance(form.raw, dict) and head in form]
    if len(heads) != 1:
        form.fail("a step is a map with did or did_not")
    (head,) = heads
    _, names, (where, same_as), within_ms = form.gather(
        lambda: form.only(head, "where", "within"),
        form.at(head).names,
        lambda: _where(form.at("where"), earlier) if "where" in form else ((), ()),
        partial(_within, form),
    )
    return SequenceStep(names, where, within_ms, head == "did_not", same_as)


_Condition = tuple[model.Path, Predicate | int]


def _where(where: Reader, earlier: list[Reader]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The predicates of a step, and the properties it has in common with an earlier one."""
    if not isinstance(where.raw, dict):
        where.fail("a map of properties to tests is wanted")
    names = sorted(where.raw, key=str)
    found: list[_Condition] = where.gather(*(partial(_condition, where, name, earlier) for name in names))
    predicates = tuple(each for each in found if not isinstance(each[1], int))
    return predicates, tuple(each for each in found if isinstance(each[1], int))


def _condition(where: Reader, name: Any, earlier: list[Reader]) -> _Condition:
    condition, path = where.at(name), tuple(str(name).split("."))
    if isinstance(condition.raw, dict) and "same_as" in condition:
        return path, _same_as(condition, earlier)
    predicate = condition.condition()
    if predicate.timed:
        condition.fail("a step is settled when its event arrives: compare with fixed dates (before, after)")
    return path, predicate


def _same_as(condition: Reader, earlier: list[Reader]) -> int:
    """The position of the earlier step, from 0."""
    number = condition.at("same_as")
    dids = [at for at, step in enumerate(earlier, 1) if isinstance(step.raw, dict) and "did" in step]
    if set(condition.raw) != {"same_as"} or type(number.raw) is not int or number.raw not in dids:
        number.fail("the number of an earlier did step, from 1, is wanted, and nothing beside it")
    return int(number.raw) - 1
