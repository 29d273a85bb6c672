"""Compounds: names with hyphens, such as the campaign "spring-sale", are one word."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from segops.studio.normalise import Token

#: Nouns that a name stands after, and those that it stands before, too.
_AFTER: Final = frozenset(
    ("campaign", "coupon", "code", "voucher", "source", "reason", "tag", "tagged", "named")
)
_BEFORE: Final = frozenset(("campaign", "coupon", "code", "voucher"))


def compounded(tokens: list[Token], text: str) -> list[Token]:
    """Return the tokens with each name in hyphens beside a noun that has names as one token.

    >>> from segops.studio.normalise import tokens_of
    >>> said = "opened the campaign spring-sale in-store"
    >>> [token.norm for token in compounded(tokens_of(said), said)]
    ['opened', 'the', 'campaign', 'spring-sale', 'in', 'store']
    """
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        end = _end(tokens, at, text)
        after = tokens[end + 1].norm if end + 1 < len(tokens) else ""
        named = bool(found) and found[-1].norm in _AFTER
        if end > at and (named or after in _BEFORE):
            first, last = tokens[at], tokens[end]
            whole = text[first.start : last.end]
            found.append(
                replace(
                    first, text=whole, norm=whole.lower(), end=last.end, number=None, literal=True, name=True
                )
            )
        else:
            found.extend(tokens[at : end + 1])
        at = end + 1
    return found


def _end(tokens: list[Token], at: int, text: str) -> int:
    """Return the number of the last token that hyphens alone join to one."""
    while at + 1 < len(tokens) and text[tokens[at].end : tokens[at + 1].start] == "-":
        at += 1
    return at
