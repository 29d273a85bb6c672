"""The compiler of rules: a tree becomes one function, built from ``ast`` nodes, never from source text."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, TypeVar, cast

import msgspec

from segops.core.features import Feature
from segops.core.features.scanning import LOOK_AHEAD_MS, MAX_STEPS
from segops.core.profile import Profile
from segops.core.rules import model
from segops.core.rules.execution import customer, figures, leaves, rhythm, scores
from segops.core.rules.execution.distances import distance
from segops.core.rules.execution.frozen import frozen, projection
from segops.core.rules.execution.leaf import Leaf, never
from segops.core.rules.execution.verdicts import Changes, Edge, Holds, combined, stepped

_Kind = TypeVar("_Kind", bound=ast.AST)


class Use(msgspec.Struct, frozen=True):
    """A feature that a rule reads; with fewer than ``least`` entries it does not affect the rule."""

    feature: Feature
    least: int


class Rule(msgspec.Struct, frozen=True):
    """A compiled rule: its verdict on a profile at an instant, and the parts of the profile it reads."""

    holds: Holds
    #: The edges of leaves that change once or twice with time. None if a leaf may change as often as it has
    #: entries; ``changes`` then yields the verdicts over time.
    edges: tuple[Edge, ...] | None
    changes: Changes
    features: tuple[Use, ...]
    traits: frozenset[str]
    #: Parts of the profile that the rule reads (``leaf.FIRST``, ``leaf.LOCATION``, ...).
    reads: frozenset[str]

    def next_flip(self, profile: Profile, now_ms: int, member: bool) -> int | None:
        """Return the earliest instant after ``now_ms`` at which the verdict differs from ``member``, or None.

        The search ends after MAX_STEPS steps once it is LOOK_AHEAD_MS (ten years) ahead: only anniversaries
        have infinitely many edges, and a verdict that does not change within ten years never does.
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
        """Return the rule as a leaf of a rule that references its segment ``key``."""
        if self.edges is None:
            return Leaf(self.holds, changes=self.changes, segment=key)
        return Leaf(self.holds, self._next_edge, segment=key)

    def _next_edge(self, profile: Profile, now_ms: int) -> int | None:
        """Return the earliest instant after ``now_ms`` at which time alone may change a leaf's verdict."""
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
                # The loop would never end, and the partition would stall.
                raise ArithmeticError(f"an edge at {later} is not after {at}")
            at = later
        return at


def compile_rule(key: str, node: model.Node, others: Mapping[str, Rule]) -> Rule:
    """Compile the rule of segment ``key``; ``others`` are the rules that it may reference.

    >>> rule = compile_rule("new", model.Not(model.KnownFor(10)), {})
    >>> profile = Profile("user_id:u1", first_ms=100)
    >>> rule.holds(profile, 109), rule.next_flip(profile, 109, True)
    (True, 110)
    """
    emitter = _Emitter(others)
    body = emitter.expression(node)
    holds: Holds = _function(key, ("profile", "now_ms"), body, emitter.namespace)
    _show_in_tracebacks(key, node, others)
    found = emitter.leaves
    referred = [others[leaf.segment] for leaf in found if leaf.segment is not None]
    uses = [Use(leaf.feature, leaf.least) for leaf in found if leaf.feature is not None]
    uses += [Use(feature, 0) for leaf in found for feature in leaf.figures]
    uses += [use for rule in referred for use in rule.features]
    return Rule(
        holds,
        None if any(leaf.changes for leaf in found) else _edges(found),
        combined(
            [leaf.changes or stepped(leaf.holds, leaf.edge) for leaf in found], _Combine(key, node, others)
        ),
        tuple(uses),
        frozenset(name for leaf in found for name in leaf.traits).union(*(rule.traits for rule in referred)),
        frozenset(part for leaf in found for part in leaf.reads).union(*(rule.reads for rule in referred)),
    )


def _edges(found: list[Leaf]) -> tuple[Edge, ...]:
    return tuple(leaf.edge for leaf in found if leaf.edge is not never)


class _Combine:
    """The verdict of a rule from those of its leaves; compiled on first use, since few rules need it."""

    def __init__(self, key: str, node: model.Node, others: Mapping[str, Rule]) -> None:
        self._rule = key, node, others

    def __call__(self, verdicts: list[bool]) -> bool:
        return self._compiled(verdicts)

    @cached_property
    def _compiled(self) -> Callable[[list[bool]], bool]:
        key, node, others = self._rule
        emitter = _Emitter(others, from_verdicts=True)
        found: Callable[[list[bool]], bool] = _function(
            key, ("verdicts",), emitter.expression(node), emitter.namespace
        )
        return found


def _located(kind: type[_Kind]) -> type[_Kind]:
    """Derive an ``ast`` class with a fixed location: setting it per node takes longer than to compile."""
    return cast("type[_Kind]", type(kind.__name__, (kind,), {"lineno": 1, "col_offset": 0}))


_Arg = _located(ast.arg)
_Attribute = _located(ast.Attribute)
_BinOp = _located(ast.BinOp)
_BoolOp = _located(ast.BoolOp)
_Call = _located(ast.Call)
_Compare = _located(ast.Compare)
_Constant = _located(ast.Constant)
_FunctionDef = _located(ast.FunctionDef)
_Name = _located(ast.Name)
_NamedExpr = _located(ast.NamedExpr)
_Return = _located(ast.Return)
_Subscript = _located(ast.Subscript)
_Tuple = _located(ast.Tuple)
_UnaryOp = _located(ast.UnaryOp)


def _module(key: str, names: tuple[str, ...], body: ast.expr) -> ast.Module:
    arguments = ast.arguments(
        posonlyargs=[],
        args=[_Arg(name) for name in names],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
    function = _FunctionDef(name=_function_name(key), args=arguments, body=[_Return(body)], decorator_list=[])
    return ast.Module([function], [])


def _function_name(key: str) -> str:
    return "rule_" + key.replace("-", "_")


def _function(key: str, names: tuple[str, ...], body: ast.expr, namespace: dict[str, Any]) -> Any:
    # The tree has generated names and constants only; no text of a rule is parsed as code.
    exec(compile(_module(key, names, body), _file_name(key), "exec"), namespace)  # noqa: S102
    return namespace[_function_name(key)]


def _file_name(key: str) -> str:
    return f"segment {key}"


def _show_in_tracebacks(key: str, node: model.Node, others: Mapping[str, Rule]) -> None:
    """Make tracebacks show the failed expression; its source is generated when one is printed."""
    linecache.cache[_file_name(key)] = (partial(_source, key, node, others),)


def _source(key: str, node: model.Node, others: Mapping[str, Rule]) -> str:
    module = _module(key, ("profile", "now_ms"), _Emitter(others).expression(node))
    return ast.unparse(ast.fix_missing_locations(module)) + "\n"


class _Emitter:
    """Turns nodes into expressions over the verdicts of leaves, and collects the leaves.

    A verdict is computed from ``profile`` at ``now_ms``, or, with ``from_verdicts``, read from a list.
    """

    def __init__(self, others: Mapping[str, Rule], *, from_verdicts: bool = False) -> None:
        self.others = others
        self.leaves: list[Leaf] = []
        self._from_verdicts = from_verdicts
        self.namespace: dict[str, Any] = {"__builtins__": {"sum": sum, "len": len}}

    def expression(self, node: model.Node) -> ast.expr:
        """Return the expression for a node."""
        return _EMITTERS[type(node)](self, node)

    def leaf(self, leaf: Leaf) -> ast.expr:
        """Return the expression for a leaf's verdict."""
        number = len(self.leaves)
        self.leaves.append(leaf)
        if self._from_verdicts:
            return _subscript(_name("verdicts"), _Constant(number))
        return self._reading(leaf, number)

    def _reading(self, leaf: Leaf, number: int) -> ast.expr:
        """Return a call of the leaf, or an inlined comparison for a count in a sliding window."""
        if leaf.feature is not None and leaf.within_ms is not None and len(leaf.comparison) == 1:
            (name, operand), *_ = leaf.comparison
            if name in _IN_PLACE:
                return _IN_PLACE[name](_Count(leaf.feature.id, leaf.within_ms, f"state_{number}"), operand)
        self.namespace[f"leaf_{number}"] = leaf.holds
        return _call(f"leaf_{number}", _name("profile"))


def _name(name: str) -> ast.expr:
    return _Name(name, ast.Load())


def _subscript(value: ast.expr, index: ast.expr) -> ast.expr:
    return _Subscript(value, index, ast.Load())


class _Count(msgspec.Struct, frozen=True):
    """Expressions for a count in a sliding window: it is at least k if the k-th latest event is in it."""

    feature_id: int
    length_ms: int
    variable: str

    def reached(self, k: int) -> ast.expr:
        """``(state := features.get(ID)) and len(state.times) >= k and state.times[-k] > now_ms - LENGTH``."""
        if k <= 0:
            return _Constant(True)
        get = _Attribute(_Attribute(_name("profile"), "features", ast.Load()), "get", ast.Load())
        state = _NamedExpr(_Name(self.variable, ast.Store()), _Call(get, [_Constant(self.feature_id)], []))
        times = _Attribute(_name(self.variable), "times", ast.Load())
        kth = _Subscript(times, _UnaryOp(ast.USub(), _Constant(k)), ast.Load())
        alive = _BinOp(_name("now_ms"), ast.Sub(), _Constant(self.length_ms))
        return _BoolOp(
            ast.And(),
            [
                _Compare(state, [ast.IsNot()], [_Constant(None)]),
                _Compare(_Call(_name("len"), [times], []), [ast.GtE()], [_Constant(k)]),
                _Compare(kth, [ast.Gt()], [alive]),
            ],
        )

    def below(self, k: int) -> ast.expr:
        """Return the negation of ``reached``."""
        return _UnaryOp(ast.Not(), self.reached(k))


#: Operator of a count -> its expression.
_IN_PLACE: dict[str, Callable[[_Count, int], ast.expr]] = {
    "gte": lambda count, k: count.reached(k),
    "gt": lambda count, k: count.reached(k + 1),
    "lt": lambda count, k: count.below(k),
    "lte": lambda count, k: count.below(k + 1),
    "eq": lambda count, k: _BoolOp(ast.And(), [count.reached(k), count.below(k + 1)]),
}


def _call(name: str, argument: ast.expr) -> ast.expr:
    return _Call(_name(name), [argument, _name("now_ms")], [])


def _joined(operator: Callable[[], ast.boolop]) -> Callable[[_Emitter, Any], ast.expr]:
    def emit(emitter: _Emitter, node: model.All | model.Any) -> ast.expr:
        values = [emitter.expression(child) for child in node.of]
        return values[0] if len(values) == 1 else _BoolOp(operator(), values)

    return emit


def _not(emitter: _Emitter, node: model.Not) -> ast.expr:
    return _UnaryOp(ast.Not(), emitter.expression(node.of))


def _at_least(emitter: _Emitter, node: model.AtLeast) -> ast.expr:
    verdicts = _Tuple([emitter.expression(child) for child in node.of], ast.Load())
    total = _Call(_name("sum"), [verdicts], [])
    return _Compare(total, [ast.GtE()], [_Constant(node.k)])


def _in_segment(emitter: _Emitter, node: model.InSegment) -> ast.expr:
    other = emitter.others[node.key]
    return emitter.leaf(other.leaf(node.key))


def _leaf(make: Callable[[Any], Leaf]) -> Callable[[_Emitter, Any], ast.expr]:
    def emit(emitter: _Emitter, node: Any) -> ast.expr:
        return emitter.leaf(make(node))

    return emit


_LEAVES: dict[type, Callable[[Any], Leaf]] = {
    model.Did: leaves.did,
    model.Aggregate: leaves.aggregate,
    model.Occurrence: leaves.occurrence,
    model.Trait: leaves.trait,
    model.KnownFor: leaves.known_for,
    model.HasBeen: leaves.has_been,
    model.Changed: customer.changed,
    model.HasIdentifier: customer.has_identifier,
    model.OnList: customer.on_list,
    model.Located: customer.located,
    model.Visited: customer.visited,
    model.Near: customer.near,
    model.Bucket: leaves.bucket,
    model.SequenceNode: leaves.sequence,
    model.RfmNode: leaves.score,
    model.ScoreNode: lambda node: scores.score(node, figures.reading_of),
    model.ActivePeriods: rhythm.active,
    model.Sessions: rhythm.sessions,
    model.SessionFigure: rhythm.session,
    model.Regularly: rhythm.regularly,
    model.LifecycleNode: rhythm.lifecycle,
    model.Compare: figures.compare,
    model.Ratio: figures.ratio,
    model.Distance: distance,
    model.Frozen: lambda node: frozen(node, _LEAVES[type(node.of)](node.of)),
    model.PublishedFigure: figures.published,
}

_EMITTERS: dict[type, Callable[[_Emitter, Any], ast.expr]] = {
    model.All: _joined(ast.And),
    model.Any: _joined(ast.Or),
    model.Not: _not,
    model.AtLeast: _at_least,
    model.InSegment: _in_segment,
    **{kind: _leaf(make) for kind, make in _LEAVES.items()},
}


def at_refresh(node: model.Frozen, profile: Profile, now_ms: int) -> tuple[Profile, int]:
    """Return the profile that the leaf in a frozen node reads, and the instant as of which."""
    refreshed_ms = node.refresh.latest(now_ms)
    return projection(tuple(features_of(node.of)), node.refresh).before(profile, refreshed_ms), refreshed_ms


def feature_of(node: model.Node) -> Feature | None:
    """Return the feature that a leaf tests; None for a group, and for a leaf without a feature of its own."""
    make = _LEAVES.get(type(node))
    return None if make is None else make(node).feature


def features_of(node: model.Node) -> Iterator[Feature]:
    """Yield the features that a rule reads, without those of referenced segments."""
    if (make := _LEAVES.get(type(node))) is not None:
        leaf = make(node)
        yield from leaf.figures if leaf.feature is None else (leaf.feature, *leaf.figures)
    for child in model.children(node):
        yield from features_of(child)
