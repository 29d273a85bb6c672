"""A rule as one sentence of English, from the labels of its nodes.

>>> from segops.core.windows import Within
>>> from segops.core.operators import Predicate
>>> once, day = Predicate((("gte", 1),)), Within(86_400_000)
>>> viewed = model.Did(model.Selection(("Product Viewed",)), day, once)
>>> bought = model.Did(model.Selection(("Order Completed",)), day, Predicate((("eq", 0),)))
>>> sentence(model.All((viewed, bought)))
'Customers who did Product Viewed within 1d and did not Order Completed within 1d.'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from segops.core.rules import model
from segops.core.rules.wording import label


def sentence(rule: model.Node) -> str:
    """Describe a whole rule. Groups within groups are in brackets.

    >>> old = model.KnownFor(86_400_000)
    >>> sentence(model.Not(model.Any((old, model.AtLeast(1, (old, old))))))
    'Customers where not (known for 1d or at least 1 of (known for 1d, known for 1d)).'
    """
    return f"Customers {'who' if _is_act(rule) else 'where'} {_clause(rule, nested=False)}."


def _is_act(node: model.Node) -> bool:
    """Return whether the words of a node go on after "customers who"."""
    if isinstance(node, (model.All, model.Any)):
        return _is_act(node.of[0])
    return isinstance(model.thawed(node), (model.Did, model.Regularly))


def _clause(node: model.Node, *, nested: bool) -> str:
    words = _GROUPS.get(type(node))
    if words is None:
        return label(node)
    joined = isinstance(node, (model.All, model.Any)) and len(node.of) > 1
    return f"({words(node)})" if nested and joined else words(node)


def _listed(word: str) -> Callable[[Any], str]:
    def text(node: Any) -> str:
        *first, last = (_clause(child, nested=True) for child in node.of)
        return f"{', '.join(first)} {word} {last}" if first else last

    return text


def _at_least(node: model.AtLeast) -> str:
    return f"at least {node.k} of ({', '.join(_clause(child, nested=True) for child in node.of)})"


#: Group -> its words.
_GROUPS: Final[dict[type, Callable[[Any], str]]] = {
    model.All: _listed("and"),
    model.Any: _listed("or"),
    model.Not: lambda node: f"not {_clause(node.of, nested=True)}",
    model.AtLeast: _at_least,
}
