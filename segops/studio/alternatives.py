"""Alternatives: which parts of a request are said of both sides of an "or"."""

from __future__ import annotations

from typing import Final

from segops.studio.items import Item
from segops.studio.normalise import Token

#: Words that begin what is said of the customers before them: "members in Spain or with a phone number".
_MODIFYING: Final = frozenset(
    ("with", "without", "having", "in", "from", "on", "who", "whose", "that", "living", "tagged")
)
_ARTICLES: Final = frozenset(("a", "an", "the", "their", "at", "no", "have", "has", "are", "is", "live"))
_PARTS: Final = ("E", "NODE")
_SPLITTING: Final = ("AND", "BUT", "SEMI", "THEN", "EXCEPT", "EITHER", "BOTH", "COLON")
#: Nouns of people, which may stand between a value and what is said of it: "silver members with …".
PEOPLE: Final = frozenset(
    ("members", "customers", "users", "people", "shoppers", "subscribers", "accounts", "buyers")
)


def modifier_at(items: list[Item], tokens: list[Token]) -> int | None:
    """Return the index of the first alternative of "gold members in Spain or with a high score"; or None.

    The customers before it are meant in both cases, because "or with" has none of its own.
    """
    ors = [at for at, item in enumerate(items) if item.kind == "OR"]
    if len(ors) != 1 or any(item.kind in _SPLITTING for item in items):
        return None
    (at,) = ors
    commas = [number for number, item in enumerate(items) if item.kind == "COMMA"]
    after = [item for item in items[at + 1 :] if item.kind in _PARTS]
    following = tokens[items[at].last + 1].norm if items[at].last + 1 < len(tokens) else ""
    if commas not in ([], [at - 1]) or len(after) != 1 or following not in _MODIFYING:
        return None
    parts = [number for number, item in enumerate(items[:at]) if item.kind in _PARTS]
    return next((number for number in reversed(parts[1:]) if _is_modifying(items, number, tokens)), None)


def _is_modifying(items: list[Item], number: int, tokens: list[Token]) -> bool:
    if items[number - 1].kind in ("WITH", "REL"):
        return True
    first = max(0, items[number].first)
    words = [token.norm for token in tokens[max(0, first - 4) : first] if token.norm not in _ARTICLES]
    return tokens[first].norm in _MODIFYING or (bool(words) and words[-1] in _MODIFYING)


def is_of_last(left: Item, right: Item, tokens: list[Token]) -> bool:
    """Whether a condition is of the second of two values alone: "gold, or silver with over 100 points"."""
    following = [token.norm for token in tokens[right.last + 1 : right.last + 3]]
    if following[:1] and following[0] in PEOPLE | {"plan", "tier", "status", "role"}:
        following = following[1:]
    listed = left.first > 0 and tokens[left.first - 1].norm == ","
    return not listed and bool(following) and following[0] in ("with", "and", "who", "whose", "having")
