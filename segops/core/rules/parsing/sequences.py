"""Checking a sequence: its steps, their deadlines, and what they compare with earlier ones."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from segops.core.features.sequence import Sequence, Step
from segops.core.operators import Predicate
from segops.core.rules.parsing.predicates import Refused, check_test
from segops.core.values import parse_duration

MAX_STEPS = 16

Path = tuple[str, ...]


class Reporter(Protocol):
    """Where mistakes go."""

    def refuse(self, path: str, reason: str) -> None:
        """Note a mistake."""


class _Where(NamedTuple):
    tests: tuple[tuple[Path, Predicate], ...]
    same_as: tuple[tuple[Path, int], ...]


def check_sequence(reporter: Reporter, raw: dict[str, Any], path: str) -> Sequence | None:
    """The checked form of a ``sequence`` node; None when something was refused."""
    forms, strict = raw["sequence"], raw.get("strict", False)
    within_ms = _duration(reporter, raw, path)
    if not isinstance(strict, bool):
        reporter.refuse(f"{path}.strict", f"true or false is wanted, not {strict!r}")
    if not isinstance(forms, list) or not 1 <= len(forms) <= MAX_STEPS:
        reporter.refuse(f"{path}.sequence", f"a list of 1 to {MAX_STEPS} steps is wanted")
        return None
    steps = [_step(reporter, form, f"{path}.sequence[{i}]", forms[:i]) for i, form in enumerate(forms)]
    found = tuple(step for step in steps if step is not None)
    if len(found) < len(forms):
        return None
    if found[0].absent or (found[0].within_ms is not None):
        reporter.refuse(f"{path}.sequence[0]", "the first step is a did, and has no step before to be within")
    _check_closing(reporter, found, f"{path}.sequence")
    return Sequence(found, within_ms, bool(strict))


def _check_closing(reporter: Reporter, steps: tuple[Step, ...], path: str) -> None:
    for number in range(len(steps) - 1, -1, -1):
        if not steps[number].absent:
            return
        if steps[number].within_ms is None:
            reporter.refuse(f"{path}[{number}]", "a did_not at the end needs a within: the deadline")


def _duration(reporter: Reporter, raw: dict[str, Any], path: str) -> int | None:
    if "within" not in raw:
        return None
    try:
        length = parse_duration(raw["within"])
    except ValueError as error:
        reporter.refuse(f"{path}.within", str(error))
        return None
    if length == 0:
        reporter.refuse(f"{path}.within", "a window of 0 holds nothing")
    return length


def _step(reporter: Reporter, raw: Any, path: str, before: list[Any]) -> Step | None:
    heads = [key for key in ("did", "did_not") if isinstance(raw, dict) and key in raw]
    if len(heads) != 1:
        reporter.refuse(path, "a step is a map with did or did_not")
        return None
    for key in raw:
        if key not in (heads[0], "where", "within"):
            reporter.refuse(f"{path}.{key}", f"unknown key; here: {heads[0]}, where, within")
    names = raw[heads[0]] if isinstance(raw[heads[0]], list) else [raw[heads[0]]]
    if not names or not all(isinstance(name, str) and name for name in names):
        reporter.refuse(f"{path}.{heads[0]}", "the name of an event, or a list of at least one, is wanted")
        return None
    where = _where(reporter, raw.get("where", {}), f"{path}.where", before)
    return Step(
        tuple(sorted(set(names))),
        where.tests,
        _duration(reporter, raw, path),
        heads[0] == "did_not",
        where.same_as,
    )


def _where(reporter: Reporter, raw: Any, path: str, before: list[Any]) -> _Where:
    if not isinstance(raw, dict):
        reporter.refuse(path, "a map of properties to tests is wanted")
        return _Where((), ())
    tests: list[tuple[Path, Predicate]] = []
    same_as: list[tuple[Path, int]] = []
    for name, form in sorted(raw.items(), key=str):
        at = tuple(str(name).split("."))
        if isinstance(form, dict) and "same_as" in form:
            same_as += [(at, number) for number in _earlier(reporter, form, f"{path}.{name}", before)]
        else:
            tests += [(at, test) for test in _tests(reporter, form, f"{path}.{name}")]
    return _Where(tuple(tests), tuple(same_as))


def _earlier(reporter: Reporter, form: dict[str, Any], path: str, before: list[Any]) -> list[int]:
    number = form["same_as"]
    known = set(form) == {"same_as"} and type(number) is int and 1 <= number <= len(before)
    if known and isinstance(before[number - 1], dict) and "did" in before[number - 1]:
        return [number - 1]
    reporter.refuse(
        f"{path}.same_as", "the number of an earlier did step, from 1, is wanted, and nothing beside it"
    )
    return []


def _tests(reporter: Reporter, form: Any, path: str) -> list[Predicate]:
    try:
        test = check_test(form if isinstance(form, dict) else {"eq": form})
    except Refused as refused:
        for where, reason in refused.parts:
            reporter.refuse(f"{path}{where}", reason)
        return []
    if test.timed:
        reporter.refuse(
            path, "a step is settled when its event arrives: compare with fixed dates (before, after)"
        )
        return []
    return [test]
