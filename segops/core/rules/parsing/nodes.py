"""From the written form of a rule to its checked tree, with every mistake and its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any as Raw

from segops.core.errors import Issue
from segops.core.geo import parse_length
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.parsing.predicates import COUNT_OPERATORS, Refused, check_test, threshold_verdict
from segops.core.rules.parsing.scores import check_rfm_node, check_score
from segops.core.rules.parsing.sequences import check_sequence
from segops.core.rules.parsing.windows import WINDOW_KEYS, check_window
from segops.core.scoring.rfm import Rfm
from segops.core.values import exact, kind, parse_duration
from segops.core.windows import Within

AGGREGATES = ("sum", "avg", "min", "max", "distinct", "latest", "earliest")
_DID_ONCE = Predicate((("gte", 1),))
_DID_NOT = Predicate((("eq", 0),))
_MAX_DEPTH = 50
#: Nodes of a rule: judging one looks at each of its edges with each of its leaves.
MAX_NODES = 1_000

Form = Mapping[str, Raw]


class Checker:
    """Checks one rule. ``issues`` refuse it, ``warnings`` do not."""

    def __init__(self, source: str, rfm: Rfm | None = None, max_nodes: int = MAX_NODES) -> None:
        self.source = source
        self._nodes_left = max_nodes
        self._too_many = (
            f"a rule of more than {max_nodes:,} nodes: say the same by lists, or by several segments"
        )
        self.rfm = Rfm() if rfm is None else rfm
        self.negations = 0  #: how many ``not`` the node being checked stands under
        self.issues: list[Issue] = []
        self.warnings: list[Issue] = []

    def check(self, raw: Raw, path: str) -> model.Node | None:
        """The checked tree of a rule; None, with ``issues``, if it has a mistake anywhere.

        >>> checker = Checker("shop.yaml")
        >>> checker.check({"did": "Order Completed", "within": "0h"}, "when") is None
        True
        >>> print(checker.issues[0])
        shop.yaml: when.within: a window of 0 holds nothing
        """
        node = self._node(raw, path)
        if self._nodes_left < 0:
            self.refuse(path, self._too_many)
        return None if self.issues else node

    def refuse(self, path: str, reason: str) -> None:
        """Note a mistake."""
        self.issues.append(Issue(self.source, path, reason))

    def _node(self, raw: Raw, path: str) -> model.Node | None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            return None
        if not isinstance(raw, dict):
            self.refuse(path, f"a node is a map with one of {', '.join(HEADS)}, not {raw!r}")
            return None
        heads = [key for key in raw if key in HEADS]
        if len(heads) != 1:
            self.refuse(path, _about_heads(raw, heads))
            return None
        if path.count(".") > _MAX_DEPTH:
            self.refuse(path, f"nested deeper than {_MAX_DEPTH} nodes")
            return None
        return HEADS[heads[0]](self, raw, path)

    def keys(self, raw: Form, path: str, *allowed: str) -> None:
        """Refuse every key that the node does not know."""
        for key in raw:
            if key not in allowed:
                self.refuse(f"{path}.{key}", f"unknown key; here: {', '.join(allowed)}")

    def attempt(self, path: str, check: Callable[..., Raw], *args: Raw) -> Raw:
        """``check(*args)``, or None with its refusal noted."""
        try:
            return check(*args)
        except Refused as refused:
            for where, reason in refused.parts:
                self.refuse(f"{path}{where}", reason)
        except ValueError as error:
            self.refuse(path, str(error))
        return None

    def children(self, raw: Raw, path: str) -> tuple[model.Node, ...]:
        """The nodes of a list that may not be empty."""
        if not isinstance(raw, list) or not raw:
            self.refuse(path, "a list of at least one node is wanted")
            return ()
        nodes = [self._node(child, f"{path}[{i}]") for i, child in enumerate(raw)]
        return tuple(node for node in nodes if node is not None)

    def child(self, raw: Raw, path: str) -> model.Node | None:
        """A node below this one."""
        return self._node(raw, path)

    def select(self, raw: Form, head: str, path: str) -> model.Selection:
        """The events that a leaf reads."""
        names = self.attempt(f"{path}.{head}", _names, raw.get(head))
        where = raw.get("where", {})
        if not isinstance(where, dict) or ("where" in raw and not where):
            self.refuse(f"{path}.where", "a map of at least one property to a test is wanted")
            where = {}
        tests = [
            (name, self.attempt(f"{path}.where", _where, name, test))
            for name, test in sorted(where.items(), key=str)
        ]
        return model.Selection(
            names or ("",),
            tuple((tuple(str(name).split(".")), test) for name, test in tests if test is not None),
        )

    def counted(self, raw: Raw, path: str) -> Predicate:
        """A test over whole numbers that can both hold and fail."""
        test: Predicate | None = self.attempt(path, check_test, raw, COUNT_OPERATORS)
        if test is None:
            return _DID_ONCE
        verdict = threshold_verdict(test)
        if verdict == "always" and test.ops == (("gte", 0),):
            self.warnings.append(Issue(self.source, path, "always holds: a count is never below 0"))
        elif verdict:
            self.refuse(path, f"{verdict} holds: a count is a whole number from 0 up")
        return test


def _about_heads(raw: Form, heads: list[str]) -> str:
    if heads:
        return f"a node has exactly one of {', '.join(HEADS)}; here: {' and '.join(heads)}"
    unknown = ", ".join(map(str, raw)) or "an empty map"
    return f"no node: {unknown}; a node has exactly one of {', '.join(HEADS)}"


def _names(raw: Raw) -> tuple[str, ...]:
    names = raw if isinstance(raw, list) else [raw]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("the name of an event, or a list of at least one, is wanted")
    return tuple(sorted(set(names)))


def _property(raw: Raw) -> model.Path:
    if not isinstance(raw, str) or not all(raw.split(".")):
        raise ValueError("the path of a property is wanted, as in cart.total")
    return tuple(raw.split("."))


def _where(name: Raw, raw: Raw) -> Predicate:
    try:
        _property(name)
        return check_test(raw if isinstance(raw, dict) else {"eq": raw})
    except Refused as refused:
        first, *more = ((f".{name}{where}", reason) for where, reason in refused.parts)
        raise Refused(*first, *more) from None
    except ValueError as error:
        raise Refused(f".{name}", str(error)) from None


def _all(checker: Checker, raw: Form, path: str) -> model.Node:
    checker.keys(raw, path, "all")
    return model.All(checker.children(raw["all"], f"{path}.all"))


def _any(checker: Checker, raw: Form, path: str) -> model.Node:
    checker.keys(raw, path, "any")
    return model.Any(checker.children(raw["any"], f"{path}.any"))


def _not(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "not")
    checker.negations += 1
    child = checker.child(raw["not"], f"{path}.not")
    checker.negations -= 1
    return None if child is None else model.Not(child)


def _at_least(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "at_least")
    form, path = raw["at_least"], f"{path}.at_least"
    if not isinstance(form, dict) or "k" not in form or "of" not in form:
        checker.refuse(path, "a map of k and of is wanted, as in {k: 2, of: [...]}")
        return None
    checker.keys(form, path, "k", "of")
    nodes, k = checker.children(form["of"], f"{path}.of"), form["k"]
    if type(k) is not int or not 1 <= k <= max(1, len(form["of"]) if isinstance(form["of"], list) else 1):
        checker.refuse(f"{path}.k", f"a whole number from 1 to the number of nodes is wanted, not {k!r}")
        return None
    return model.AtLeast(k, nodes)


def _did(checker: Checker, raw: Form, path: str) -> model.Node:
    checker.keys(raw, path, "did", "where", "count", *WINDOW_KEYS)
    count = checker.counted(raw["count"], f"{path}.count") if "count" in raw else _DID_ONCE
    return model.Did(checker.select(raw, "did", path), _window(checker, raw, path), count)


def _did_not(checker: Checker, raw: Form, path: str) -> model.Node:
    checker.keys(raw, path, "did_not", "where", *WINDOW_KEYS)
    return model.Did(checker.select(raw, "did_not", path), _window(checker, raw, path), _DID_NOT)


def _window(checker: Checker, raw: Form, path: str) -> Raw:
    return checker.attempt(path, check_window, raw)


def _aggregate(function: str) -> Callable[[Checker, Form, str], model.Node | None]:
    def check(checker: Checker, raw: Form, path: str) -> model.Node | None:
        checker.keys(raw, path, function, "of", "where", "is", *WINDOW_KEYS)
        prop = checker.attempt(f"{path}.{function}", _property, raw[function])
        if function == "distinct":
            test: Predicate | None = checker.counted(raw.get("is"), f"{path}.is")
        else:
            test = checker.attempt(f"{path}.is", check_test, raw.get("is"))
        select, window = checker.select(raw, "of", path), _window(checker, raw, path)
        if test is None or prop is None:
            return None
        return model.Aggregate(function, prop, select, window, test)

    return check


def _occurrence(which: str) -> Callable[[Checker, Form, str], model.Node | None]:
    def check(checker: Checker, raw: Form, path: str) -> model.Node | None:
        checker.keys(raw, path, which, "where", "is")
        select, form = checker.select(raw, which, path), raw.get("is")
        if not isinstance(form, dict) or not form or set(form) - {"older_than", "newer_than"}:
            checker.refuse(f"{path}.is", "older_than or newer_than is wanted, as in {older_than: 60d}")
            return None
        test = checker.attempt(f"{path}.is", check_test, form, ("older_than", "newer_than"))
        ages: dict[str, int] = {} if test is None else dict(test.ops)
        older, newer = ages.get("older_than"), ages.get("newer_than")
        if older is not None and newer is not None and older >= newer:
            checker.refuse(f"{path}.is", "never holds: nothing is both this old and this new")
            return None
        return model.Occurrence(which, select, older, newer)

    return check


def _trait(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "trait", "is")
    name = checker.attempt(f"{path}.trait", _property, raw["trait"])
    test = checker.attempt(f"{path}.is", check_test, raw.get("is"))
    return None if name is None or test is None else model.Trait(name, test)


def _known_for(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "known_for")
    length_ms = checker.attempt(f"{path}.known_for", parse_duration, raw["known_for"])
    return None if length_ms is None else model.KnownFor(length_ms)


def _in_segment(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "in_segment")
    if not isinstance(raw["in_segment"], str):
        checker.refuse(f"{path}.in_segment", "the key of a segment is wanted")
        return None
    return model.InSegment(raw["in_segment"])


def _has_been(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "has_been", "for")
    form, inner = raw["has_been"], f"{path}.has_been"
    if not isinstance(form, dict) or set(form) != {"trait", "is"}:
        checker.refuse(inner, "a map of trait and is is wanted, as in {trait: plan, is: {eq: gold}}")
        return None
    name = checker.attempt(f"{inner}.trait", _property, form["trait"])
    test = checker.attempt(f"{inner}.is", check_test, form["is"])
    length_ms = checker.attempt(f"{path}.for", parse_duration, raw.get("for"))
    return None if name is None or test is None or length_ms is None else model.HasBeen(name, test, length_ms)


def _near(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "near", "within")
    form, inner = raw["near"], f"{path}.near"
    if not isinstance(form, dict) or set(form) != {"lat", "lon", "radius"}:
        checker.refuse(
            inner, "a map of lat, lon and radius is wanted, as in {lat: 48.86, lon: 2.35, radius: 5km}"
        )
        return None
    lat = checker.attempt(f"{inner}.lat", _degrees, form["lat"], 90)
    lon = checker.attempt(f"{inner}.lon", _degrees, form["lon"], 180)
    radius_m = checker.attempt(f"{inner}.radius", parse_length, form["radius"])
    window = checker.attempt(path, check_window, raw)
    if lat is None or lon is None or radius_m is None or window is None:
        return None
    return model.Near(lat, lon, radius_m, window.length_ms if isinstance(window, Within) else None)


def _degrees(raw: Raw, limit: int) -> float:
    if kind(raw) != "number" or not -limit <= raw <= limit:
        raise ValueError(f"degrees from -{limit} to {limit} are wanted, not {raw!r}")
    return float(raw)


def _bucket(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "bucket")
    form, inner = raw["bucket"], f"{path}.bucket"
    if not isinstance(form, dict) or set(form) != {"salt", "from", "to"} or not isinstance(form["salt"], str):
        checker.refuse(inner, "a map of salt, from and to is wanted, as in {salt: spring, from: 0, to: 10}")
        return None
    low = checker.attempt(f"{inner}.from", _hundredths, form["from"])
    high = checker.attempt(f"{inner}.to", _hundredths, form["to"])
    if low is None or high is None:
        return None
    if low >= high:
        checker.refuse(inner, "never holds: from is not below to")
        return None
    return model.Bucket(form["salt"], low, high)


def _hundredths(raw: Raw) -> int:
    if kind(raw) != "number" or not 0 <= raw <= 100:
        raise ValueError(f"a percentage from 0 to 100 is wanted, not {raw!r}")
    hundredths = exact(raw) * 100
    if hundredths != int(hundredths):
        raise ValueError(f"two decimals at most, not {raw!r}")
    return int(hundredths)


def _sequence(checker: Checker, raw: Form, path: str) -> model.Node | None:
    checker.keys(raw, path, "sequence", "within", "strict")
    sequence = check_sequence(checker, dict(raw), path)
    return None if sequence is None else model.SequenceNode(sequence)


#: Head key -> what checks the node. Exactly one of these makes a node.
HEADS: dict[str, Callable[[Checker, Form, str], model.Node | None]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "at_least": _at_least,
    "did": _did,
    "did_not": _did_not,
    **{function: _aggregate(function) for function in AGGREGATES},
    "first": _occurrence("first"),
    "last": _occurrence("last"),
    "trait": _trait,
    "known_for": _known_for,
    "has_been": _has_been,
    "near": _near,
    "bucket": _bucket,
    "sequence": _sequence,
    "rfm": check_rfm_node,
    "score": check_score,
    "in_segment": _in_segment,
}
