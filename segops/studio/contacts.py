"""Words that are verbs of a consent and name a field, too: "may we email", "an email on file"."""

from __future__ import annotations

from typing import Final

from segops.studio.items import Item
from segops.studio.normalise import Token

_NAMES: Final = frozenset(("email", "emails", "e-mail", "e-mails", "mail"))
#: Words before the name of a field.
_NAMING: Final = frozenset(("no", "an", "without", "lacking", "neither"))
#: The same, unless a list follows, whose last word may be "consent": "has email and SMS consent".
_OWNING: Final = frozenset(("whose", "their", "has", "have", "with"))


def may_be_field(item: Item, tokens: list[Token]) -> bool:
    """Whether an item is a single word that may name a field."""
    return item.first == item.last and tokens[item.first].text.lower() in _NAMES


def is_field(item: Item, tokens: list[Token]) -> bool:
    """Whether the words around such an item make it the name of a field."""
    before = tokens[item.first - 1].norm if item.first else ""
    after = tokens[item.last + 1].norm if item.last + 1 < len(tokens) else ""
    named = before in _NAMING or (before in _OWNING and after not in ("and", "or"))
    return named and may_be_field(item, tokens) and not tokens[item.first].norm.endswith("s")
