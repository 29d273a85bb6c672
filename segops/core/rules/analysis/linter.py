"""The linter of validated rules: parts that never or always hold, redundant parts and costly thresholds.

Every finding is certain, but not every such part is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from segops.core.lookups import LOOKUP, rows_of
from segops.core.operators import Predicate
from segops.core.paths import path_text
from segops.core.rules import model
from segops.core.rules.analysis.capacity import stored_in_full
from segops.core.rules.analysis.contradictions import Literal, Literals, conflict
from segops.core.rules.analysis.satisfiability import Requirement, possible
from segops.core.rules.figures import (
    AggregateFigure,
    CountFigure,
    DaysFigure,
    DigitFigure,
    Figure,
    Number,
    RatioFigure,
    TierFigure,
    figures_of,
)
from segops.core.rules.phrases import predicate_text
from segops.core.rules.wording import label
from segops.core.scoring.rfm import MEASURES, Rfm


class LintFinding(NamedTuple):
    """A finding: the path in the rule, and the reason."""

    path: str
    reason: str


class Lint(NamedTuple):
    """The findings in a rule.

    ``never``: parts that no profile can satisfy. ``always``: parts that every profile satisfies from its
    first event on. ``notes``: parts without effect, and costly thresholds.
    """

    never: list[LintFinding]
    always: list[LintFinding]
    notes: list[LintFinding]


def lint(node: model.Node, path: str) -> Lint:
    """Lint the rule at ``path``.

    >>> lint(model.All((model.KnownFor(60), model.Not(model.KnownFor(30)))), "when").never[0].path
    'when'
    """
    found = Lint([], [], [])
    _Reader(found).verdict(node, path)
    return found


class _Reader:
    """Evaluates a rule from its leaves up; only the innermost cause of a verdict is reported."""

    def __init__(self, found: Lint) -> None:
        self.found = found

    def verdict(self, node: model.Node, path: str) -> bool | None:
        """Return True if the node always holds, False if it never holds, None if neither is known."""
        match node:
            case model.Not(of=model.Not(of=child)):
                return self.verdict(child, f"{path}.not.not")
            case model.Not(of=child):
                return self._not(child, path)
            case model.All() | model.Any() | model.AtLeast():
                return self._group(node, path)
        return self._leaf(node, path)

    def _not(self, child: model.Node, path: str) -> bool | None:
        below = self.verdict(child, f"{path}.not")
        if below:
            self.found.never.append(LintFinding(path, "never holds: the negated node always holds"))
        return None if below is None else not below

    def _group(self, node: model.All | model.Any | model.AtLeast, path: str) -> bool | None:
        children = _children(node, path)
        self._note_repeats(node, children)
        verdicts = [self.verdict(child.node, child.path) for child in children]
        least = _least(node)
        if verdicts.count(True) >= least:
            return True
        if len(verdicts) - verdicts.count(False) < least:
            return False
        if least == len(children) and (found := _together(children, holds=True)):
            self.found.never.append(
                LintFinding(path, f"never holds: {_named(found, path, holds=True)} exclude each other")
            )
            return False
        if least == 1 and (found := _together(children, holds=False)):
            self.found.always.append(
                LintFinding(
                    path, f"always holds: at any time, one of {_named(found, path, holds=False)} holds"
                )
            )
            return True
        return None

    def _note_repeats(self, node: model.Node, children: list[Literal]) -> None:
        if isinstance(node, model.AtLeast):  # there, a repeated node counts twice
            return
        first: dict[bytes, str] = {}
        kinds = Counter(type(child.node) for child in children)
        for child in children:
            if kinds[type(child.node)] == 1:
                continue
            known = first.setdefault(model.canonical(child.node), child.path)
            if known != child.path:
                self.found.notes.append(LintFinding(child.path, f"duplicate of {known}"))

    def _leaf(self, node: model.Node, path: str) -> bool | None:
        self.found.never.extend(_impossible(node, path))
        self.found.notes.extend(_redundant(node, path))
        self.found.notes.extend(_unmatched(node, path))
        self.found.notes.extend(LintFinding(path + where, reason) for where, reason in stored_in_full(node))
        if conflict([Literal(node)]):
            self.found.never.extend(_reported(_NEVER, node, path))
            return False
        if conflict([Literal(node, holds=False)]):
            self.found.always.extend(_reported(_ALWAYS, node, path))
            return True
        return None


def _least(node: model.All | model.Any | model.AtLeast) -> int:
    if isinstance(node, model.AtLeast):
        return node.k
    return len(node.of) if isinstance(node, model.All) else 1


_STEPS = {model.All: "all[{}]", model.Any: "any[{}]", model.AtLeast: "at_least.of[{}]", model.Not: "not"}


def _children(node: model.Node, path: str) -> list[Literal]:
    """Return the children of a node, each with its path in the rule."""
    step = _STEPS.get(type(node))
    below = () if step is None else model.children(node)
    return [Literal(child, f"{path}.{str(step).format(i)}") for i, child in enumerate(below)]


def _together(children: Iterable[Literal], *, holds: bool) -> Literals:
    """Return a minimal conflict that arises if all of ``children`` are true (``holds``), or all false."""
    found = conflict([literal for child in children for literal in _implied(child._replace(holds=holds))])
    for literal in found:
        fewer = [other for other in found if other is not literal]
        if conflict(fewer):
            found = fewer
    return found


def _implied(literal: Literal) -> Iterator[Literal]:
    """Yield the literal and every literal that it implies."""
    yield literal
    node, path, holds = literal
    children = _children(node, path)
    if isinstance(node, model.Not):
        yield from _implied(children[0]._replace(holds=not holds))
    elif isinstance(node, (model.All, model.Any, model.AtLeast)):
        needed = _least(node) if holds else len(children) - _least(node) + 1
        if needed == len(children):
            for child in children:
                yield from _implied(child._replace(holds=holds))


def _named(literals: Literals, path: str, *, holds: bool) -> str:
    """Describe each literal with its path below ``path``; one that differs from ``holds`` is negated."""
    signs = {True: "", False: "not: "}
    return " and ".join(
        f"{each.path.removeprefix(path + '.')} ({signs[each.holds is holds]}{label(each.node)})"
        for each in literals
    )


# -- leaves ----------------------------------------------------------------------------------------------


class _Condition(NamedTuple):
    """A condition within a leaf: where it stands, the predicate, and the path that it reads of an event."""

    where: str
    test: Predicate
    path: model.Path = ()


def _impossible(node: model.Node, path: str) -> Iterator[LintFinding]:
    """Yield the conditions within a leaf that no value can satisfy."""
    conditions_of = _CONDITIONS.get(type(node))
    for where, test, _ in () if conditions_of is None else conditions_of(node):
        if not possible([Requirement(test)]):
            yield LintFinding(path + where, f"never holds: no value satisfies: {predicate_text(test)}")


def _unmatched(node: model.Node, path: str) -> Iterator[LintFinding]:
    """Yield the conditions within a leaf that no row of a look-up table satisfies, nor a missing one."""
    conditions_of = _CONDITIONS.get(type(node))
    for where, test, read in () if conditions_of is None else conditions_of(node):
        if read[:2] != LOOKUP or test.timed or test.holds(None, 0):
            continue
        if not any(test.holds(value, 0) for value in rows_of(read).values()):
            yield LintFinding(path + where, f"no row of {read[2]} satisfies: {predicate_text(test)}")


def _selected(node: Any) -> Iterator[_Condition]:
    return _where("", node.select.where)


def _of_steps(node: model.SequenceNode) -> Iterator[_Condition]:
    for number, step in enumerate(node.sequence.steps):
        yield from _where(f".sequence[{number}]", step.where)


def _of_sides(node: model.Changed) -> Iterator[_Condition]:
    sides = ((".changed.from", node.before), (".changed.to", node.after))
    return (_Condition(where, test) for where, test in sides if test is not None)


def _where(prefix: str, where: Iterable[tuple[model.Path, Predicate]]) -> Iterator[_Condition]:
    return (_Condition(f"{prefix}.where.{path_text(path)}", test, path) for path, test in where)


def _of_figures(node: model.Compare | model.Ratio) -> Iterator[_Condition]:
    places = (".ratio.of", ".ratio.to") if isinstance(node, model.Ratio) else (".compare[0]", ".compare[2]")
    for place, figure in zip(places, figures_of(node), strict=True):
        yield from _of_figure(place, figure)


def _of_figure(prefix: str, figure: Figure | Number) -> Iterator[_Condition]:
    if isinstance(figure, (AggregateFigure, CountFigure, DaysFigure)):
        yield from _where(prefix, figure.select.where)
    elif isinstance(figure, (DigitFigure, TierFigure)):
        yield from _where(f"{prefix}.rfm", figure.rfm.selection[1])
    elif isinstance(figure, RatioFigure):
        yield from _of_figure(f"{prefix}.ratio.of", figure.upper)
        yield from _of_figure(f"{prefix}.ratio.to", figure.lower)


#: Node -> the conditions on properties of the events that it selects, each with its path in the node.
_CONDITIONS: dict[type, Callable[[Any], Iterator[_Condition]]] = {
    **dict.fromkeys((model.Did, model.Aggregate, model.Occurrence), _selected),
    model.SequenceNode: _of_steps,
    model.Changed: _of_sides,
    **dict.fromkeys((model.ActivePeriods, model.Sessions, model.SessionFigure, model.Regularly), _selected),
    model.LifecycleNode: lambda node: _where(".lifecycle", node.select.where),
    model.RfmNode: lambda node: _where(".rfm", node.rfm.selection[1]),
    **dict.fromkeys((model.Compare, model.Ratio), _of_figures),
    model.Frozen: lambda node: (
        _CONDITIONS[type(node.of)](node.of) if type(node.of) in _CONDITIONS else iter(())
    ),
    model.PublishedFigure: lambda node: _of_figure("", node.figure),
}


def _redundant(node: model.Node, path: str) -> Iterator[LintFinding]:
    """Yield predicates of digits without effect: they hold for every profile that has digits."""
    node = model.thawed(node)
    if not isinstance(node, model.RfmNode):
        return
    for name, test in node.tests:
        greatest = node.rfm.greatest(name)
        if all(test.holds(digit, 0) for digit in range(1, greatest + 1)):
            reason = f"holds for every customer with an order: this digit is from 1 to {greatest}"
            yield LintFinding(f"{path}.rfm.{name}", reason)


def _reported(table: dict[type, _Words], node: model.Node, path: str) -> Iterator[LintFinding]:
    node = model.thawed(node)
    words = table.get(type(node))
    if words is not None:
        where, say = words
        yield LintFinding(path + where, say(node))


_Words = tuple[str, Callable[[Any], str]]


def _no_digits(node: model.RfmNode) -> str:
    if node.tiers:
        return f"never holds: no digits lead to {' or '.join(node.tiers)}"
    return f"never holds: no digits satisfy: {label(node)}"


#: Node -> the key that can never hold, and the reason. The parser has rejected such counts.
_NEVER: dict[type, _Words] = {
    model.Trait: (".is", lambda node: f"never holds: no value satisfies: {predicate_text(node.test)}"),
    model.HasBeen: (
        ".has_been.is",
        lambda node: f"never holds: no value satisfies: {predicate_text(node.test)}",
    ),
    model.ScoreNode: (".is", lambda node: f"never holds: no number satisfies: {predicate_text(node.test)}"),
    model.Aggregate: (
        ".is",
        lambda node: f"never holds: no {node.function} satisfies: {predicate_text(node.test)}",
    ),
    model.RfmNode: (".rfm", _no_digits),
    model.SessionFigure: (
        ".is",
        lambda node: f"never holds: no {node.figure} satisfies: {predicate_text(node.test)}",
    ),
    model.Compare: (".compare", lambda node: f"never holds: no value of the figure satisfies: {label(node)}"),
    model.Distance: (".is", lambda node: f"never holds: no distance satisfies: {predicate_text(node.test)}"),
    model.Ratio: (".ratio.is", lambda node: f"never holds: no ratio satisfies: {predicate_text(node.test)}"),
}

#: Node -> the key that always holds, and the reason. The parser has reported such counts.
_ALWAYS: dict[type, _Words] = {
    model.Compare: (
        ".compare",
        lambda node: f"always holds: every value of the figure satisfies: {label(node)}",
    ),
    model.KnownFor: (".known_for", lambda _: "always holds: every customer has been known for that long"),
    model.Bucket: (".bucket", lambda _: "always holds: every customer is in it"),
    model.Aggregate: (
        ".is",
        lambda node: f"always holds: every {node.function} satisfies: {predicate_text(node.test)}",
    ),
}


# -- the grid of RFM -------------------------------------------------------------------------------------


def lint_rfm(rfm: Rfm) -> list[str]:
    """Return warnings about a grid: tiers that no digits reach, and digits that belong to no tier."""
    found = [f"{name} is unreachable: earlier tiers take all its cells" for name in rfm.dead_tiers()]
    if holes := rfm.holes():
        cells = (" ".join(f"{name} {n}" for name, n in zip(MEASURES, cell, strict=False)) for cell in holes)
        found.append("digits in no tier: " + ", ".join(cells))
    return found
