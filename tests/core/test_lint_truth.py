"""The linter has no false positives: its findings are checked against the reference evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from segops.core import operators
from segops.core.rules import model
from segops.core.rules.analysis import LintFinding, lint
from segops.core.rules.analysis.contradictions import Literal, conflict
from segops.core.rules.analysis.satisfiability import Requirement, possible
from segops.core.rules.parsing import Reader
from segops.core.rules.reference import EvaluatedMember, History, holds
from segops.core.values import lookup
from tests.rest import examples

from .contradictory_rules import (
    conflicting_predicates,
    contradictory_rules,
    event_leaves,
    overlapping_leaves,
    pairs,
    plain_streams,
    values,
)
from .oracle import instants
from .strategies import BASE_MS, predicates, rules, streams
from .test_lint import checked, linted


@examples(200, of=1_000)
@given(
    st.lists(st.tuples(conflicting_predicates() | predicates, st.booleans()), min_size=1, max_size=3),
    values,
    st.integers(-10, 160),
)
def test_satisfied_requirements_are_possible(
    drawn: list[tuple[dict[str, Any], bool]], value: Any, half_seconds: int
) -> None:
    """Set each requirement to the predicate's verdict on a value: the combination must be possible."""
    now_ms = BASE_MS + half_seconds * 500
    predicates = [Reader(form, "is").predicate() for form, _ in drawn]
    claims = [Requirement(test, test.holds(value, now_ms)) for test in predicates]
    assert possible(claims), claims


def placed(node: model.Node, path: str) -> Iterator[tuple[str, model.Node]]:
    yield path, node
    steps = {model.All: "all[{}]", model.Any: "any[{}]", model.AtLeast: "at_least.of[{}]", model.Not: "not"}
    for i, child in enumerate(model.children(node) if type(node) in steps else ()):
        yield from placed(child, f"{path}.{steps[type(node)].format(i)}")


def found_node(root: model.Node, finding: LintFinding) -> model.Node:
    """Return the innermost node at or above the path of a finding."""
    nodes = dict(placed(root, "when"))
    return nodes[max((path for path in nodes if f"{finding.path}.".startswith(f"{path}.")), key=len)]


def _check_never(node: model.Node, finding: LintFinding, history: History, now_ms: int) -> None:
    if ".where." in finding.path:  # a predicate on events that no event satisfies
        (test,) = [t for path, t in _where(node) if finding.path.endswith(f".where.{'.'.join(path)}")][:1]
        prop = finding.path.split(".where.")[1].split(".")
        assert not any(test.holds(lookup(e.properties, tuple(prop)), now_ms) for e in history.events)
    else:
        assert not holds(node, history, now_ms, EvaluatedMember()), finding


def _where(node: Any) -> tuple[tuple[model.Path, operators.Predicate], ...]:
    if isinstance(node, model.SequenceNode):
        return tuple(condition for step in node.sequence.steps for condition in step.where)
    where: tuple[tuple[model.Path, operators.Predicate], ...] = node.select.where
    return where


@examples(60, of=300)
@given(st.one_of(pairs, contradictory_rules, rules()), st.one_of(plain_streams, streams()), st.booleans())
def test_findings_hold_at_every_instant(
    rule: dict[str, Any], steps: list[tuple[str, Any]], watermark: bool
) -> None:
    root = checked(rule)
    if root is None:  # the count of the events can never or always hold
        return
    found = lint(root, "when")
    note(str((rule, found)))
    if not found.never and not found.always:
        return
    for history, now_ms in instants([root], steps, watermark):
        for finding in found.never:
            _check_never(found_node(root, finding), finding, history, now_ms)
        for finding in found.always:
            assert holds(found_node(root, finding), history, now_ms, EvaluatedMember()), finding


@examples(80, of=400)
@given(
    st.lists(st.one_of(event_leaves, event_leaves, overlapping_leaves), min_size=2, max_size=5),
    st.one_of(plain_streams, plain_streams, streams()),
    st.booleans(),
)
def test_simultaneous_verdicts_are_no_conflict(
    drawn: list[dict[str, Any]], steps: list[tuple[str, Any]], watermark: bool
) -> None:
    """Give each node the reference's verdict: no two of these literals may exclude each other."""
    nodes = [node for rule in drawn if (node := checked(rule)) is not None]
    for history, now_ms in instants(nodes, steps, watermark):
        truth = [Literal(node, "", holds(node, history, now_ms, EvaluatedMember())) for node in nodes]
        assert not conflict(truth), (history.events, now_ms)


@given(contradictory_rules, st.booleans())
def test_conjunction_of_a_rule_and_its_negation_is_always_reported(rule: dict[str, Any], first: bool) -> None:
    """Guard against a linter that reports nothing, which would satisfy the tests above."""
    if checked(rule) is None:
        return
    pair = [rule, {"not": rule}] if first else [{"not": rule}, rule]
    assert linted({"all": pair}, rfm=True).never
    either = linted({"any": pair}, rfm=True)
    assert either.always or either.never
