"""What is odd about a checked rule: parts of it that can never be true, or always are, and what costs much.

A rule may say so many things that not every such part is found; but what is said here is certain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.analysis.capacity import kept_in_full
from segops.core.rules.analysis.contradictions import Literal, Literals, conflict
from segops.core.rules.analysis.satisfiability import Requirement, possible
from segops.core.rules.wording import label, test_text
from segops.core.scoring.rfm import Rfm


class LintFinding(NamedTuple):
    """One thing about a rule: where it stands, and what it is."""

    path: str
    reason: str


class Lint(NamedTuple):
    """``never``: parts that no profile can ever satisfy. ``always``: parts that every profile satisfies from
    its first event on. ``notes``: what stands there to no effect, or costs more than one would think."""

    never: list[LintFinding]
    always: list[LintFinding]
    notes: list[LintFinding]


def lint(node: model.Node, path: str) -> Lint:
    """Look through the rule that stands at ``path``.

    >>> lint(model.All((model.KnownFor(60), model.Not(model.KnownFor(30)))), "when").never[0].path
    'when'
    """
    found = Lint([], [], [])
    _Reader(found).verdict(node, path)
    return found


class _Reader:
    """Goes through a rule from its leaves up. Of a verdict only the innermost cause is reported."""

    def __init__(self, found: Lint) -> None:
        self.found = found

    def verdict(self, node: model.Node, path: str) -> bool | None:
        """True: it always holds. False: it never does. None: neither is known."""
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
            self.found.never.append(LintFinding(path, "never holds: what it negates always does"))
        return None if below is None else not below

    def _group(self, node: model.All | model.Any | model.AtLeast, path: str) -> bool | None:
        placed = _placed(node, path)
        self._note_repeats(node, placed)
        verdicts = [self.verdict(child.node, child.path) for child in placed]
        least = _least(node)
        if verdicts.count(True) >= least:
            return True
        if len(verdicts) - verdicts.count(False) < least:
            return False
        if least == len(placed) and (found := _together(placed, holds=True)):
            self.found.never.append(
                LintFinding(path, f"never holds: {_named(found, path, holds=True)} exclude each other")
            )
            return False
        if least == 1 and (found := _together(placed, holds=False)):
            self.found.always.append(
                LintFinding(path, f"always holds: one of {_named(found, path, holds=False)} always does")
            )
            return True
        return None

    def _note_repeats(self, node: model.Node, placed: list[Literal]) -> None:
        if isinstance(node, model.AtLeast):  # there the same node twice counts twice
            return
        first: dict[bytes, str] = {}
        kinds = Counter(type(child.node) for child in placed)
        for child in placed:
            if kinds[type(child.node)] == 1:
                continue
            known = first.setdefault(model.canonical(child.node), child.path)
            if known != child.path:
                self.found.notes.append(LintFinding(child.path, f"the same as {known}: once is enough"))

    def _leaf(self, node: model.Node, path: str) -> bool | None:
        self.found.never.extend(_impossible(node, path))
        self.found.notes.extend(_idle(node, path))
        self.found.notes.extend(LintFinding(path + where, reason) for where, reason in kept_in_full(node))
        if conflict([Literal(node)]):
            self.found.never.extend(_told(_NEVER, node, path))
            return False
        if conflict([Literal(node, holds=False)]):
            self.found.always.extend(_told(_ALWAYS, node, path))
            return True
        return None


def _least(node: model.All | model.Any | model.AtLeast) -> int:
    if isinstance(node, model.AtLeast):
        return node.k
    return len(node.of) if isinstance(node, model.All) else 1


_STEPS = {model.All: "all[{}]", model.Any: "any[{}]", model.AtLeast: "at_least.of[{}]", model.Not: "not"}


def _placed(node: model.Node, path: str) -> list[Literal]:
    """The children of a node, each with its place in the rule as written."""
    step = _STEPS.get(type(node))
    below = () if step is None else model.children(node)
    return [Literal(child, f"{path}.{str(step).format(i)}") for i, child in enumerate(below)]


def _together(placed: Iterable[Literal], *, holds: bool) -> Literals:
    """As few as possible of what cannot be so together, if all of these were true, or all false."""
    found = conflict([part for child in placed for part in _parts(child._replace(holds=holds))])
    for literal in found:
        fewer = [other for other in found if other is not literal]
        if conflict(fewer):
            found = fewer
    return found


def _parts(literal: Literal) -> Iterator[Literal]:
    """The literal, and all that must be so if it is."""
    yield literal
    node, path, holds = literal
    placed = _placed(node, path)
    if isinstance(node, model.Not):
        yield from _parts(placed[0]._replace(holds=not holds))
    elif isinstance(node, (model.All, model.Any, model.AtLeast)):
        needed = _least(node) if holds else len(placed) - _least(node) + 1
        if needed == len(placed):
            for child in placed:
                yield from _parts(child._replace(holds=holds))


def _named(literals: Literals, path: str, *, holds: bool) -> str:
    """Each with its place below ``path`` and in words; ``holds`` is what was asked of all together."""
    signs = {True: "", False: "not: "}
    return " and ".join(
        f"{each.path.removeprefix(path + '.')} ({signs[each.holds is holds]}{label(each.node)})"
        for each in literals
    )


# -- leaves ----------------------------------------------------------------------------------------------


def _impossible(node: model.Node, path: str) -> Iterator[LintFinding]:
    """Tests within a leaf that nothing can satisfy."""
    for where, test in _conditions(node):
        if not possible([Requirement(test)]):
            yield LintFinding(path + where, f"never holds: no value satisfies: {test_text(test)}")


def _conditions(node: model.Node) -> Iterator[tuple[str, Predicate]]:
    match node:
        case model.Did(select=select) | model.Aggregate(select=select) | model.Occurrence(select=select):
            yield from _where("", select.where)
        case model.SequenceNode(sequence=sequence):
            for number, step in enumerate(sequence.steps):
                yield from _where(f".sequence[{number}]", step.where)


def _where(place: str, where: Iterable[tuple[model.Path, Predicate]]) -> Iterator[tuple[str, Predicate]]:
    return ((f"{place}.where.{'.'.join(path)}", test) for path, test in where)


def _idle(node: model.Node, path: str) -> Iterator[LintFinding]:
    """Tests of digits that say nothing: they hold of everyone who has digits at all."""
    if not isinstance(node, model.RfmNode):
        return
    for name, test in node.tests:
        greatest = node.rfm.greatest(name)
        if all(test.holds(digit, 0) for digit in range(1, greatest + 1)):
            reason = f"holds for everyone who has ordered: this digit is from 1 to {greatest}"
            yield LintFinding(f"{path}.rfm.{name}", reason)


def _told(table: dict[type, _Words], node: model.Node, path: str) -> Iterator[LintFinding]:
    words = table.get(type(node))
    if words is not None:
        where, say = words
        yield LintFinding(path + where, say(node))


_Words = tuple[str, Callable[[Any], str]]


def _no_digits(node: model.RfmNode) -> str:
    if node.tiers:
        return f"never holds: nobody can be in {' or '.join(node.tiers)}"
    return f"never holds: no customer has such digits: {label(node)}"


#: Node -> where it says what can never hold, and the reason. A count has been refused before.
_NEVER: dict[type, _Words] = {
    model.Trait: (".is", lambda node: f"never holds: no value satisfies: {test_text(node.test)}"),
    model.HasBeen: (".has_been.is", lambda node: f"never holds: no value satisfies: {test_text(node.test)}"),
    model.ScoreNode: (".is", lambda node: f"never holds: no number satisfies: {test_text(node.test)}"),
    model.Aggregate: (
        ".is",
        lambda node: f"never holds: no {node.function} satisfies: {test_text(node.test)}",
    ),
    model.RfmNode: (".rfm", _no_digits),
}

#: Node -> where it says what always holds, and the reason. Of counts it has been said before.
_ALWAYS: dict[type, _Words] = {
    model.KnownFor: (".known_for", lambda _: "always holds: every customer has been known for that long"),
    model.Bucket: (".bucket", lambda _: "always holds: every customer is in it"),
    model.Aggregate: (
        ".is",
        lambda node: f"always holds: every {node.function} satisfies: {test_text(node.test)}",
    ),
}


# -- the grid of RFM -------------------------------------------------------------------------------------


def lint_rfm(rfm: Rfm) -> list[str]:
    """What is odd about the grid: tiers that nobody can be in, and digits that belong to no tier."""
    found = [f"nobody can be in {name}: tiers before it take all its cells" for name in rfm.dead_tiers()]
    if holes := rfm.holes():
        found.append("in no tier: " + ", ".join(f"recency {r} frequency {f}" for r, f in holes))
    return found
