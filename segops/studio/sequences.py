"""Sequences: events that happen one after another, or do not within a deadline."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Final

from segops.core.values import parse_duration
from segops.studio.clauses import Clause, Piece, duration
from segops.studio.durations import WindowSpan
from segops.studio.items import Item, Mark, Unread

_BETWEEN: Final = frozenset(("AND", "COMMA", "BUT", "THEN", "REL", "SEMI"))


def sequenced(items: list[Item]) -> list[Item]:
    """Return the items with each run of clauses in an order as one node."""
    found: list[Item] = []
    at = 0
    while at < len(items):
        end = _end(items, at)
        if end > at and _is_ordered(items[at : end + 1]):
            node = _sequence(items[at : end + 1])
            if node is None and _lost(items[at : end + 1]):
                raise Unread(_lost(items[at : end + 1]))
            found.append(node if node is not None else items[at])
            at = end + 1 if node is not None else at + 1
        else:
            found.append(items[at])
            at += 1
    return found


def _lost(items: list[Item]) -> list[Item]:
    """Return what a list of conditions would lose of steps that are no sequence: dates, else the order."""
    steps = [at for at, item in enumerate(items) if item.kind == "E"]
    pairs = [pair for pair in itertools.pairwise(steps) if not any(items[at].value.negated for at in pair)]
    thens = [item for early, late in pairs for item in items[early:late] if item.kind == "THEN"]
    dates = [
        Item("W", None, first, last)
        for at in steps
        for first, last, key in items[at].marks
        if thens and key in ("since", "until", "calendar")
    ]
    return dates or thens


def _end(items: list[Item], at: int) -> int:
    """Return the index of the last clause of the run that begins at an index."""
    if items[at].kind != "E":
        return at
    end, number = at, at + 1
    while number < len(items) and items[number].kind in (*_BETWEEN, "E"):
        end = number if items[number].kind == "E" else end
        number += 1
    return end


def _is_ordered(items: list[Item]) -> bool:
    """Whether the clauses follow each other: "then", or a time after the one before."""
    steps = [item for item in items if item.kind == "E"]
    if any(step.value.head != "did" or step.value.test not in (None, {"gte": 1}) for step in steps):
        return False
    said = any(item.kind == "THEN" for item in items)
    later = any(_follows(step) for step in steps[1:]) and not any(item.kind == "OR" for item in items)
    if not said and any(step.value.window and not step.value.gap for step in steps):
        later = later and (
            all(step.value.negated or step.value.gap.kind == "gap" for step in steps if step.value.gap)
            or _is_framed(steps)
        )
    return (said or later) and not steps[0].value.negated


def _is_framed(steps: list[Item]) -> bool:
    """Whether each step has a deadline, and the first one a window that is longer."""
    window = steps[0].value.window or {}
    whole = parse_duration(window["within"]) if set(window) == {"within"} else None
    gaps = [step.value.gap for step in steps[1:]]
    return whole is not None and all(gap and gap.text == "within" and gap.length_ms < whole for gap in gaps)


def _follows(step: Item) -> bool:
    clause: Clause = step.value
    if clause.gap is None:
        return False
    return clause.gap.kind in ("gap", "next") or clause.gap.text == "within"


def _sequence(items: list[Item]) -> Item | None:
    steps = _in_order([item for item in items if item.kind == "E"])
    nodes, marks, within = [], [], None
    for at, item in enumerate(steps):
        step, own = _step(item.value, first=at == 0)
        if step is None:
            return None
        within = own or within
        nodes.append(step)
        marks += [_moved(mark, at, item.value) for mark in item.marks]
    if "did_not" in nodes[-1] and "within" not in nodes[-1]:
        return None
    node: dict[str, Any] = {"sequence": nodes, **(within or {})}
    joints = [item.marked("sequence") for item in items if item.kind == "THEN"]
    marks += [mark for each in joints for mark in each]
    return Item("NODE", Piece(node, tuple(marks)), items[0].first, items[-1].last)


def _in_order(steps: list[Item]) -> list[Item]:
    """Return the steps with each denial "in between" before the last step that it follows."""
    found: list[Item] = []
    for step in steps:
        if step.value.gap is not None and step.value.gap.kind == "between" and found:
            found.insert(len(found) - 1, replace(step, value=replace(step.value, gap=None)))
        else:
            found.append(step)
    return found


def _moved(mark: Mark, at: int, clause: Clause) -> Mark:
    first, last, key = mark
    key = "did_not" if key == "did" and clause.negated else key
    return first, last, f"sequence[{at}].{key}"


def _step(clause: Clause, *, first: bool) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the step of a clause, and the window of the whole sequence if the clause has it."""
    names: Any = clause.names[0] if len(clause.names) == 1 else list(clause.names)
    step: dict[str, Any] = {"did_not" if clause.negated else "did": names}
    if clause.where:
        step["where"] = dict(clause.where)
    step.update(clause.keys)
    window = dict(clause.window or {})
    gap = clause.gap
    if gap is not None and not first:
        step["within"] = duration(gap.length_ms)
        window = {} if gap.kind == "in" else window
    if not window:
        return step, None
    if set(window) != {"within"}:
        return None, None
    return step, window


def turned(items: list[Item]) -> list[Item]:
    """Return the items with "B within 7 days of A" as "A, then B within 7 days"."""
    for at in range(1, len(items) - 1):
        time = items[at]
        if time.kind == "W" and isinstance(time.value, WindowSpan) and time.value.kind == "after":
            late, early = items[at - 1], items[at + 1]
            if late.kind == early.kind == "E" and late.value.window is None:
                gap = replace(time.value, kind="gap")
                step = replace(
                    late, value=replace(late.value, gap=gap), marks=(*late.marks, *time.marked("within"))
                )
                return turned([*items[: at - 1], early, time.as_kind("THEN", ""), step, *items[at + 2 :]])
    return items
