"""From the tree of a rule to one code object, built from ``ast`` nodes, never from source text."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from segops.core.features import Feature
from segops.core.features.scanning import LOOK_AHEAD_MS, MAX_STEPS
from segops.core.profile import Profile
from segops.core.rules import leaves, model
from segops.core.rules.changes import Changes, Edge, Holds, combined, stepped
from segops.core.rules.leaf import Leaf, never


class Use(msgspec.Struct, frozen=True):
    """A feature that a rule reads; while it keeps fewer than ``least`` entries, none matters to the rule."""

    feature: Feature
    least: int


class Rule(msgspec.Struct, frozen=True):
    """A compiled rule: its verdict on a profile at an instant, and what that depends on."""

    holds: Holds
    #: Of leaves that change once or twice with time. None: one may change as often as it has entries, and
    #: the rule is followed by its ``changes``.
    edges: tuple[Edge, ...] | None
    changes: Changes
    features: tuple[Use, ...]
    traits: frozenset[str]
    #: Parts of the profile that it reads (``leaf.FIRST``, ``leaf.LOCATION``).
    reads: frozenset[str]

    def next_flip(self, profile: Profile, now_ms: int, member: bool) -> int | None:
        """The earliest instant after ``now_ms`` at which the verdict stops being ``member``, or None.

        The search gives up after so many steps once it is ten years ahead: only anniversaries have edges
        without end, and what they do in ten years they do for ever.
        """
        if self.edges is not None:
            return self._next_flip_by_edges(profile, now_ms, member)
        for steps, (at, verdict) in enumerate(self.changes(profile, now_ms)):
            if verdict != member and at > now_ms:
                return at
            if steps > MAX_STEPS and at - now_ms > LOOK_AHEAD_MS:
                return None
        return None

    def leaf(self, key: str) -> Leaf:
        """The rule as a leaf of another, which refers to it by its segment."""
        if self.edges is None:
            return Leaf(self.holds, changes=self.changes, segment=key)
        return Leaf(self.holds, self._next_edge, segment=key)

    def _next_edge(self, profile: Profile, now_ms: int) -> int | None:
        """The earliest instant after ``now_ms`` at which a leaf's verdict could change by time alone."""
        first = None
        for edge in self.edges or ():
            at = edge(profile, now_ms)
            if at is not None and (first is None or at < first):
                first = at
        return first

    def _next_flip_by_edges(self, profile: Profile, now_ms: int, member: bool) -> int | None:
        at = self._next_edge(profile, now_ms)
        steps = 0
        while at is not None and self.holds(profile, at) == member:
            steps += 1
            if steps > MAX_STEPS and at - now_ms > LOOK_AHEAD_MS:
                return None
            later = self._next_edge(profile, at)
            if later is not None and later <= at:
                # It would be found again and again, and the partition would stand still.
                raise ArithmeticError(f"an edge at {later} is not after {at}")
            at = later
        return at


def compile_rule(key: str, node: model.Node, others: Mapping[str, Rule]) -> Rule:
    """Compile the rule of segment ``key``; ``others`` are the rules that it may refer to.

    >>> rule = compile_rule("new", model.Not(model.KnownFor(10)), {})
    >>> profile = Profile("user_id:u1", first_ms=100)
    >>> rule.holds(profile, 109), rule.next_flip(profile, 109, True)
    (True, 110)
    """
    emitter = _Emitter(others)
    body = emitter.expression(node)
    combine: Callable[[list[bool]], bool] = _function(key, ("verdicts",), body, emitter.namespace)
    holds: Holds = _function(
        key, ("profile", "now_ms"), _Reading(emitter.readings).visit(body), emitter.namespace
    )
    found = emitter.leaves
    referred = [others[leaf.segment] for leaf in found if leaf.segment is not None]
    uses = [Use(leaf.feature, leaf.least) for leaf in found if leaf.feature is not None]
    uses += [use for rule in referred for use in rule.features]
    return Rule(
        holds,
        None if any(leaf.changes for leaf in found) else _edges(found),
        combined([leaf.changes or stepped(leaf.holds, leaf.edge) for leaf in found], combine),
        tuple(uses),
        frozenset(name for leaf in found for name in leaf.traits).union(*(rule.traits for rule in referred)),
        frozenset(part for leaf in found for part in leaf.reads).union(*(rule.reads for rule in referred)),
    )


def _edges(found: list[Leaf]) -> tuple[Edge, ...]:
    return tuple(leaf.edge for leaf in found if leaf.edge is not never)


class _Reading(ast.NodeTransformer):
    """Puts the reading of each leaf from the profile in the place of its verdict."""

    def __init__(self, readings: list[ast.expr]) -> None:
        self.readings = readings

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        number: int = ast.literal_eval(node.slice)
        return self.readings[number]


def _function(key: str, names: tuple[str, ...], body: ast.expr, namespace: dict[str, Any]) -> Any:
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(name) for name in names],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
    name = "rule_" + key.replace("-", "_")
    module = ast.Module([ast.FunctionDef(name, arguments, [ast.Return(body)], [], None)], [])
    ast.fix_missing_locations(module)
    source = ast.unparse(module)
    # A traceback through a rule shows the expression that failed.
    linecache.cache[f"<segment {key}>"] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        f"<segment {key}>",
    )
    # The tree holds names of our own and constants only; nothing of the user's text is parsed as code.
    exec(compile(module, f"<segment {key}>", "exec"), namespace)  # noqa: S102
    return namespace[name]


class _Emitter:
    """Turns nodes into expressions over the verdicts of leaves, and collects the leaves.

    ``readings`` are the expressions over ``profile`` and ``now_ms`` that give these verdicts.
    """

    def __init__(self, others: Mapping[str, Rule]) -> None:
        self.others = others
        self.leaves: list[Leaf] = []
        self.readings: list[ast.expr] = []
        self.namespace: dict[str, Any] = {"__builtins__": {"sum": sum, "len": len}}

    def expression(self, node: model.Node) -> ast.expr:
        """The expression that is true when the node is."""
        return _EMITTERS[type(node)](self, node)

    def leaf(self, leaf: Leaf) -> ast.expr:
        """The leaf's verdict."""
        number = len(self.leaves)
        self.leaves.append(leaf)
        self.readings.append(self._reading(leaf, number))
        return ast.Subscript(_name("verdicts"), ast.Constant(number), ast.Load())

    def _reading(self, leaf: Leaf, number: int) -> ast.expr:
        """A call of the leaf's verdict, or the comparison in place for a count within a length."""
        if leaf.feature is not None and leaf.within_ms is not None and len(leaf.comparison) == 1:
            (name, operand), *_ = leaf.comparison
            if name in _IN_PLACE:
                return _IN_PLACE[name](_Count(leaf.feature.id, leaf.within_ms, f"state_{number}"), operand)
        self.namespace[f"leaf_{number}"] = leaf.holds
        return _call(f"leaf_{number}", _name("profile"))


def _name(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


class _Count(msgspec.Struct, frozen=True):
    """A count of the events within a length, as expressions: k are there if the k-th latest is."""

    feature_id: int
    length_ms: int
    variable: str

    def reached(self, k: int) -> ast.expr:
        """``(state := features.get(ID)) and len(state.times) >= k and state.times[-k] > now_ms - LENGTH``."""
        if k <= 0:
            return ast.Constant(True)
        get = ast.Attribute(ast.Attribute(_name("profile"), "features", ast.Load()), "get", ast.Load())
        state = ast.NamedExpr(
            ast.Name(self.variable, ast.Store()), ast.Call(get, [ast.Constant(self.feature_id)], [])
        )
        times = ast.Attribute(_name(self.variable), "times", ast.Load())
        kth = ast.Subscript(times, ast.UnaryOp(ast.USub(), ast.Constant(k)), ast.Load())
        alive = ast.BinOp(_name("now_ms"), ast.Sub(), ast.Constant(self.length_ms))
        return ast.BoolOp(
            ast.And(),
            [
                ast.Compare(state, [ast.IsNot()], [ast.Constant(None)]),
                ast.Compare(ast.Call(_name("len"), [times], []), [ast.GtE()], [ast.Constant(k)]),
                ast.Compare(kth, [ast.Gt()], [alive]),
            ],
        )

    def below(self, k: int) -> ast.expr:
        """The opposite of ``reached``."""
        return ast.UnaryOp(ast.Not(), self.reached(k))


#: Operator of a count -> its expression.
_IN_PLACE: dict[str, Callable[[_Count, int], ast.expr]] = {
    "gte": lambda count, k: count.reached(k),
    "gt": lambda count, k: count.reached(k + 1),
    "lt": lambda count, k: count.below(k),
    "lte": lambda count, k: count.below(k + 1),
    "eq": lambda count, k: ast.BoolOp(ast.And(), [count.reached(k), count.below(k + 1)]),
}


def _call(name: str, argument: ast.expr) -> ast.expr:
    return ast.Call(_name(name), [argument, _name("now_ms")], [])


def _joined(operator: Callable[[], ast.boolop]) -> Callable[[_Emitter, Any], ast.expr]:
    def emit(emitter: _Emitter, node: model.All | model.Any) -> ast.expr:
        values = [emitter.expression(child) for child in node.of]
        return values[0] if len(values) == 1 else ast.BoolOp(operator(), values)

    return emit


def _not(emitter: _Emitter, node: model.Not) -> ast.expr:
    return ast.UnaryOp(ast.Not(), emitter.expression(node.of))


def _at_least(emitter: _Emitter, node: model.AtLeast) -> ast.expr:
    verdicts = ast.Tuple([emitter.expression(child) for child in node.of], ast.Load())
    total = ast.Call(_name("sum"), [verdicts], [])
    return ast.Compare(total, [ast.GtE()], [ast.Constant(node.k)])


def _in_segment(emitter: _Emitter, node: model.InSegment) -> ast.expr:
    other = emitter.others[node.key]
    return emitter.leaf(other.leaf(node.key))


def _leaf(make: Callable[[Any], Leaf]) -> Callable[[_Emitter, Any], ast.expr]:
    def emit(emitter: _Emitter, node: Any) -> ast.expr:
        return emitter.leaf(make(node))

    return emit


_EMITTERS: dict[type, Callable[[_Emitter, Any], ast.expr]] = {
    model.All: _joined(ast.And),
    model.Any: _joined(ast.Or),
    model.Not: _not,
    model.AtLeast: _at_least,
    model.InSegment: _in_segment,
    model.Did: _leaf(leaves.did),
    model.Aggregate: _leaf(leaves.aggregate),
    model.Occurrence: _leaf(leaves.occurrence),
    model.Trait: _leaf(leaves.trait),
    model.KnownFor: _leaf(leaves.known_for),
    model.HasBeen: _leaf(leaves.has_been),
    model.Near: _leaf(leaves.near),
    model.Bucket: _leaf(leaves.bucket),
    model.InOrder: _leaf(leaves.in_order),
    model.RfmIs: _leaf(leaves.rfm_is),
    model.ScoreIs: _leaf(leaves.score_is),
}
