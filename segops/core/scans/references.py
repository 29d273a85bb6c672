"""The segments that others depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from segops.core.segments import Definition, references


def with_references(keys: Iterable[str], known: Mapping[str, Definition]) -> list[Definition]:
    """Return the definitions of some segments and of all that they refer to, directly or not.

    Unknown segments are left out: compiling the set reports them.

    >>> from segops.core.rules.model import InSegment, KnownFor, Not
    >>> known = {key: Definition(key, key, KnownFor(0)) for key in ("a", "b")}
    >>> known["c"] = Definition("c", "c", Not(InSegment("a")))
    >>> [each.key for each in with_references(["c"], known)]
    ['c', 'a']
    """
    left = list(keys)
    found = set(left)
    needed: list[Definition] = []
    while left:
        definition = known.get(left.pop())
        if definition is not None:
            needed.append(definition)
            more = set(references(definition.when)) - found
            found |= more
            left += sorted(more)
    return needed
